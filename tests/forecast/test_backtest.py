"""`cross_validation` beside forecasts made by hand: one origin at a time, from a whole history."""

import itertools

import numpy as np
import pandas as pd
import pytest

import statewise as sw
from statewise.forecast.core import prepare
from statewise.forecast.rollout import consume
from statewise.forecast.table import RESIDUALS, Track, compute_errors

LEVELS = [50, 90]
SETUPS = {
    "differences": {},
    "season": {"season": 5},
    "seasonal difference": {"transforms": [sw.Difference(3), sw.Standardize()]},
    "values": {"transforms": []},
}
WINDOWS = {
    "one": (4, 1, None),
    "side by side": (3, 4, None),
    "overlapping": (5, 3, 2),
    "apart": (2, 3, 4),
    "single steps": (1, 6, 1),
}


def make_forecaster(**options):
    return sw.Forecaster([sw.GRU(3)], epochs=4, seed=2, **options)


def known_before(panel, cutoffs):
    return pd.concat(own[own.ds <= cutoffs[name]] for name, own in panel.groupby("unique_id"))


def forecast_by_hand(trained, panel, cutoffs, h):
    """The forecasts from the cutoffs, as a fresh reading of each whole history gives them.

    Nothing of the walk is used: the state of each series is seeded by all that is known before the
    cutoff, its errors are computed value by value, and `predict` goes on from both.
    """
    forecaster = make_forecaster()
    forecaster.settings, forecaster.columns = trained.settings, trained.columns
    forecaster.calendar, forecaster.backend = trained.calendar, trained.backend
    forecaster.model = trained.model
    first = {name: len(track.residuals) for name, track in trained.states.tracks.items()}
    for name, own in known_before(panel, cutoffs).groupby("unique_id"):
        values = own.y.to_numpy()
        head = trained.states[name].position[0]
        start = prepare(trained.model, values[:head]).start
        state, forecasts = start, []
        for value in values:
            y, state = trained.model.step(np.array([[value]]), state)
            forecasts.append(y[0, 0])
        errors = [after - before for before, after in zip(forecasts, values[1:], strict=False)]
        count = first[name] + len(values) - head
        residuals = np.array(errors[-count:])
        forecaster.states.tracks[name] = Track(state, own.ds.to_numpy()[-1], residuals)
    return forecaster.predict(h, level=LEVELS)


@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize("setup", SETUPS)
def test_every_origin_is_what_a_whole_reading_of_its_history_gives(panel, setup, windows):
    h, count, step = WINDOWS[windows]
    forecaster = make_forecaster(**SETUPS[setup]).fit(panel)
    found = forecaster.cross_validation(h, count, step, level=LEVELS)
    every = step or h
    held_out = h + (count - 1) * every
    head = panel.drop(panel.groupby("unique_id").tail(held_out).index)
    trained = make_forecaster(**SETUPS[setup]).fit(head)  # once, before the first cutoff
    rows = found.groupby("unique_id", sort=False).cumcount() // h
    assert rows.max() == count - 1
    for window, part in found.groupby(rows):
        cutoffs = {
            name: own.ds.iloc[len(own) - held_out + window * every - 1]
            for name, own in panel.groupby("unique_id")
        }
        assert part.cutoff.tolist() == [cutoffs[name] for name in part.unique_id]
        expected = forecast_by_hand(trained, panel, cutoffs, h)
        assert part.unique_id.tolist() == expected.unique_id.tolist()
        assert part.ds.tolist() == expected.ds.tolist()
        truth = panel.set_index(["unique_id", "ds"]).y
        assert part.y.tolist() == [truth[key] for key in zip(part.unique_id, part.ds, strict=True)]
        for column in expected.columns[2:]:
            np.testing.assert_allclose(part[column], expected[column], rtol=1e-8, err_msg=column)


def test_the_last_window_ends_with_the_series(panel):
    found = make_forecaster().fit(panel).cross_validation(3, 2, 5)
    for name, own in found.groupby("unique_id"):
        series = panel[panel.unique_id == name]
        assert own.ds.max() == series.ds.max()
        assert own.ds.tolist()[:3] == series.ds.tolist()[-8:-5]


def test_what_lies_after_a_cutoff_never_matters(panel):
    """Other values after the first cutoff leave the first forecast, and its intervals, alone."""
    forecaster = make_forecaster().fit(panel)
    tail = panel.groupby("unique_id").tail(7).index
    other = panel.assign(y=panel.y.where(~panel.index.isin(tail), 3 * panel.y + 1))
    one = forecaster.cross_validation(3, 3, 2, level=LEVELS)
    two = forecaster.cross_validation(3, 3, 2, df=other, level=LEVELS)
    first = one.cutoff == one.groupby("unique_id").cutoff.transform("min")
    columns = [name for name in one if name.startswith("statewise")]
    pd.testing.assert_frame_equal(one.loc[first, columns], two.loc[first, columns])
    assert not np.allclose(one.loc[~first, columns], two.loc[~first, columns])


def test_the_shortest_histories(panel):
    forecaster = make_forecaster()
    lengths = panel.groupby("unique_id").size()
    forecaster.fit(panel)
    most = lengths.min() - forecaster.settings.shortest
    assert len(forecaster.cross_validation(most)) == most * 3
    message = (
        rf"series 'b' has 45 steps; 1 window of {most + 1} steps, {most + 1} apart, leave 3 to "
        "learn from, and at least 4 are needed"
    )
    with pytest.raises(sw.DataError, match=message):
        forecaster.cross_validation(most + 1)
    with pytest.raises(sw.DataError, match="leave 0 to learn from"):
        forecaster.cross_validation(60)


@pytest.mark.parametrize("name", ["h", "n_windows", "step_size"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2"])
def test_counts_are_whole_numbers(fitted, name, value):
    given = {"h": 2, "n_windows": 2, "step_size": 1, name: value}
    with pytest.raises(sw.DataError, match=f"^{name} must be a whole number of at least 1, got"):
        fitted.cross_validation(**given)


def test_numpy_counts_are_counts(fitted):
    assert len(fitted.cross_validation(np.int64(2), np.int32(2), np.int64(1))) == 12


def test_cross_validation_needs_series(fitted, tmp_path):
    fitted.save(tmp_path)
    with pytest.raises(sw.DataError, match="needs series"):
        sw.Forecaster.load(tmp_path).cross_validation(2)


# One-step errors, the same wherever they are taken


def slow_errors(model, values, start, skip):
    """Value minus the forecast before it, one step at a time."""
    state, errors = start, []
    for at, value in enumerate(values):
        if at > skip:
            errors.append(value - float(np.asarray(state["outputs.y"])[0, 0]))
        _, state = model.step(np.array([[value]]), state)
    return np.array(errors)


@pytest.mark.parametrize(
    ("setup", "warmup"),
    [("differences", 1), ("season", 1), ("seasonal difference", 3), ("values", 0)],
)
def test_a_track_keeps_the_errors_of_its_series(panel, setup, warmup):
    forecaster = make_forecaster(**SETUPS[setup]).fit(panel)
    assert forecaster.settings.warmup == warmup
    for name, own in panel.groupby("unique_id"):
        values = own.y.to_numpy()
        start = prepare(forecaster.model, values).start
        slow = slow_errors(forecaster.model, values, start, warmup)
        np.testing.assert_allclose(
            forecaster.states.tracks[name].residuals, slow, rtol=1e-7, atol=1e-12
        )
        assert len(slow) == len(values) - 1 - warmup


def test_updates_add_the_errors_of_new_values(panel):
    head = panel.drop(panel.groupby("unique_id").tail(6).index)
    forecaster = make_forecaster().fit(head)
    before = {name: track.residuals for name, track in forecaster.states.tracks.items()}
    tail = panel.groupby("unique_id").tail(6)
    for part in (tail.groupby("unique_id").head(4), tail.groupby("unique_id").tail(2)):
        forecaster.update(part)
    for name, own in panel.groupby("unique_id"):
        start = prepare(forecaster.model, own.y.to_numpy()[:-6]).start
        slow = slow_errors(forecaster.model, own.y.to_numpy(), start, len(own) - 7)
        residuals = forecaster.states.tracks[name].residuals
        np.testing.assert_array_equal(residuals[:-6], before[name])
        np.testing.assert_allclose(residuals[-6:], slow, rtol=1e-7)


def test_the_latest_errors_are_kept():
    values = np.random.default_rng(0).normal(size=RESIDUALS + 60).cumsum()
    frame = pd.DataFrame({"ds": np.arange(len(values)), "y": values})
    long = make_forecaster().fit(frame, id_col=None)
    track = long.states.tracks["series"]
    slow = slow_errors(long.model, values, prepare(long.model, values).start, 1)
    np.testing.assert_allclose(track.residuals, slow[-RESIDUALS:], rtol=1e-6, atol=1e-9)
    new = pd.DataFrame({"ds": len(values) + np.arange(3), "y": [1.0, 2.0, 3.0]})
    after = long.update(new).states.tracks["series"]
    np.testing.assert_array_equal(after.residuals[:-3], track.residuals[3:])


def test_errors_of_a_few_numbers():
    values, forecasts = np.array([1.0, 2.0, 4.0]), np.array([1.5, 2.5, 9.0])
    assert compute_errors(values, forecasts, 0.25).tolist() == [0.75, 0.5, 1.5]
    np.testing.assert_array_equal(compute_errors(values, forecasts), [np.nan, 0.5, 1.5])


def test_calibration_compares_with_the_errors_of_left_out_steps(panel):
    count = 6
    plain, careful = (make_forecaster(calibration=n).fit(panel) for n in (0, count))
    trial = make_forecaster().fit(panel.drop(panel.groupby("unique_id").tail(count).index))
    scales = []
    for name, own in panel.groupby("unique_id"):
        values = own.y.to_numpy()
        start = prepare(trial.model, values[:-count]).start
        known = slow_errors(trial.model, values[:-count], start, 1)
        new = slow_errors(trial.model, values, start, len(values) - count - 1)
        assert len(new) == count
        scales.append(max(1.0, np.sqrt((new**2).mean() / (known**2).mean())))
        tracks = (one.states.tracks[name].residuals for one in (careful, plain))
        found = np.divide(*tracks)
        np.testing.assert_allclose(found, scales[-1], rtol=1e-6)
    assert max(scales) > 1


def test_rows_read_beside_each_other_are_read_alone(fitted, panel):
    """`consume` pads rows of other lengths; neither forecasts nor states may notice."""
    own = [one.y.to_numpy() for _, one in panel.groupby("unique_id")]
    start = fitted.model.initial_state(3)
    together, state = consume(fitted.model, own, start)
    for row, values in enumerate(own):
        (alone,), end = consume(fitted.model, [values], start.rows([row]))
        np.testing.assert_allclose(together[row], alone, rtol=1e-12)
        assert end.allclose(state.rows([row]), rtol=1e-12)
    for one, other in itertools.pairwise(together):
        assert len(one) != len(other)
