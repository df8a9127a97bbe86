"""The operator in torch: gradients of whole models, tracing, and what it leaves to others."""

import pytest
import torch

import statewise as sw
from statewise import kernels
from statewise.nn.native import recurrent

ARCHITECTURE = sw.Architecture(
    sw.Vector(5),
    [
        sw.LSTM(20, learned_state=True),
        sw.Dropout(0.1),
        sw.Residual(sw.GRU(20)),
        sw.GRU(7, reset="before", learned_state=True),
        sw.LSTM(11, peepholes=True),
        sw.Elman(9),
        sw.Elman(9, activation="relu"),
    ],
    sw.Linear(3),
)


def models():
    native = sw.nn.Model(ARCHITECTURE, seed=0)
    reference = sw.nn.Model(ARCHITECTURE, seed=0, executor="reference", dtype=torch.float64)
    with torch.no_grad():
        for (name, one), other in zip(
            native.weights().items(), reference.weights().values(), strict=True
        ):
            if name.endswith("0"):
                other += torch.randn_like(other)
                one.copy_(other)
    return native.eval(), reference.eval()


def loss(y, state):
    terms = [value.sin().sum() for value in state.values() if value.dtype.is_floating_point]
    return y.square().sum() + sum(terms)


@pytest.mark.parametrize("masks", [False, True])
def test_every_gradient_agrees_with_the_reference(masks):
    torch.manual_seed(0)
    native, reference = models()
    x = torch.randn(6, 11, 5)
    given = {}
    if masks:
        given = {"reset": torch.rand(6, 11) < 0.2, "lengths": torch.randint(0, 12, (6,))}
    xs = x.clone().requires_grad_(), x.double().requires_grad_()
    results = []
    for model, own in zip((native, reference), xs, strict=True):
        _, before = model(own.flip(1))
        y, state = model(own, before, **given)
        loss(y, state).backward()
        results.append((y, state))
    torch.testing.assert_close(results[0][0].double(), results[1][0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(xs[0].grad.double(), xs[1].grad, rtol=1e-3, atol=1e-4)
    for name, weight in native.weights().items():
        expected = reference.weights()[name].grad
        scale = float(expected.abs().max()) + 1
        torch.testing.assert_close(
            weight.grad.double(), expected, rtol=0, atol=2e-5 * scale, msg=name
        )


def test_a_step_without_gradients_runs_natively_and_agrees_with_the_reference(monkeypatch):
    from statewise.nn import native as module

    used = []
    original = module._forward
    monkeypatch.setattr(module, "_forward", lambda *a: used.append(a) or original(*a))
    torch.manual_seed(0)
    native, reference = models()
    state, other = native.initial_state(3), reference.initial_state(3)
    layers = sum(kernels.kernel_name(_inner(cell)) is not None for cell in ARCHITECTURE.layers)
    for steps in (1, 2, 3):
        x = torch.randn(3, 5)
        with torch.no_grad():
            y, state = native.step(x, state)
            expected, other = reference.step(x.double(), other)
        assert len(used) == steps * layers
        torch.testing.assert_close(y.double(), expected, rtol=1e-4, atol=1e-5)
        for name in state:
            torch.testing.assert_close(
                state[name].double(), other[name].double(), rtol=1e-4, atol=1e-5
            )
    y, _ = native.step(x, state)
    assert y.requires_grad
    assert len(used) == steps * layers


def _inner(cell):
    return _inner(cell.inner) if isinstance(cell, sw.Residual) else cell


def test_the_gradient_across_a_reset_is_exactly_zero():
    native, _ = models()
    x = torch.randn(1, 6, 5, requires_grad=True)
    reset = torch.zeros(1, 6, dtype=torch.bool)
    reset[0, 3] = True
    y, _ = native(x, reset=reset)
    y[0, 3:].sum().backward()
    assert not x.grad[0, :3].any()
    assert x.grad[0, 3:].any()


@pytest.mark.parametrize("cell", [sw.LSTM(6), sw.GRU(6)])
def test_bidirectional_layers_agree_with_the_reference(cell):
    architecture = sw.Architecture(sw.Vector(4), [sw.Bidirectional(cell)])
    native = sw.nn.Model(architecture)
    reference = sw.nn.Model(architecture, executor="reference", dtype=torch.float64)
    x = torch.randn(4, 7, 4)
    masks = {"reset": torch.rand(4, 7) < 0.3, "lengths": torch.tensor([7, 3, 0, 1])}
    for given in ({}, masks):
        y, state = native(x, **given)
        expected, end = reference(x.double(), **given)
        torch.testing.assert_close(y.double(), expected, rtol=1e-4, atol=1e-5)
        for name in state:
            torch.testing.assert_close(state[name].double(), end[name], rtol=1e-4, atol=1e-5)


def test_padding_gets_no_gradient():
    native, _ = models()
    x = torch.randn(2, 6, 5, requires_grad=True)
    y, state = native(x, lengths=torch.tensor([6, 2]))
    loss(y, state).backward()
    assert not x.grad[1, 2:].any()
    assert x.grad[1, :2].all()


def test_training_twice_through_one_graph():
    native, _ = models()
    x = torch.randn(2, 6, 5)
    y, _ = native(x)
    y.sum().backward(retain_graph=True)
    once = native.weights()["0.R"].grad.clone()
    y.sum().backward()
    torch.testing.assert_close(native.weights()["0.R"].grad, 2 * once)


def arguments(grad=False):
    make = lambda *shape: torch.randn(*shape, requires_grad=grad)  # noqa: E731
    reset = torch.rand(3, 4) < 0.3
    lengths = torch.tensor([4, 2, 0])
    lstm = [make(3, 4, 5), make(3, 6), make(3, 6), make(24, 5), make(24, 6), make(24), None, None]
    gru = [make(3, 4, 5), make(3, 6), None, make(18, 5), make(18, 6), make(18), make(6), None]
    yield [*lstm, make(3, 6), make(3, 6), reset, lengths, "lstm", grad]
    peepholes = [*lstm[:-1], make(3, 6), make(3, 6), make(3, 6)]
    yield [*peepholes, reset, lengths, "lstm_peepholes", grad]
    yield [*gru, make(3, 6), None, reset, None, "gru_after", grad]
    yield [*gru[:-2], None, None, None, None, None, None, "gru_before", grad]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_the_operator_is_registered_as_torch_expects():
    torch.manual_seed(0)
    for given in arguments():
        torch.library.opcheck(recurrent, given)
    for given in arguments(grad=True):
        utilities = ("test_schema", "test_autograd_registration", "test_faketensor")
        torch.library.opcheck(recurrent, given, test_utils=utilities)


def test_the_operator_has_the_gradients_of_the_direct_way():
    torch.manual_seed(0)
    from statewise.nn.native import _Recurrent

    for given in arguments(grad=True):
        leaves = [g for g in given if isinstance(g, torch.Tensor) and g.requires_grad]
        found = []
        for operator in (recurrent, _Recurrent.apply):
            y, h, c, *_ = operator(*given)
            total = y.sin().sum() + h.sum() + (c.sum() if given[2] is not None else 0)
            found.append(torch.autograd.grad(total, leaves, allow_unused=True))
        for one, other in zip(*found, strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                torch.testing.assert_close(one, other)


@pytest.mark.filterwarnings("ignore")
def test_export_sees_one_operator():
    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.W = torch.nn.Parameter(torch.randn(24, 5))
            self.R = torch.nn.Parameter(torch.randn(24, 6))
            self.b = torch.nn.Parameter(torch.randn(24))

        def forward(self, x, h, c):
            none = [None] * 6
            return recurrent(x, h, c, self.W, self.R, self.b, *none, "lstm", False)[0]

    given = (torch.randn(2, 3, 5), torch.zeros(2, 6), torch.zeros(2, 6))
    exported = torch.export.export(Layer().eval(), given)
    assert "statewise.recurrent" in str(exported.graph)
    torch.testing.assert_close(exported.module()(*given).shape, torch.Size([2, 3, 6]))


@pytest.mark.parametrize("how", ["float64", "autocast", "executor", "cell"])
def test_what_the_kernels_do_not_run_goes_elsewhere(how, monkeypatch):
    from statewise.nn import native

    used = []
    original = native._forward
    monkeypatch.setattr(native, "_forward", lambda *a: used.append(a) or original(*a))
    architecture = sw.Architecture(sw.Vector(3), [sw.LSTM(4)])
    x = torch.randn(2, 3, 3)
    sw.nn.Model(architecture)(x)
    assert len(used) == 1
    if how == "float64":
        sw.nn.Model(architecture, dtype=torch.float64)(x.double())
    elif how == "executor":
        sw.nn.Model(architecture, executor="reference")(x)
    elif how == "autocast":
        with torch.autocast("cpu", dtype=torch.bfloat16):
            sw.nn.Model(architecture)(x)
    else:
        architecture = sw.Architecture(sw.Vector(3), [sw.LSTM(4, coupled=True)])
        sw.nn.Model(architecture)(x)
    assert len(used) == 1


def test_the_runtime_goes_on_where_torch_stopped(tmp_path):
    native, _ = models()
    x = torch.randn(3, 8, 5)
    with torch.no_grad():
        expected, end = native(x)
        _, middle = native(x[:, :4])
    native.save(tmp_path / "m.safetensors")
    model = sw.load(tmp_path / "m.safetensors")
    assert model.executor == "native"
    y, after = model(x[:, 4:].numpy(), middle)
    torch.testing.assert_close(torch.from_numpy(y), expected[:, 4:], rtol=1e-4, atol=1e-5)
    assert after.allclose(end.numpy(), rtol=1e-4, atol=1e-5)
