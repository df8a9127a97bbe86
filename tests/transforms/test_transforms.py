"""Transforms: their numbers against NumPy's, and the way back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import statewise as sw

TRANSFORMS = {
    "difference": sw.Difference(),
    "season": sw.Difference(4),
    "lags": sw.Lags((1, 3)),
    "standardize": sw.Standardize((1.0, -3.0), (2.0, 0.5)),
    "running": sw.RunningScale(),
    "running memory": sw.RunningScale(memory=5.0),
}


def series(steps=20, rows=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, steps, 2)).cumsum(axis=1) + 10.0


def run(transform, x, *more):
    """The transform alone, in float64: outputs, and what it saw."""
    width = transform.outputs(x.shape[-1])
    identity = {"outputs.W": np.eye(width), "outputs.b": np.zeros(width)}
    arch = sw.Architecture(sw.Vector(x.shape[-1]), [transform], sw.Linear(width))
    model = sw.runtime.Model(arch, identity)
    y, state, seen = model.trace(x, *more)
    return y, state, {name.removeprefix("0."): value for name, value in seen.items()}


@pytest.mark.parametrize("lag", [1, 4])
def test_difference(lag):
    x = series()
    y, _, _ = run(sw.Difference(lag), x)
    np.testing.assert_allclose(y[:, lag:], x[:, lag:] - x[:, :-lag], rtol=1e-12)
    assert not y[:, 0].any(), "nothing is known before the first step"
    np.testing.assert_allclose(y[:, 1:lag], np.diff(x[:, :lag], axis=1), rtol=1e-12)


def test_twice_differenced():
    x = series()
    arch = sw.Architecture(
        sw.Vector(2), [sw.Difference(), sw.Difference()], sw.Linear(2, inverse=True)
    )
    model = sw.runtime.Model(arch, {"outputs.W": np.zeros((2, 2)), "outputs.b": np.zeros(2)})
    y, _ = model(x)  # no change of the change: the line through the last two values
    np.testing.assert_allclose(y[:, 1:], 2 * x[:, 1:] - x[:, :-1], rtol=1e-12)


def test_lags():
    x = series()
    y, _, _ = run(sw.Lags((1, 3)), x)
    assert y.shape[-1] == 6
    np.testing.assert_array_equal(y[..., :2], x)
    for place, lag in ((2, 1), (4, 3)):
        np.testing.assert_array_equal(y[:, lag:, place : place + 2], x[:, :-lag])
        assert not y[:, :lag, place : place + 2].any()
    assert sw.Lags(2) == sw.Lags((2,)) == sw.Lags([2])


def test_standardize():
    x = series()
    y, _, _ = run(sw.Standardize((1.0, -3.0), (2.0, 0.5)), x)
    np.testing.assert_allclose(y, (x - [1.0, -3.0]) / [2.0, 0.5], rtol=1e-12)


def test_standardize_takes_what_numpy_and_torch_measure():
    x = series().astype("float32")
    a = sw.Standardize(x.mean(), x.std())
    b = sw.Standardize(torch.from_numpy(x).mean(), float(x.std()))
    assert a.scale == b.scale
    c = sw.Standardize(x.mean(axis=(0, 1)), torch.from_numpy(x).std(dim=(0, 1)))
    assert all(type(value) is float for value in (a.mean, b.mean, *c.mean, *c.scale))
    sw.Architecture(sw.Vector(2), [c])
    assert sw.Standardize(1, 2) == sw.Standardize(1.0, 2.0)


def test_standardize_learns_from_a_history():
    history = np.array([[1.0, 5.0], [3.0, 5.0], [8.0, 5.0]])
    fitted = sw.Standardize().fit(history)
    np.testing.assert_allclose(fitted.mean, [4.0, 5.0], rtol=1e-12)
    np.testing.assert_allclose(fitted.scale, [np.sqrt(26 / 3), 1.0], rtol=1e-12)
    assert sw.Standardize().fit(1e6 + 1e-9 * history).scale == (1.0, 1.0), "rounding alone"
    assert sw.Standardize().fit(1e6 + 1e-3 * history).scale[0] == pytest.approx(1e-3 * 2.94392)
    for alone in (sw.Difference(3), sw.Lags((2,)), sw.RunningScale()):
        assert alone.fit(history) is alone


def test_how_long_transforms_warm_up():
    assert sw.Difference(3).warmup == 3
    assert sw.Standardize().warmup == 0
    assert sw.Transform().warmup == 0


@pytest.mark.parametrize("lags", [(), (0,), (1, -1), (1.5,), ("a",), 0])
def test_lags_are_counts(lags):
    with pytest.raises(sw.ArchitectureError, match="lags must be whole numbers of at least 1"):
        sw.Lags(lags)


@pytest.mark.parametrize("memory", [1, 0.5, -3.0, float("nan")])
def test_a_memory_is_longer_than_a_step(memory):
    with pytest.raises(sw.ArchitectureError, match="memory must be more than one step"):
        sw.RunningScale(memory)
    assert sw.RunningScale(1.001).memory == 1.001


@pytest.mark.parametrize("scale", [0, -1.0, (1.0, 0.0), float("nan")])
def test_scales_are_above_zero(scale):
    with pytest.raises(sw.ArchitectureError, match="scale must be above zero"):
        sw.Standardize(0.0, scale)


def test_a_scale_for_each_feature():
    with pytest.raises(sw.ArchitectureError, match="mean has 2 values for 3 features"):
        sw.Architecture(sw.Vector(3), [sw.Standardize((1.0, 2.0), 1.0)])
    with pytest.raises(sw.ArchitectureError, match="scale has 3 values for 2 features"):
        sw.Architecture(sw.Vector(2), [sw.Standardize(1.0, (1.0, 2.0, 3.0))])


def test_a_row_may_have_a_scale_of_its_own():
    arch = sw.Architecture(sw.Vector(1), [sw.Standardize()])
    model = sw.nn.Model(arch)
    start = model.initial_state(2).replace(
        {"0.mean": torch.tensor([[0.0], [10.0]]), "0.scale": torch.tensor([[1.0], [5.0]])}
    )
    y, _ = model(torch.full((2, 1, 1), 20.0), start)
    assert y.flatten().tolist() == [20.0, 2.0]


def test_running_scale_is_the_deviation_of_what_was_seen():
    x = series()
    y, state, seen = run(sw.RunningScale(), x)
    for t in range(x.shape[1]):
        known = x[:, : t + 1]
        mean, scale = known.mean(axis=1), known.std(axis=1) if t else np.ones((3, 2))
        np.testing.assert_allclose(seen["mean"][:, t], mean, rtol=1e-12)
        np.testing.assert_allclose(seen["scale"][:, t], scale, rtol=1e-10)
        np.testing.assert_allclose(y[:, t], (x[:, t] - mean) / scale, rtol=1e-9, atol=1e-12)
    assert state["0.weight"].tolist() == [[20.0]] * 3


def test_running_scale_with_memory_weighs_the_past_less():
    x, memory = series(), 5.0
    _, _, seen = run(sw.RunningScale(memory=memory), x)
    for t in range(1, x.shape[1]):
        weights = (1 - 1 / memory) ** np.arange(t, -1, -1)
        known = x[:, : t + 1]
        mean = np.average(known, axis=1, weights=weights)
        spread = np.average((known - mean[:, None]) ** 2, axis=1, weights=weights)
        np.testing.assert_allclose(seen["mean"][:, t], mean, rtol=1e-12)
        np.testing.assert_allclose(seen["scale"][:, t], np.sqrt(spread), rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("level", [0.0, 0.1, 1.0 / 3.0, 12345.678, -1e6])
@pytest.mark.parametrize("memory", [None, 5.0])
def test_a_constant_series_keeps_the_scale_one(dtype, level, memory):
    arch = sw.Architecture(sw.Vector(1), [sw.RunningScale(memory)], sw.Linear(1))
    arrays = {name: a.astype(dtype) for name, a in arch.draw(0).items()}
    _, _, seen = sw.runtime.Model(arch, arrays).trace(np.full((1, 500, 1), level, dtype=dtype))
    assert (seen["0.scale"] == 1).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding_alone_is_no_variance(dtype):
    level = np.asarray(12345.678, dtype=dtype)
    x = np.array([level, np.nextafter(level, np.inf), level, level])[None, :, None]
    arch = sw.Architecture(sw.Vector(1), [sw.RunningScale()], sw.Linear(1))
    arrays = {name: a.astype(dtype) for name, a in arch.draw(0).items()}
    _, _, seen = sw.runtime.Model(arch, arrays).trace(x)
    assert (seen["0.scale"] == 1).all()


def test_running_scale_sees_a_small_change_on_a_high_level():
    x = np.array([[[1e4], [1e4 + 1], [1e4], [1e4 + 1]]])
    _, _, seen = run(sw.RunningScale(), x)
    assert seen["scale"][0, -1, 0] == pytest.approx(0.5)


@pytest.mark.parametrize("name", TRANSFORMS)
@given(seed=st.integers(0, 1000), steps=st.integers(1, 20))
def test_the_inverse_brings_back_what_forward_took_away(name, seed, steps):
    transform, x = TRANSFORMS[name], series(steps, seed=seed)
    target = series(steps, seed=seed + 1)
    _, _, seen = run(transform, x)
    back = transform.inverse(transform.forward(target, seen), seen)
    np.testing.assert_allclose(back, target, rtol=1e-9, atol=1e-9)
    one = transform.inverse(transform.forward(target[..., :1], seen), seen)
    np.testing.assert_allclose(one, target[..., :1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["difference", "season"])
def test_a_difference_of_the_next_step_is_forward_of_it(name):
    """What a model is trained to predict is what the transform will say of the next step."""
    transform, x = TRANSFORMS[name], series()
    y, _, seen = run(transform, x)
    expected = transform.forward(x[:, 1:], {key: value[:, :-1] for key, value in seen.items()})
    np.testing.assert_allclose(expected, y[:, 1:], rtol=1e-12)


STACKS = {
    "difference scale": (sw.Difference(), sw.RunningScale()),
    "season scale lags": (sw.Difference(4), sw.RunningScale(memory=9.0), sw.Lags((1,))),
    "standardize": (sw.Standardize((1.0, 2.0), 3.0),),
}


@pytest.mark.parametrize("units", [1, 2])
@pytest.mark.parametrize("name", STACKS)
def test_inverse_outputs_are_in_the_units_of_the_inputs(name, units):
    """A model that says 'no change, nothing unusual' predicts by the transforms alone."""
    layers = STACKS[name]
    arch = sw.Architecture(sw.Vector(2), [*layers, sw.GRU(3)], sw.Linear(units, inverse=True))
    arrays = {key: np.zeros_like(a) for key, a in arch.draw(0).items()}
    arrays["outputs.b"] += 0.5
    model, x = sw.runtime.Model(arch, arrays), series()
    y, _ = model(x)
    expected = np.full((*x.shape[:2], units), 0.5)
    leading, views = x, []
    for layer in layers:
        leading, _, seen = run(layer, leading)
        views.append(seen)
    for layer, seen in reversed(list(zip(layers, views, strict=True))):
        expected = layer.inverse(expected, seen)
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    state = None
    for t in range(x.shape[1]):
        one, state = model.step(x[:, t], state)
        np.testing.assert_allclose(one, y[:, t], rtol=1e-12)


def test_inverse_needs_transforms_and_features():
    for layers in ([sw.GRU(2)], [sw.GRU(2), sw.Difference()], []):
        with pytest.raises(sw.ArchitectureError, match="transforms that lead the layers, and the"):
            sw.Architecture(sw.Vector(2), layers, sw.Linear(1, inverse=True))
    with pytest.raises(
        sw.ArchitectureError, match=r"more outputs than the inputs have features \("
    ):
        sw.Architecture(sw.Vector(2), [sw.Difference()], sw.Linear(3, inverse=True))


def test_a_transform_without_a_way_back_says_so():
    class OneWay(sw.Transform):
        pass

    for call in (OneWay().inverse, OneWay().forward):
        with pytest.raises(sw.CellError, match="OneWay has no"):
            call(np.zeros((1, 1, 1)), {})
