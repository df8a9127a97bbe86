import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import statewise as sw
from statewise.forecast.frames import Columns, build, read
from statewise.forecast.sources import guess, load

DAYS = pd.DataFrame(
    {"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=6), "y": [1.0, 2, 4, 8, 16, 32]}
)


@pytest.mark.parametrize("convert", [lambda f: f, pl.from_pandas, pa.Table.from_pandas])
def test_frames_of_every_library_give_the_same_series_and_come_back(convert) -> None:
    shuffled = DAYS.sample(frac=1, random_state=0)
    panel = read(convert(shuffled), Columns())
    (one,) = panel.series
    assert one.id == "a"
    np.testing.assert_array_equal(one.values, DAYS.y)
    np.testing.assert_array_equal(one.times, DAYS.ds.to_numpy().astype("datetime64[us]"))
    back = build(panel.backend, {"ds": one.times, "y": one.values})
    assert type(back) is type(convert(DAYS))


def test_times_as_text_dates_and_numbers_agree() -> None:
    texts = DAYS.assign(ds=DAYS.ds.dt.strftime("%Y-%m-%d"))
    dates = DAYS.assign(ds=DAYS.ds.dt.date)
    expected = read(DAYS, Columns()).series[0].times
    np.testing.assert_array_equal(read(texts, Columns()).series[0].times, expected)
    np.testing.assert_array_equal(read(pl.from_pandas(dates), Columns()).series[0].times, expected)
    numbers = read(DAYS.assign(ds=range(6)), Columns())
    assert str(numbers.calendar) == "step"


def test_a_short_year_is_a_year() -> None:
    frame = DAYS.assign(ds=["1-01", "1-02", "1-03", "1-04", "1-05", "1-06"])
    panel = read(frame, Columns())
    assert str(panel.calendar) == "month"
    assert panel.series[0].times[0] == np.datetime64("0001-01-01")


BAD = {
    "misnamed": (DAYS.rename(columns={"y": "Y"}), "no column 'y' among unique_id, ds, Y"),
    "nearly": (DAYS.rename(columns={"ds": "dss"}), "did you mean time_col='dss'"),
    "no id": (DAYS.drop(columns="unique_id"), "id_col=None"),
    "empty": (DAYS.iloc[:0], "no rows"),
    "not a frame": ({"y": 1}, "expected a pandas, polars or pyarrow data frame, got dict"),
    "unparsable": (DAYS.assign(ds=["2024-01-01", "x", *"abcd"]), "row 1 of column 'ds' is 'x'"),
    "no such month": (DAYS.assign(ds=[f"2024-13-0{i}" for i in range(1, 7)]), "2024-13-01"),
    "text values": (DAYS.assign(y="a"), "values in 'y' are String, expected numbers"),
    "duplicate": (DAYS.iloc[[0, 1, 1, 2]], "2024-01-02 more than once"),
    "gap": (DAYS.iloc[[0, 1, 2, 5]], "2 missing times .one every day., the first after 2024-01-03"),
    "nan": (
        DAYS.assign(y=[1, np.nan, 3, 4, 5, 6]),
        "1 value that is .* first nan at 2024-01-02",
    ),
    "infinite": (DAYS.assign(y=[1, 2, -np.inf, 4, 5, 6]), "the first -inf at 2024-01-03"),
    "no time": (DAYS.assign(ds=[pd.NaT, *DAYS.ds[1:]]), "1 row has no time in column 'ds'"),
    "no name": (DAYS.assign(unique_id=[None, *"aaaaa"]), "1 row has no id"),
    "zone": (DAYS.assign(ds=DAYS.ds.dt.tz_localize("UTC")), "time zone UTC"),
    "irregular": (DAYS.assign(ds=[0, 2, 4, 7, 8, 10]), "7 follows 4"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_frames_say_what_came_and_what_to_do(name: str) -> None:
    frame, message = BAD[name]
    with pytest.raises(sw.DataError, match=message):
        read(frame, Columns())


def test_skipping_leaves_out_what_is_missing() -> None:
    frame = DAYS.assign(y=[1, np.nan, 3, 4, 5, 6]).drop(index=3)
    with pytest.warns(sw.DataWarning, match="skipped 1 value that is NaN"):
        (one,) = read(frame, Columns(), "skip").series
    np.testing.assert_array_equal(one.values, [1, 3, 5, 6])


def test_interpolating_draws_straight_lines() -> None:
    frame = DAYS.assign(y=[np.nan, 2, np.nan, 4, 5, 8]).drop(index=4)
    with pytest.warns(sw.DataWarning, match="interpolated 2 steps"):
        (one,) = read(frame, Columns(), "interpolate").series
    np.testing.assert_allclose(one.values, [2, 3, 4, 6, 8])
    np.testing.assert_array_equal(one.times, DAYS.ds.to_numpy()[1:].astype("datetime64[us]"))


def test_the_choice_for_what_is_missing_is_checked() -> None:
    with pytest.raises(sw.DataError, match="error, skip, interpolate, got 'drop'"):
        read(DAYS, Columns(), "drop")  # type: ignore[arg-type]


def test_sources_name_what_they_cannot_read(tmp_path) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "head.csv").write_text("ds,y\n")
    (tmp_path / "note.txt").write_text("ds,y\n1,2\n")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    for name in ("empty.csv", "head.csv", "note.txt", "torn.parquet", "nowhere.csv"):
        with pytest.raises(sw.DataError, match=name.partition(".")[0]):
            load(tmp_path / name)


def test_columns_are_guessed_where_there_is_one_way() -> None:
    assert guess(load("shampoo")) == Columns(None, "Month", "Sales")
    assert guess(DAYS) == Columns("unique_id", "ds", "y")
    assert guess(DAYS, value="y", time="ds") == Columns("unique_id", "ds", "y")
    two = pd.DataFrame({"when": [1, 2], "sales": [1.0, 2.0], "cost": [1.0, 2.0]})
    with pytest.raises(sw.DataError, match="--value"):
        guess(two)
    with pytest.raises(sw.DataError, match="no column 'price'"):
        guess(two, value="price")
