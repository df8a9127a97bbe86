"""The torch model is a torch module like any other."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
import torch

import statewise as sw

ARCH = sw.Architecture(
    sw.Vector(2),
    [sw.Bidirectional(sw.GRU(3)), sw.LSTM(3, learned_state=True), sw.Dropout(0.5)],
    sw.Linear(1),
)
CAUSAL = sw.Architecture(sw.Vector(2), [sw.LSTM(3, learned_state=True)], sw.Linear(1))


@pytest.fixture
def x():
    return torch.randn(2, 5, 2)


def test_parameters_have_the_names_of_the_architecture():
    model = sw.nn.Model(ARCH)
    assert list(model.weights()) == list(ARCH.parameters)
    assert {id(p) for p in model.parameters()} == {id(p) for p in model.weights().values()}
    assert all(isinstance(p, torch.nn.Parameter) for p in model.weights().values())
    assert not list(model.buffers()) or "_like" not in model.state_dict()


def test_state_dict_goes_into_another_model(x):
    one, other = sw.nn.Model(ARCH, seed=0).eval(), sw.nn.Model(ARCH, seed=1).eval()
    assert not torch.equal(one(x)[0], other(x)[0])
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x)[0], other(x)[0])
    assert one.fingerprint() == other.fingerprint()


def test_copies_and_pickles(x, tmp_path):
    model = sw.nn.Model(ARCH, executor="reference").eval()
    expected, state = model(x)
    torch.save(model, tmp_path / "m.pt")
    for other in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(tmp_path / "m.pt", weights_only=False),
    ):
        assert torch.equal(other(x)[0], expected)
        assert other.executor == "reference"
        assert other.fingerprint() == model.fingerprint()
    causal = sw.nn.Model(CAUSAL)
    _, state = causal(x)
    twin = copy.deepcopy(causal)
    twin(x, state)  # the same weights: no warning
    with torch.no_grad():
        twin.weights()["0.W"].add_(1.0)
    with pytest.warns(sw.WeightsChangedWarning):
        twin(x, state)


@pytest.mark.parametrize(
    ("change", "dtype"),
    [
        (lambda m: m.double(), torch.float64),
        (lambda m: m.half(), torch.float16),
        (lambda m: m.to(torch.bfloat16), torch.bfloat16),
        (lambda m: m.to("cpu", torch.float64), torch.float64),
        (lambda m: m.double().float(), torch.float32),
    ],
)
def test_the_dtype_moves_with_the_module(x, change, dtype):
    model = change(sw.nn.Model(ARCH))
    y, state = model(x.to(dtype))
    assert y.dtype == dtype
    assert state["1.h"].dtype == dtype
    assert model.initial_state(1)["1.h"].dtype == dtype
    with pytest.raises(sw.InputError, match="computes in"):
        model(x.to(torch.float64 if dtype != torch.float64 else torch.float32))


def test_the_fingerprint_follows_the_weights():
    model = sw.nn.Model(CAUSAL)
    seen = {model.fingerprint()}
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(1, 2, 2))[0].sum().backward()
    optimizer.step()
    seen.add(model.fingerprint())
    model.load_state_dict(sw.nn.Model(CAUSAL, seed=5).state_dict())
    seen.add(model.fingerprint())
    assert sw.nn.Model(CAUSAL, seed=5).fingerprint() in seen
    model.double()
    seen.add(model.fingerprint())
    torch.nn.utils.vector_to_parameters(torch.zeros(1000).double(), model.parameters())
    seen.add(model.fingerprint())
    assert len(seen) == 5
    assert model.fingerprint() == model.fingerprint()


def test_requires_grad_and_modes(x):
    model = sw.nn.Model(CAUSAL).requires_grad_(False)
    y, state = model(x)
    assert not y.requires_grad
    assert not state["0.h"].requires_grad
    model.requires_grad_(True)
    assert model.training
    assert not model.eval().training
    assert model(x)[0].requires_grad
    with torch.no_grad():
        assert not model(x)[0].requires_grad


def test_inference_mode(x):
    model = sw.nn.Model(CAUSAL)
    expected, _ = model(x)
    with torch.inference_mode():
        y, state = model(x)
        model(x, state)
        frozen = sw.nn.Model(CAUSAL)
        z, after = frozen(x)
        frozen(x, after)
        assert torch.allclose(y, expected)
        assert torch.equal(y, z)
    model.eval()(x, state.clone())
    assert frozen.fingerprint() == model.fingerprint()


def test_parametrized_weights_take_part(x):
    model = sw.nn.Model(CAUSAL)
    plain = model(x)[0]
    block = model.get_submodule("0")
    torch.nn.utils.parametrizations.weight_norm(block, "W")
    assert torch.allclose(model(x)[0], plain, atol=1e-6)
    model(x)[0].sum().backward()
    assert block.parametrizations.W.original0.grad is not None


def test_functional_call(x):
    model = sw.nn.Model(CAUSAL)
    zeros = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    y, _ = torch.func.functional_call(model, zeros, (x,))
    assert not y.any()


def test_a_whole_training_step_through_state_and_resets(x):
    model = sw.nn.Model(ARCH)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    reset = torch.zeros(2, 5, dtype=torch.bool)
    reset[:, 3] = True
    y, _ = model(x, reset=reset)
    y.square().mean().backward()
    optimizer.step()
    assert all(p.grad is not None for p in model.parameters())


def test_load_weights():
    model = sw.nn.Model(CAUSAL)
    arrays = sw.nn.Model(CAUSAL, seed=4).weights()
    model.load_weights(arrays)
    model.load_weights({name: a.detach().numpy() for name, a in arrays.items()})
    assert model.fingerprint() == sw.nn.Model(CAUSAL, seed=4).fingerprint()
    before = model.fingerprint()
    for wrong, message in (
        ({**arrays, "z": arrays["0.W"]}, "'z' is .*, expected nothing"),
        ({k: v for k, v in arrays.items() if k != "0.b"}, r"'0.b' is missing, expected \(12,\)"),
        ({**arrays, "0.b": torch.zeros(3)}, r"the weights do not fit .*'0.b' is \(3,\), expected"),
    ):
        with pytest.raises(sw.FileError, match=message):
            model.load_weights(wrong)
    assert model.fingerprint() == before


def test_weights_may_be_given_at_once(x, monkeypatch):
    expected = sw.nn.Model(CAUSAL, seed=4)
    arrays = {name: a.detach().numpy().copy() for name, a in expected.weights().items()}
    monkeypatch.setattr(sw.Architecture, "draw", None)
    for given in (arrays, expected.weights()):
        model = sw.nn.Model(CAUSAL, weights=given)
        assert torch.equal(model(x)[0], expected(x)[0])
        assert list(model.weights()) == list(CAUSAL.parameters)
        with torch.no_grad():
            model.weights()["0.W"].zero_()
    assert arrays["0.W"].any(), "what was given is copied"
    assert expected.weights()["0.W"].any()
    assert (
        sw.nn.Model(CAUSAL, weights=arrays, dtype=torch.float64).weights()["0.W"].dtype.itemsize
        == 8
    )
    with pytest.raises(sw.FileError, match=r"'0.R' is missing, expected \(12, 3\)"):
        sw.nn.Model(CAUSAL, weights={})


WRONG = {
    "Model takes an Architecture, got 64; write sw.nn.Model.sw.Architecture": ((64,), {}),
    "executor must be one of auto, fused, reference, got 'gpu'": ((CAUSAL,), {"executor": "gpu"}),
    "a model computes in a floating dtype, got torch.int64": ((CAUSAL,), {"dtype": torch.int64}),
}


@pytest.mark.parametrize("message", WRONG)
def test_models_that_cannot_be(message):
    args, options = WRONG[message]
    with pytest.raises(sw.ArchitectureError, match=message):
        sw.nn.Model(*args, **options)


def test_what_it_looks_like():
    text = repr(sw.nn.Model(ARCH))
    assert all(line in text for line in ARCH.describe().splitlines())
    assert "executor='auto'" in text


def test_a_state_does_not_keep_its_model_alive(x):
    model = sw.nn.Model(CAUSAL)
    _, state = model(x)
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None
    assert state.origin.weights() is None
    sw.nn.Model(CAUSAL)(x, state)


def test_weights_of_one_seed_do_not_touch_the_draws_of_torch():
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    sw.nn.Model(ARCH)
    assert torch.equal(torch.randn(3), expected)


def test_evaluation_draws_nothing(x):
    model = sw.nn.Model(ARCH).eval()
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    model(x)
    assert torch.equal(torch.randn(3), expected)


def test_non_contiguous_inputs(x):
    model = sw.nn.Model(CAUSAL)
    turned = torch.randn(5, 2, 2).transpose(0, 1)
    assert torch.allclose(model(turned)[0], model(turned.contiguous())[0])
    _, state = model(x)
    every = state.map(lambda a: torch.stack([a, a], dim=-1)[..., 0])
    assert torch.allclose(model(x, every)[0], model(x, state)[0])


def test_the_result_does_not_depend_on_grad_mode(x):
    for cell in (sw.LSTM(3), sw.LSTM(3, projection=2), sw.GRU(3), sw.Elman(3)):
        model = sw.nn.Model(sw.Architecture(sw.Vector(2), [cell]))
        y, state = model(x)
        with torch.no_grad():
            z, other = model(x)
        np.testing.assert_allclose(y.detach().numpy(), z.numpy(), rtol=1e-6, atol=1e-7)
        assert state.allclose(other)


@pytest.mark.parametrize("cell", [sw.LSTM(5), sw.GRU(5), sw.GRU(5, reset="before"), sw.Elman(5)])
@pytest.mark.parametrize(
    "loss",
    [
        torch.sum,  # its gradient is one number for all, expanded
        lambda y: y.sum(dim=(0, 1)) @ torch.arange(5.0),  # one vector, expanded
        lambda y: (y.transpose(0, 1) * torch.arange(60.0).reshape(4, 3, 5)).sum(),
        lambda y: y[..., ::2].square().sum(),
        lambda y: y[:, -1].square().sum(),
    ],
)
def test_gradients_of_outputs_in_any_layout(cell, loss):
    found = []
    for executor in ("auto", "reference"):
        model = sw.nn.Model(sw.Architecture(sw.Vector(2), [cell]), executor=executor)
        loss(model(torch.ones(3, 4, 2))[0]).backward()
        found.append([p.grad for p in model.parameters()])
    for own, expected in zip(*found, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-5, atol=1e-5)
