"""Cross-validation beside the same walk by hand: fit before the first cutoff, update, predict."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import statewise as sw

LEVELS = ["statewise", "statewise-lo-80", "statewise-hi-80"]


def fresh() -> sw.Forecaster:
    return sw.Forecaster([sw.GRU(3)], epochs=3, seed=4)


def walk(frame: pd.DataFrame, h: int, windows: int, step: int) -> pd.DataFrame:
    """What `cross_validation` promises, by `fit`, `update` and `predict` alone."""
    by_id = [rows for _, rows in frame.groupby("unique_id")]
    held_out = h + (windows - 1) * step
    forecaster = fresh().fit(pd.concat([rows.iloc[:-held_out] for rows in by_id]))
    pieces = []
    for window in range(windows):
        cuts = [len(rows) - held_out + window * step for rows in by_id]
        if window:
            seen = [rows.iloc[cut - step : cut] for rows, cut in zip(by_id, cuts, strict=True)]
            forecaster.update(pd.concat(seen))
        for rows, cut in zip(by_id, cuts, strict=True):
            name = rows.unique_id.iloc[0]
            piece = forecaster.predict(h, level=[80], ids=[name])
            pieces.append(
                piece.assign(cutoff=rows.ds.iloc[cut - 1], y=rows.y.iloc[cut : cut + h].to_numpy())
            )
    return pd.concat(pieces, ignore_index=True)


@pytest.mark.parametrize(("h", "windows", "step"), [(3, 3, 2), (2, 3, None), (1, 4, 1), (2, 1, 5)])
def test_it_is_the_walk_by_hand(
    panel: pd.DataFrame, h: int, windows: int, step: int | None
) -> None:
    found = fresh().fit(panel).cross_validation(h, windows, step, level=[80])
    expected = walk(panel, h, windows, h if step is None else step)
    assert list(found) == ["unique_id", "ds", "cutoff", "y", *LEVELS]
    for column in ("unique_id", "ds", "cutoff"):
        assert list(found[column]) == list(expected[column]), column
    np.testing.assert_array_equal(found["y"], expected["y"])
    np.testing.assert_allclose(found["statewise"], expected["statewise"], rtol=1e-9)


def test_intervals_are_those_of_the_walk_by_hand(panel: pd.DataFrame) -> None:
    """Their width comes from past errors, of the steps walked over too. One series: the paths of
    several are drawn together.
    """
    alone = panel[panel.unique_id == "b"]
    found = fresh().fit(alone).cross_validation(2, 4, 3, level=[80])
    expected = walk(alone, 2, 4, 3)
    for column in LEVELS:
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-9)


def test_the_last_window_ends_with_the_series(panel: pd.DataFrame) -> None:
    found = fresh().fit(panel).cross_validation(2, 3)
    for name, rows in panel.groupby("unique_id"):
        times = rows.ds.iloc[-6:]
        assert list(found[found.unique_id == name].ds) == list(times)
        assert set(found[found.unique_id == name].cutoff) == set(rows.ds.iloc[[-7, -5, -3]])


def test_a_single_series_has_no_column_of_ids(panel: pd.DataFrame) -> None:
    alone = panel[panel.unique_id == "a"].drop(columns="unique_id")
    found = fresh().fit(alone, id_col=None).cross_validation(2, 2)
    assert list(found) == ["ds", "cutoff", "y", "statewise"]


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "3"])
@pytest.mark.parametrize("name", ["h", "n_windows", "step_size"])
def test_options_that_are_no_counts_are_named(
    fitted: sw.Forecaster, name: str, wrong: object
) -> None:
    with pytest.raises(sw.DataError, match=rf"{name} must be a whole number of at least 1"):
        fitted.cross_validation(**{"h": 1, "n_windows": 1, "step_size": 1, name: wrong})


def test_numpy_counts_are_counts(fitted: sw.Forecaster) -> None:
    found = fitted.cross_validation(np.int64(2), np.int64(2), np.int64(1))
    assert len(found) == 3 * 2 * 2


def test_the_shortest_history_that_can_be_learned_from_is_enough(panel: pd.DataFrame) -> None:
    rows = panel[panel.unique_id == "a"].head(20)
    shortest = fresh().settings.shortest
    forecaster = fresh().fit(rows)
    forecaster.cross_validation(2, n_windows=20 - shortest - 1, step_size=1)
    with pytest.raises(
        sw.DataError, match=rf"20 steps; {20 - shortest} windows of 2 steps, 1 apart, leave"
    ):
        forecaster.cross_validation(2, n_windows=20 - shortest, step_size=1)
