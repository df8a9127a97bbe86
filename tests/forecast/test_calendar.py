import numpy as np
import pandas as pd
import pytest

import statewise as sw
from statewise.forecast.calendar import Calendar, format_time

REGULAR = {
    "hour": pd.date_range("2024-02-28", periods=40, freq="h"),
    "15 minutes": pd.date_range("2024-02-28", periods=40, freq="15min"),
    "day": pd.date_range("2024-02-20", periods=40, freq="D"),
    "2 days": pd.date_range("2024-02-20", periods=40, freq="2D"),
    "week": pd.date_range("2024-01-01", periods=10, freq="W"),
    "business day": pd.bdate_range("2024-01-01", periods=30),
    "month": pd.date_range("2024-01-01", periods=20, freq="MS"),
    "month end": pd.date_range("2024-01-31", periods=20, freq="ME"),
    "3 months": pd.date_range("2024-01-01", periods=20, freq="QS"),
    "12 months": pd.date_range("2000-01-01", periods=12, freq="YS"),
    "12 months ": pd.date_range("2000-12-31", periods=12, freq="YE"),
    "step": np.arange(7),
    "3 steps": np.arange(5, 50, 3),
}


@pytest.mark.parametrize("name", REGULAR)
def test_a_regular_series_is_recognised_and_continued(name: str) -> None:
    times = np.asarray(REGULAR[name])
    times = times.astype("datetime64[us]") if times.dtype.kind == "M" else times
    calendar = Calendar.infer(times[:-3])
    assert str(calendar) == name.strip()
    assert not calendar.count_missing(times).any()
    np.testing.assert_array_equal(calendar.next_times(times[-4], 3), times[-3:])


@pytest.mark.parametrize("name", REGULAR)
def test_left_out_times_are_counted(name: str) -> None:
    times = np.asarray(REGULAR[name])
    times = times.astype("datetime64[us]") if times.dtype.kind == "M" else times
    calendar = Calendar.infer(times)
    np.testing.assert_array_equal(calendar.count_missing(times[[0, 1, 4, 5]]), [0, 2, 0])


def test_times_beside_the_calendar_are_named() -> None:
    times = np.array(["2024-01-01", "2024-01-02", "2024-01-03T07:00"], "datetime64[us]")
    with pytest.raises(sw.DataError, match=r"2024-01-03T07.* follows 2024-01-02"):
        Calendar("second", 86400 * 10**6).count_missing(times)


def test_one_time_has_no_distance() -> None:
    with pytest.raises(sw.DataError, match="at least two"):
        Calendar.infer(np.array([1]))


def test_times_are_shown_without_their_zeros() -> None:
    assert format_time(np.datetime64("2024-05-01T00:00:00", "us")) == "2024-05-01"
    assert format_time(np.int64(7)) == "7"
