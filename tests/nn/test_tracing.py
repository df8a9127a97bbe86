"""`torch.compile` and `torch.export`: what a traced call gives is what the call gives."""

import functools
import io
import logging
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import statewise as sw
from statewise import kernels

EXECUTORS = ("auto", "fused", "reference")
ROWS, STEPS = 3, 3


@pytest.fixture(autouse=True)
def fresh():
    """Nothing compiled before, and no log of compiling, which takes half the time."""
    torch.compiler.reset()
    torch.manual_seed(0)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def build(executor, *layers, inputs=None, **options):
    layers = layers or (sw.LSTM(4, learned_state=True),)
    arch = sw.Architecture(inputs or sw.Vector(3), layers, sw.Linear(2, remember=True))
    return sw.nn.Model(arch, executor=executor, **options)


def compile_whole(function):
    """One graph: what cannot be traced is an error."""
    return torch.compile(function, backend="aot_eager", fullgraph=True)


def run_and_differentiate(model, call):
    """Outputs and state of a call, and the gradients of both."""
    model.zero_grad()
    y, state = call()
    (y.square().sum() + sum(a.sum() for a in state.values() if a.requires_grad)).backward()
    gradients = [weight.grad for weight in model.parameters()]
    return [y.detach(), *state.detach().values(), state.position, *gradients]


def assert_same(model, traced, eager):
    torch.testing.assert_close(
        run_and_differentiate(model, traced),
        run_and_differentiate(model, eager),
        rtol=1e-5,
        atol=1e-6,
    )


def compare(model, x, *state, **options):
    """Compare a compiled call with the call."""
    compiled = compile_whole(model)
    assert_same(model, lambda: compiled(x, *state, **options), lambda: model(x, *state, **options))


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_compiled_call_gives_the_outputs_state_and_gradients_of_the_call(executor):
    compare(build(executor), torch.randn(ROWS, STEPS, 3))


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_compiled_call_goes_on_from_a_state_with_resets_and_lengths(executor):
    model = build(executor)
    x, more = torch.randn(2, ROWS, STEPS, 3)
    _, state = model(x)
    reset = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 1, 1]]).bool()
    compare(model, more, state.detach(), reset=reset, lengths=torch.tensor([3, 0, 2]))


@pytest.mark.parametrize(
    "masks",
    [
        {"reset": np.array([[1, 0, 0], [0, 0, 0], [0, 1, 1]], bool)},
        {"lengths": [3, 0, 1]},
        {"lengths": torch.tensor([3, 3, 3])},
    ],
    ids=["reset", "lengths", "full"],
)
def test_masks_may_be_given_alone_and_in_any_form(masks):
    model = build("auto", sw.LSTM(4), sw.Bidirectional(sw.GRU(2)), sw.Difference(1))
    compare(model, torch.randn(ROWS, STEPS, 3), **masks)


def test_resets_return_to_the_state_that_is_given():
    model = build("auto", sw.GRU(4))
    x = torch.randn(ROWS, STEPS, 3)
    _, initial = model(x[:1])
    reset = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 0]]).bool()
    compare(model, x, reset=reset, initial=initial.detach())


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_compiled_step_gives_the_step(executor):
    model = build(executor)
    x = torch.randn(2, ROWS, 3)
    _, state = model.step(x[0])
    state = state.detach()
    step = compile_whole(model.step)
    for before in (None, state):
        assert_same(
            model,
            lambda before=before: step(x[1], before),
            lambda before=before: model.step(x[1], before),
        )


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # the compiler's own
@torch.no_grad()
def test_the_default_compiler_gives_the_same():
    model = build("auto", sw.LSTM(4))
    compiled = torch.compile(model)
    for rows in (3, 5):
        x = torch.randn(rows, STEPS, 3)
        (y, state), (z, after) = compiled(x), model(x)
        torch.testing.assert_close((y, dict(state)), (z, dict(after)))


@pytest.mark.parametrize("executor", EXECUTORS)
def test_under_autocast_equations_run_and_the_state_stays_as_declared(executor):
    model = build(executor, sw.LSTM(4))
    x = torch.randn(ROWS, STEPS, 3)
    compiled = compile_whole(model)
    plain, _ = model(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = compiled(x)
        z, after = model(x)
    assert {array.dtype for array in state.values()} == {torch.float32}
    torch.testing.assert_close((y, dict(state)), (z, dict(after)))
    assert not torch.equal(y, plain)
    torch.testing.assert_close(y, plain, rtol=0.02, atol=0.02)


def test_a_compiled_model_learns_as_the_model_does():
    x, target = torch.randn(ROWS, STEPS, 3), torch.randn(ROWS, STEPS, 2)
    losses = []
    for compiles in (True, False):
        model = build("auto", sw.GRU(4))
        run = compile_whole(model) if compiles else model
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        state = None
        for _ in range(3):
            y, state = run(x, state)
            state = state.detach()
            loss = (y - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert losses[:3] == pytest.approx(losses[3:], rel=1e-5)


def test_dropout_drops_in_a_compiled_call_in_training_alone():
    model = build("auto", sw.GRU(4), sw.Dropout(0.5))
    x = torch.randn(ROWS, STEPS, 3)
    compiled = compile_whole(model)
    (a, _), (b, _) = compiled(x), compiled(x)
    assert not torch.equal(a, b)
    model.eval()
    torch.testing.assert_close(compiled(x)[0], model(x)[0])


def test_tokens_are_looked_up_in_a_compiled_call():
    model = build("auto", sw.GRU(4), inputs=sw.Tokens(5, 2))
    compare(model, torch.tensor([[0, 4, 1], [3, 3, 2]]))


def test_an_edited_model_is_edited_in_a_compiled_call_too():
    model = build("auto", sw.LSTM(4)).eval()
    x = torch.randn(ROWS, STEPS, 3)
    compiled = torch.compile(model, backend="aot_eager")
    plain, _ = compiled(x)
    with sw.inspect.edit(model, {"0.h": 0.0}, units=[1]):
        torch.testing.assert_close(compiled(x)[0], model(x)[0])
        assert not torch.allclose(compiled(x)[0], plain)
    torch.testing.assert_close(compiled(x)[0], plain)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (torch.zeros(ROWS, STEPS, 2), {}, "3"),
        (torch.zeros(ROWS, STEPS, 3), {"reset": torch.zeros(ROWS, 1).bool()}, "reset must be"),
        (torch.zeros(ROWS, STEPS, 3), {"lengths": torch.tensor([3, 3])}, "lengths must be"),
    ],
    ids=["width", "reset", "lengths"],
)
def test_what_does_not_fit_is_named_as_in_a_call(x, options, message):
    model = build("auto")
    with pytest.raises(sw.InputError, match=message):
        torch.compile(model, backend="aot_eager")(x, **options)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_model_is_exported_with_its_state(executor):
    model = build(executor).eval().requires_grad_(False)
    x, more = torch.randn(2, ROWS, STEPS, 3)
    y, state = torch.export.export(model, (x,)).module()(x)
    z, after = model(x)
    torch.testing.assert_close((y, dict(state)), (z, dict(after)))
    exported = torch.export.export(model, (x, state))
    file = io.BytesIO()
    torch.export.save(exported, file)
    file.seek(0)
    y, state = torch.export.load(file).module()(more, after)  # a state with an origin
    z, after = model(more, after)
    assert isinstance(state, sw.State)
    torch.testing.assert_close((y, dict(state)), (z, dict(after)))
    assert state.position.tolist() == [2 * STEPS] * ROWS
    is_native = "statewise.recurrent.default" in map(str, (n.target for n in exported.graph.nodes))
    assert is_native == (executor == "auto" and kernels.is_available())


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_the_code_of_its_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compile_fast = functools.partial(torch.compile, backend="aot_eager", fullgraph=True)
    monkeypatch.setattr(torch, "compile", compile_fast)
    page = Path(__file__).parents[2] / "docs" / "compiling.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    names = {}
    exec("\n".join(blocks), names)
    assert names["state"]["0.c"].dtype == torch.float32
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]


def test_a_bidirectional_model_takes_no_carry_when_exported():
    model = build("auto", sw.Bidirectional(sw.GRU(2))).eval()
    x = torch.randn(ROWS, STEPS, 3)
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x)[0], model(x)[0])
    with pytest.raises(sw.CarryError, match="Bidirectional"):
        torch.export.export(model, (x, model.initial_state(ROWS)))
