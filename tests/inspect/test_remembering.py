import numpy as np
import pytest
from tests.conformance.zoo import inputs, weights

import statewise as sw
from statewise import inspect

CELLS = {
    "elman": sw.Elman(4),
    "lstm": sw.LSTM(4),
    "gru": sw.GRU(4),
    "residual": sw.Residual(sw.GRU(4)),
    "zoneout": sw.Zoneout(sw.GRU(4), 0.2),
}


@pytest.mark.parametrize("cell", CELLS)
def test_a_horizon_is_what_a_nudge_leaves(cell):
    arch = sw.Architecture(sw.Vector(2), [sw.Dense(4), CELLS[cell]], sw.Linear(2))
    model = sw.runtime.Model(arch, weights(arch, "float64"))
    x = inputs(arch, 2, 9, "float64")
    name = "1.c" if cell == "lstm" else "1.h"
    found = inspect.horizon(model, x, name, lags=5, starts=2, row=1)
    assert found.actual.shape == (6, 4)
    plain = inspect.record(model, x, names=name)[name]
    for unit in range(4):
        norms = np.zeros((2, 6))
        for k, start in enumerate((0, 3)):
            if cell == "zoneout":
                continue
            nudge = 1e-6 * np.eye(4)[unit]
            with inspect.edit(model, {name: lambda v, nudge=nudge: v + nudge}, at=start):
                moved = inspect.record(model, x, names=name)[name]
            norms[k] = np.linalg.norm((moved - plain)[1, start : start + 6], axis=-1) / 1e-6
        if cell != "zoneout":
            np.testing.assert_allclose(found.actual[:, unit], norms.mean(0), rtol=1e-4, atol=1e-6)
    assert (found.claimed is None) == (cell == "none")
    if cell == "lstm":
        f = inspect.record(model, x, names="1.f")["1.f"][1]
        both = (f[1] * f[2] + f[4] * f[5]) / 2
        np.testing.assert_allclose(found.claimed[2], both, rtol=1e-6)


def test_gates_may_claim_more_than_a_state_keeps_and_less():
    """Open forget gates and a state that R overwrites; closed ones and a state that R keeps."""
    arch = sw.Architecture(sw.Vector(1), [sw.LSTM(1)])
    arrays = {name: np.zeros(p.shape) for name, p in arch.parameters.items()}
    arrays["0.b"] = np.array([20.0, 20.0, 0.0, 20.0])
    x = np.zeros((1, 40, 1))
    kept = inspect.horizon(sw.runtime.Model(arch, arrays), x, lags=32)
    assert kept.name == "0.c"
    np.testing.assert_allclose(kept.actual, 1, atol=1e-5)
    assert kept.steps()["actual"].tolist() == kept.steps()["claimed"].tolist() == [33]
    arrays["0.R"] = np.array([[0.0], [0.0], [-0.9], [0.0]])
    overwritten = inspect.horizon(sw.runtime.Model(arch, arrays), x, lags=32)
    assert overwritten.steps()["claimed"].tolist() == [33]
    assert overwritten.steps()["actual"].tolist() == [1]
    arrays["0.R"] = np.array([[0.0], [0.0], [0.9], [0.0]])
    arrays["0.b"][1] = -20.0
    fed = inspect.horizon(sw.runtime.Model(arch, arrays), x, lags=32)
    assert fed.steps()["claimed"].tolist() == [1]
    assert fed.steps()["actual"].tolist() == [10]
    assert "claimed" in str(fed)
    assert fed.as_dict()["steps"]["actual"] == [10]


def test_bad_input():
    arch = sw.Architecture(sw.Vector(2), [sw.LSTM(4)], sw.Linear(2))
    model = sw.runtime.Model(arch, weights(arch))
    x = inputs(arch, 2, 9)
    for use, message in (
        (lambda: inspect.horizon(model, x, "0.f"), "no field of the state"),
        (lambda: inspect.horizon(model, x[:, :1]), "at least 2 steps"),
        (lambda: inspect.horizon(model, x, units=[4]), "units 0 to 3"),
    ):
        with pytest.raises(sw.InputError, match=message):
            use()
    assert inspect.horizon(model, x, lags=99).lags == 8
