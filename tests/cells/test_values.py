"""Activations, and what extreme inputs give: IEEE values, and never a warning."""

import array_api_compat.torch as txp
import numpy as np
import pytest
import torch

import statewise as sw
from statewise.cells.activations import ACTIVATIONS, normalize

POINTS = np.array([-1e30, -750.0, -2.5, -0.5, -0.0, 0.0, 0.5, 2.5, 750.0, 1e30])
THEIRS = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "softsign": torch.nn.functional.softsign,
    "hard_sigmoid": torch.nn.functional.hardsigmoid,
    "linear": lambda x: x,
    "softmax": lambda x: torch.softmax(x, -1),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_torchs(name):
    x = torch.tensor(POINTS, requires_grad=True)
    y = ACTIVATIONS[name](x)
    expected = THEIRS[name](x)
    assert torch.allclose(y, expected, rtol=1e-12, atol=1e-300)
    inner = slice(1, -1)  # at 1e30 some of these derivatives are no numbers
    mine, its = (torch.autograd.grad(v.sum(), x, retain_graph=True)[0] for v in (y, expected))
    assert torch.allclose(mine[inner], its[inner], rtol=1e-7, atol=1e-300)
    np.testing.assert_allclose(ACTIVATIONS[name](POINTS), y.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_stays_nan(name):
    assert np.isnan(ACTIVATIONS[name](np.array([np.nan]))).all()
    assert ACTIVATIONS[name](txp.asarray([float("nan")])).isnan().all()


def test_normalize():
    x = np.random.default_rng(0).normal(3.0, 2.0, (4, 50))
    y = normalize(x)
    np.testing.assert_allclose(y.mean(axis=-1), 0.0, atol=1e-12)
    np.testing.assert_allclose(y.std(axis=-1), 1.0, atol=1e-4)


CELLS = {
    "elman": sw.Elman(2),
    "elman relu": sw.Elman(2, activation="relu"),
    "elman softsign": sw.Elman(2, activation="softsign"),
    "lstm": sw.LSTM(2),
    "lstm all": sw.LSTM(3, 2, peepholes=True, layer_norm=True, recurrent_activation="hard_sigmoid"),
    "gru before": sw.GRU(2, reset="before"),
    "layer norm": sw.LayerNorm(),
    "zoneout": sw.Zoneout(sw.LSTM(2)),
    "bidirectional": sw.Bidirectional(sw.GRU(2)),
    "difference": sw.Difference(2),
    "lags": sw.Lags((1, 2)),
    "running": sw.RunningScale(),
    "running memory": sw.RunningScale(memory=2.0),
    "standardize": sw.Standardize(1.0, 1e-20),
    "dropout": sw.Dropout(0.5),
}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("value", [1e30, -1e30, np.inf, -np.inf, np.nan, 1e-40])
def test_extreme_inputs_give_ieee_values_without_a_warning(name, value):
    arch = sw.Architecture(sw.Vector(2), [CELLS[name]], sw.Linear(1))
    arrays = {key: a.astype("float32") for key, a in arch.draw(0).items()}
    model = sw.nn.Model(arch, executor="reference").eval()
    x = np.ones((2, 5, 2), dtype="float32")
    x[0, 2, 0] = x[1] = value
    y, state = sw.runtime.Model(arch, arrays)(x)
    z, other = model(torch.from_numpy(x))
    np.testing.assert_allclose(y, z.detach().numpy(), rtol=1e-4, atol=1e-5)
    for key, array in state.items():
        np.testing.assert_allclose(array, other[key].detach().numpy(), rtol=1e-4, atol=1e-5)
    if model.architecture.layers[0].causal:
        sw.runtime.Model(arch, arrays).step(x[:, 2])


def test_initial_state_of_learned_models_takes_part_in_training():
    for cell in (sw.LSTM(2, learned_state=True), sw.GRU(2, learned_state=True)):
        model = sw.nn.Model(sw.Architecture(sw.Vector(1), [cell]))
        model(torch.randn(2, 3, 1))[0].sum().backward()
        assert model.weights()["0.h0"].grad.any()
        assert model.initial_state(2).batch == 2


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: sw.LSTM(0), "LSTM: units must be a whole number of at least 1, got 0"),
        (lambda: sw.LSTM(2.0), "LSTM: units must be a whole number of at least 1, got 2.0"),
        (lambda: sw.LSTM(True), "LSTM: units must be a whole number"),
        (lambda: sw.LSTM(4, projection=4), r"projection \(4\) must be smaller than units \(4\)"),
        (lambda: sw.LSTM(4, activation="Tanh"), "activation must be one of tanh, sigmoid"),
        (lambda: sw.GRU(4, recurrent_activation="x"), "recurrent_activation must be one of"),
        (lambda: sw.GRU(4, reset="never"), "reset must be 'after' or 'before' the recurrent"),
        (lambda: sw.Dropout(1.0), r"rate must be a number in \[0, 1\), got 1.0"),
        (lambda: sw.Dropout(-0.1), r"rate must be a number in \[0, 1\)"),
        (lambda: sw.Zoneout(sw.GRU(2), 1.5), r"Zoneout: rate must be a number in \[0, 1\)"),
        (lambda: sw.Zoneout(sw.GRU), r"Zoneout wraps a cell, got .*; write Zoneout\(sw.GRU\(64\)"),
        (lambda: sw.Residual(3), "Residual wraps a cell, got 3"),
        (lambda: sw.Bidirectional(sw.Bidirectional(sw.GRU(2))), "wraps a cell that reads forward"),
        (lambda: sw.Difference(0), "Difference: lag must be a whole number of at least 1"),
        (lambda: sw.Lags(()), "Lags: lags must be whole numbers of at least 1"),
        (lambda: sw.Lags((1, 0)), "Lags: lags must be whole numbers of at least 1"),
        (lambda: sw.RunningScale(memory=1.0), "memory must be more than one step, got 1.0"),
        (lambda: sw.Standardize(0.0, 0.0), "Standardize: scale must be above zero"),
        (lambda: sw.Standardize(0.0, (1.0, float("nan"))), "scale must be above zero"),
        (lambda: sw.Chrono(2), "longest must be a whole number of at least 3 steps, got 2"),
        (lambda: sw.Vector(0), "Vector: features must be a whole number of at least 1, got 0"),
        (lambda: sw.Tokens(5, -1), "Tokens: width must be a whole number of at least 1"),
        (lambda: sw.Linear("3"), "Linear: units must be a whole number of at least 1, got '3'"),
    ],
)
def test_hyperparameters_are_checked_where_they_are_given(build, message):
    with pytest.raises(sw.ArchitectureError, match=message):
        build()


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (sw.Residual(sw.GRU(3)), "layer 0: Residual adds its input .* has 2, GRU gives 3"),
        (sw.Zoneout(sw.LayerNorm()), "layer 0: Zoneout needs a cell whose output is its field h"),
        (sw.Standardize((1.0, 2.0, 3.0)), "layer 0: Standardize: mean has 3 values for 2 features"),
    ],
)
def test_hyperparameters_that_need_the_inputs_are_checked_there(layer, message):
    with pytest.raises(sw.ArchitectureError, match=message):
        sw.Architecture(sw.Vector(2), [layer])


def test_relu_at_zero_has_the_gradient_of_the_fused_kernel():
    found = []
    for executor in ("reference", "fused", "auto"):
        arch = sw.Architecture(sw.Vector(1), [sw.Elman(1, activation="relu")])
        model = sw.nn.Model(arch, executor=executor)
        model(torch.zeros(1, 3, 1))[0].sum().backward()
        found.append([p.grad.tolist() for p in model.parameters()])
    assert found[0] == found[1]
