import numpy as np
import pytest
import torch
from tests.conformance.zoo import ZOO, inputs, weights

import statewise as sw
from statewise import inspect

CELLS = {"elman": sw.Elman(4), "lstm": sw.LSTM(4), "gru": sw.GRU(4), "before": sw.GRU(4, "before")}


def model_of(*layers, executor=None, inputs=None):
    arch = sw.Architecture(inputs or sw.Vector(2), layers, sw.Linear(2))
    return sw.runtime.Model(arch, weights(arch, "float64"))


def differences(model, x, name, t, loss):
    """dL/d name_t by central differences, (B, units): each unit is nudged by an edit."""
    width = inspect.record(model, x, names=name)[name].shape[-1]
    found = np.zeros((len(x), width))
    for row in range(len(x)):
        for unit in range(width):
            sides = []
            for by in (1e-6, -1e-6):
                nudge = np.zeros((len(x), width))
                nudge[row, unit] = by
                with inspect.edit(model, {name: lambda v, nudge=nudge: v + nudge}, at=t):
                    sides.append(loss(x, model(x)[0])[:, -1].sum())
            found[row, unit] = (sides[0] - sides[1]) / 2e-6
    return found


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_the_slopes_that_nudging_finds(cell):
    model = model_of(CELLS[cell], sw.GRU(3))
    x = inputs(model.architecture, 2, 5, "float64")

    def loss(x, y):
        return ((y[:, :-1] - x[:, 1:]) ** 2).mean(-1)

    found = inspect.gradients(model, x)
    assert set(found.values) == set(model.architecture.fields)
    assert found.loss == pytest.approx(loss(x, model(x)[0])[:, -1].sum())
    for name, values in found.values.items():
        for t in (0, 3, 4):
            slopes = differences(model, x, name, t, loss)
            np.testing.assert_allclose(values[:, t], slopes, rtol=1e-5, atol=1e-7, err_msg=name)
    assert found.norms("0.h").shape == (2, 5)


def test_gates_tokens_a_loss_of_ones_own_and_torch_models():
    model = sw.nn.Model(ZOO["tokens"], weights=weights(ZOO["tokens"])).eval()
    x = torch.from_numpy(inputs(ZOO["tokens"], 2, 6))
    found = inspect.gradients(model, x, "0.[ifgo]", at=slice(None))
    assert set(found.values) == {"0.i", "0.f", "0.g", "0.o"}
    scores = model(x)[0][:, :-1].double()
    nats = torch.nn.functional.cross_entropy(
        scores.flatten(0, 1), x[:, 1:].flatten(), reduction="sum"
    )
    assert found.loss == pytest.approx(float(nats.detach()) / np.log(2), rel=1e-5)
    own = inspect.gradients(model, x, "0.h", loss=lambda x, y: y[..., 0])
    scale = model.weights()["outputs.W"][0].detach().numpy()
    np.testing.assert_allclose(own["0.h"][:, -1], [scale, scale], rtol=1e-5)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_no_gradient_crosses_a_reset_or_comes_from_padding():
    model = model_of(sw.LSTM(4))
    x = inputs(model.architecture, 2, 6, "float64")
    reset = np.zeros((2, 6), bool)
    reset[0, 3] = True
    norms = inspect.gradients(model, x, reset=reset, at=4).norms("0.c")
    assert (norms[0, :3] == 0).all()
    assert (norms[0, 3:5] > 0).all()
    assert (norms[1, :5] > 0).all()
    ended = inspect.gradients(model, x, lengths=[6, 4], loss=lambda _, y: y.sum(-1)).norms("0.h")
    assert (ended[1] == 0).all()


def test_gradients_vanish_and_explode_in_an_elman_and_pass_an_lstm():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.01, (1, 40, 2))
    orthogonal = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    grown = {}
    for factor in (0.5, 1.3):
        model = model_of(sw.Elman(8))
        arrays = {**model.weights(), "0.R": factor * orthogonal, "0.b": np.zeros(8)}
        arrays["0.W"] = 0.01 * arrays["0.W"]
        norms = inspect.gradients(sw.runtime.Model(model.architecture, arrays), x).norms("0.h")[0]
        grown[factor] = norms[0] / norms[38]
    assert grown[0.5] < 1e-10
    assert grown[1.3] > 1e3
    model = model_of(sw.LSTM(8))
    arrays = {name: 0.01 * value for name, value in model.weights().items()}
    arrays["0.b"][8:16] = 20.0
    arrays["0.b"][24:] = 2.0
    norms = inspect.gradients(sw.runtime.Model(model.architecture, arrays), x).norms("0.c")[0]
    assert norms[0] / norms[38] == pytest.approx(1, abs=0.1)


def test_bad_input():
    model = model_of(sw.LSTM(4))
    x = inputs(model.architecture, 2, 6, "float64")
    blind = sw.runtime.Model(
        sw.Architecture(sw.Vector(2), [sw.LSTM(3)]),
        weights(sw.Architecture(sw.Vector(2), [sw.LSTM(3)])),
    )
    for use, message in (
        (lambda: inspect.gradients(model, x, "0.cc"), r"'0\.cc'; did you mean '0\.c'"),
        (lambda: inspect.gradients(model, x, at=slice(9, 12)), "known at 5 of 6 steps"),
        (lambda: inspect.gradients(blind, x.astype("float32")), "give loss="),
    ):
        with pytest.raises(sw.InputError, match=message):
            use()
