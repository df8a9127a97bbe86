import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import statewise as sw
from statewise.forecast.rollout import consume


def fresh(fitted: sw.Forecaster, tmp_path: Path) -> sw.Forecaster:
    fitted.save(tmp_path / "f")
    return sw.Forecaster.load(tmp_path / "f")


def later(panel: pd.DataFrame, days: int) -> pd.DataFrame:
    """Further days of every series."""
    rng = np.random.default_rng(1)
    parts = []
    for name, own in panel.groupby("unique_id"):
        times = pd.date_range(own.ds.max(), periods=days + 1)[1:]
        values = own.y.mean() * (1 + 0.1 * rng.normal(size=days))
        parts.append(pd.DataFrame({"unique_id": name, "ds": times, "y": values}))
    return pd.concat(parts, ignore_index=True)


def test_a_forecast_has_a_row_for_each_series_and_step(fitted, panel) -> None:
    out = fitted.predict(4, level=[80, 95])
    assert list(out.columns) == [
        "unique_id",
        "ds",
        "statewise",
        *(f"statewise-{side}-{level}" for level in (80, 95) for side in ("lo", "hi")),
    ]
    assert out.unique_id.tolist() == [name for name in "abc" for _ in range(4)]
    for name, own in panel.groupby("unique_id"):
        expected = pd.date_range(own.ds.max(), periods=5)[1:]
        assert out.ds[out.unique_id == name].tolist() == expected.tolist()
    assert (out["statewise-lo-95"] <= out["statewise-lo-80"]).all()
    assert (out["statewise-lo-80"] <= out["statewise-hi-80"]).all()
    assert (out["statewise-hi-80"] <= out["statewise-hi-95"]).all()


def test_forecasts_are_in_the_units_of_each_series(fitted, panel) -> None:
    out = fitted.predict(3).groupby("unique_id").statewise.mean()
    for name, own in panel.groupby("unique_id"):
        assert own.y.min() * 0.5 < out[name] < own.y.max() * 1.5


def test_a_fork_forecasts_by_taking_each_forecast_as_the_next_value(fitted) -> None:
    said = fitted.predict(3, ids=["b"]).statewise.to_numpy()
    state = fitted.states["b"]
    x = np.asarray(state["outputs.y"])
    for value in said:
        np.testing.assert_allclose(x[0, 0], value, rtol=1e-12)
        x, state = fitted.model.step(x, state)


def test_the_state_is_that_of_the_history_read_alone(fitted, panel) -> None:
    for name, own in panel.groupby("unique_id"):
        start = fitted.model.initial_state(1)
        changes = np.diff(own.y)[: len(own) - 2]
        full = np.r_[0.0, changes]
        start = start.replace(
            {"1.mean": np.array([[full.mean()]]), "1.scale": [[full.std()]]}
            and {"1.mean": np.array([[full.mean()]]), "1.scale": np.array([[full.std()]])}
        )
        _, state = consume(fitted.model, [own.y.to_numpy()], start)
        assert state.allclose(fitted.states[name], rtol=1e-9, atol=1e-9)
        assert state.position[0] == len(own)


def test_update_equals_reading_the_rows_with_the_history(fitted, panel, tmp_path) -> None:
    new = later(panel, 5)
    one, many = fresh(fitted, tmp_path), fresh(fitted, tmp_path)
    one.update(new)
    for day in range(5):
        many.update(new.groupby("unique_id", group_keys=False).nth(day))
    for name in "abc":
        assert one.states[name].allclose(many.states[name], rtol=1e-10, atol=1e-12)
        assert one.states[name].position[0] == fitted.states[name].position[0] + 5
    pd.testing.assert_frame_equal(one.predict(4), many.predict(4))
    before, after = fitted.predict(1), one.predict(1)
    assert (after.ds - before.ds == pd.Timedelta(days=5)).all()


def test_update_leaves_weights_and_other_series_alone(fitted, panel, tmp_path) -> None:
    forecaster = fresh(fitted, tmp_path)
    weights = copy.deepcopy(forecaster.model.weights())
    forecaster.update(later(panel, 2).query("unique_id == 'b'"))
    assert all((weights[k] == v).all() for k, v in forecaster.model.weights().items())
    assert forecaster.states["a"] == fitted.states["a"]
    assert forecaster.states["b"] != fitted.states["b"]


def test_a_refused_update_changes_nothing(fitted, panel, tmp_path) -> None:
    forecaster = fresh(fitted, tmp_path)
    good = later(panel, 3)
    for bad, message in (
        (good.assign(unique_id=good.unique_id.replace("c", "z")), "no series 'z'"),
        (panel, "already been read up to"),
        (good[good.ds > good.ds.min()], "1 missing time "),
        (good.assign(y=np.nan), "NaN or infinite"),
        (good.iloc[:0], "no rows"),
        (good.assign(ds=range(len(good))), "times like"),
    ):
        with pytest.raises(sw.DataError, match=message):
            forecaster.update(bad)
        assert all(forecaster.states[name] == fitted.states[name] for name in "abc")


def test_states_are_values_snapshot_fork_and_rollback(fitted, panel, tmp_path) -> None:
    forecaster = fresh(fitted, tmp_path)
    before, said = forecaster.states["a"], forecaster.predict(3, ids=["a"])
    forecaster.states.fork("a", "a2")
    forecaster.update(later(panel, 2).query("unique_id == 'a'"))
    assert forecaster.states["a"] != before
    np.testing.assert_array_equal(forecaster.predict(3, ids=["a2"]).statewise, said.statewise)
    forecaster.states["a"] = before
    np.testing.assert_array_equal(forecaster.predict(3, ids=["a"]).statewise, said.statewise)
    with pytest.raises(sw.DataError, match="already"):
        forecaster.states.fork("a", "b")
    with pytest.raises(sw.DataError, match="no series 'q'"):
        forecaster.states["q"]
    with pytest.raises(sw.StateError, match="one row"):
        forecaster.states["a"] = before.rows([0, 0])


def test_saved_and_loaded_goes_on_bit_for_bit(fitted, panel, tmp_path) -> None:
    forecaster = fresh(fitted, tmp_path)
    pd.testing.assert_frame_equal(forecaster.predict(5, level=[90]), fitted.predict(5, level=[90]))
    assert forecaster.update(later(panel, 1)).predict(2).shape == (6, 3)
    code = (
        "import sys, statewise as sw\n"
        f"out = sw.Forecaster.load({str(tmp_path / 'f')!r}).predict(2)\n"
        "assert 'torch' not in sys.modules\n"
        "print(out.statewise.tolist())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert printed.stdout.strip() == str(fitted.predict(2).statewise.tolist()), printed.stderr


def test_a_folder_that_was_mixed_up_is_refused(fitted, panel, tmp_path) -> None:
    fitted.save(tmp_path / "a")
    sw.Forecaster([sw.GRU(3)], epochs=1).fit(panel).save(tmp_path / "b")
    (tmp_path / "a" / "state.safetensors").write_bytes(
        (tmp_path / "b" / "state.safetensors").read_bytes()
    )
    with pytest.raises(sw.FileError, match="does not belong to"):
        sw.Forecaster.load(tmp_path / "a")
    with pytest.raises(sw.FileError, match="no folder"):
        sw.Forecaster.load(tmp_path / "nowhere")
    torn = tmp_path / "b" / "state.safetensors"
    torn.write_bytes(torn.read_bytes()[:-40])
    with pytest.raises(sw.FileError):
        sw.Forecaster.load(tmp_path / "b")


def test_cross_validation_is_one_training_and_one_walk(panel) -> None:
    forecaster = sw.Forecaster([sw.GRU(4)], epochs=5).fit(panel)
    states = dict(forecaster.states)
    out = forecaster.cross_validation(4, n_windows=3, step_size=2, level=[80])
    assert list(out.columns[:5]) == ["unique_id", "ds", "cutoff", "y", "statewise"]
    assert len(out) == 3 * 3 * 4
    assert all(forecaster.states[name] == state for name, state in states.items())
    by_hand = sw.Forecaster([sw.GRU(4)], epochs=5)
    held_out = panel.groupby("unique_id").tail(4 + 2 * 2).index
    by_hand.fit(panel.drop(held_out))
    for cutoff, window in out.groupby(out.groupby("unique_id").cutoff.rank("dense")):
        mine = by_hand.predict(4)
        np.testing.assert_allclose(window.statewise.to_numpy(), mine.statewise, rtol=1e-9)
        truth = window.merge(panel, on=["unique_id", "ds"], suffixes=("", "_true"))
        np.testing.assert_array_equal(truth.y, truth.y_true)
        if cutoff < 3:
            step = panel.loc[held_out].groupby("unique_id", group_keys=False)
            by_hand.update(
                pd.concat([step.nth(2 * int(cutoff) - 2), step.nth(2 * int(cutoff) - 1)])
            )


def test_intervals_widen_with_calibration_and_cover_what_they_say() -> None:
    rng = np.random.default_rng(2)
    noise = pd.DataFrame({"ds": range(400), "y": rng.normal(size=400).cumsum()})
    forecaster = sw.Forecaster([sw.LSTM(4)], epochs=10)
    forecaster.fit(noise[:300], id_col=None)
    covered = []
    for index in range(300, 400):
        band = forecaster.predict(1, level=[80])
        low, high = band["statewise-lo-80"][0], band["statewise-hi-80"][0]
        covered.append(low <= noise.y[index] <= high)
        forecaster.update(noise.iloc[[index]])
    assert 0.65 < np.mean(covered) < 0.92
    trusting = sw.Forecaster([sw.LSTM(32)], epochs=150).fit(noise[:60], id_col=None)
    careful = sw.Forecaster([sw.LSTM(32)], epochs=150, calibration=15).fit(noise[:60], id_col=None)
    widths = [
        (out["statewise-hi-95"] - out["statewise-lo-95"])[0]
        for out in (trusting.predict(1, level=[95]), careful.predict(1, level=[95]))
    ]
    assert widths[1] > 1.2 * widths[0]


def test_a_season_is_learned() -> None:
    steps = np.arange(96)
    frame = pd.DataFrame({"ds": steps, "y": np.sin(steps * np.pi / 6) * 10 + steps})
    forecaster = sw.Forecaster([sw.LSTM(16)], season=12, epochs=150).fit(frame[:84], id_col=None)
    error = np.abs(forecaster.predict(12).statewise.to_numpy() - frame.y[84:].to_numpy()).mean()
    naive = np.abs(frame.y[83] - frame.y[84:]).mean()
    assert error < 0.25 * naive


def test_polars_in_polars_out(panel) -> None:
    forecaster = sw.Forecaster([sw.GRU(3)], epochs=2).fit(pl.from_pandas(panel))
    out = forecaster.predict(2)
    assert isinstance(out, pl.DataFrame)
    assert isinstance(forecaster.cross_validation(2), pl.DataFrame)


def test_columns_may_have_other_names(panel) -> None:
    renamed = panel.rename(columns={"unique_id": "shop", "ds": "day", "y": "sold"})
    forecaster = sw.Forecaster([sw.GRU(3)], epochs=2)
    forecaster.fit(renamed, id_col="shop", time_col="day", target_col="sold")
    assert list(forecaster.predict(1).columns) == ["shop", "day", "statewise"]


def test_transforms_of_every_kind_lead_the_network(panel) -> None:
    for transforms in (
        [],
        [sw.RunningScale()],
        [sw.Difference(7), sw.Standardize()],
        [sw.Difference(), sw.RunningScale(memory=20), sw.Lags((1, 6))],
    ):
        forecaster = sw.Forecaster([sw.GRU(3)], transforms=transforms, epochs=2).fit(panel)
        assert np.isfinite(forecaster.predict(3).statewise).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.head(4), "4 steps to learn from; at least"),
        (lambda f: f.assign(y=5.0), "constant: every value is 5"),
    ],
)
def test_series_that_cannot_be_learned_from(shampoo, change, message) -> None:
    short = change(shampoo) if "constant" in message else change(shampoo).head(3)
    with pytest.raises(sw.DataError, match=message.replace("4 steps", "3 steps")):
        sw.Forecaster([sw.LSTM(2)], epochs=1).fit(short)


def test_options_out_of_range(fitted) -> None:
    for call, message in (
        (lambda: fitted.predict(0), "h must be a whole number of at least 1, got 0"),
        (lambda: fitted.predict(1.5), "got 1.5"),
        (lambda: fitted.predict(1, level=[100]), "between 0 and 100, got 100"),
        (lambda: fitted.cross_validation(1, 0), "n_windows must be"),
        (lambda: fitted.cross_validation(60, 1), "leave"),
        (lambda: sw.Forecaster(season=1), "season must be a whole number of at least 2, got 1"),
        (lambda: sw.Forecaster(calibration=-1), "calibration"),
    ):
        with pytest.raises(sw.DataError, match=message):
            call()
    with pytest.raises(sw.StateError, match="call fit"):
        sw.Forecaster().predict(1)
    with pytest.raises(sw.ArchitectureError, match="only knows the past"):
        sw.Forecaster([sw.Bidirectional(sw.LSTM(2))])
    with pytest.raises(sw.ArchitectureError, match="must be a Transform"):
        sw.Forecaster(transforms=[sw.LSTM(2)])
