"""Long data frames to series and back; pandas, polars and pyarrow work alike."""

from __future__ import annotations

import re
import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import narwhals as nw
import numpy as np

from statewise.errors import DataError, DataWarning
from statewise.forecast.calendar import Calendar, format_time
from statewise.wording import format_count, suggest

Missing = Literal["error", "skip", "interpolate"]
"""What to do about values that are missing."""


ALONE = "series"
"""The id of a series whose frame has no column of ids."""


@dataclass(frozen=True)
class Columns:
    """The names of the columns of a long frame.

    Arguments:
        id: which series a row belongs to; None for a frame of one series.
        time: when.
        target: the value.
    """

    id: str | None = "unique_id"
    time: str = "ds"
    target: str = "y"


@dataclass(frozen=True)
class Series:
    """One series: its id, sorted times (T,) int64 or datetime64[us], values (T,) float64."""

    id: Hashable
    times: np.ndarray
    values: np.ndarray

    def __str__(self) -> str:
        return "the series" if self.id == ALONE else f"series {self.id!r}"

    def slice(self, start: int | None, stop: int | None) -> Series:
        """The steps from `start` to `stop`."""
        return replace(self, times=self.times[start:stop], values=self.values[start:stop])


@dataclass(frozen=True)
class Panel:
    """Series on one calendar, and the library their frame came from."""

    series: tuple[Series, ...]
    calendar: Calendar
    backend: Any


def read(
    frame: Any,
    columns: Columns,
    missing: Missing = "error",
    calendar: Calendar | None = None,
    before: Mapping[Hashable, np.generic] | None = None,
) -> Panel:
    """The series of a long frame, sorted by time, checked.

    Arguments:
        frame: a pandas, polars or pyarrow frame of one row for each series and time.
        columns: what the columns are called.
        missing: what to do about values that are NaN or infinite and times that are left out:
            ``"error"``; ``"skip"``, go on as if the steps were not there; ``"interpolate"``,
            straight lines between the values around them.
        calendar: how far apart times are, if known; inferred otherwise.
        before: the last time already read of each series, where a forecaster goes on.

    Raises:
        DataError: columns that are missing, times or values that cannot be read, duplicates, and
            with ``missing="error"`` gaps, NaN and infinite values.
    """
    if missing not in get_args(Missing):
        raise DataError(f"missing must be one of {', '.join(get_args(Missing))}, got {missing!r}")
    try:
        data = nw.from_native(frame, eager_only=True)
    except TypeError as error:
        raise DataError(
            f"expected a pandas, polars or pyarrow data frame, got {type(frame).__name__}"
        ) from error
    _check_columns(data, columns, choosable=before is None)
    if len(data) == 0:
        raise DataError("the data frame has no rows")
    times = _read_times(data[columns.time], columns.time)
    values = _read_values(data[columns.target], columns.target)
    ids = _read_ids(data, columns.id)
    order = np.lexsort((times, ids))
    ids, times, values = ids[order], times[order], values[order]
    starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
    found = [
        Series(part[0].item(), times[start : start + len(part)], values[start : start + len(part)])
        for start, part in zip(starts, np.split(ids, starts[1:]), strict=True)
    ]
    for series in found:
        _check_times(series, (before or {}).get(series.id))
    if calendar is None:
        calendar = Calendar.infer(max(found, key=lambda series: len(series.times)).times)
    complete = [
        _fill_gaps(_drop_missing(series, missing), calendar, missing, (before or {}).get(series.id))
        for series in found
    ]
    return Panel(tuple(complete), calendar, data.implementation)


def build(backend: Any, columns: Mapping[str, Any]) -> Any:
    """A frame of the same library from columns of equal length."""
    return nw.to_native(nw.from_dict(dict(columns), backend=backend))


def _check_columns(data: nw.DataFrame[Any], columns: Columns, choosable: bool) -> None:
    """Raise unless the columns are there; `choosable` if the caller names them."""
    names = {"id_col": columns.id, "time_col": columns.time, "target_col": columns.target}
    for argument, name in names.items():
        if name is None or name in data.columns:
            continue
        if not choosable:
            hint = f"{suggest(name, data.columns) or ';'} name the columns as the history does"
        else:
            near = suggest(name, data.columns, f"{argument}=")
            hint = near or f"; name it with {argument}="
            if argument == "id_col":
                hint += " A frame of one series without such a column takes id_col=None"
        raise DataError(f"there is no column {name!r} among {', '.join(data.columns)}{hint}")


def _read_ids(data: nw.DataFrame[Any], name: str | None) -> np.ndarray:
    if name is None:
        return np.full(len(data), ALONE)
    if data[name].null_count():
        missing = format_count(data[name].null_count(), "row has", "rows have")
        raise DataError(f"{missing} no id in column {name!r}; give every row its series' id")
    return np.asarray(data[name].to_list())


def _read_times(column: nw.Series[Any], name: str) -> np.ndarray:
    if column.null_count():
        missing = format_count(column.null_count(), "row has", "rows have")
        raise DataError(f"{missing} no time in column {name!r}; give every row its time")
    dtype = column.dtype
    if dtype.is_integer():
        return column.to_numpy().astype(np.int64)
    if isinstance(dtype, nw.Datetime) and dtype.time_zone is not None:
        raise DataError(
            f"the times in {name!r} have the time zone {dtype.time_zone}; convert them to UTC and "
            "drop the zone, so that steps are equally long"
        )
    if isinstance(dtype, (nw.Datetime, nw.Date)):
        return np.asarray(column.cast(nw.Datetime("us")).to_numpy()).astype("datetime64[us]")
    texts = column.to_list()
    if not all(isinstance(text, str) for text in texts):
        raise DataError(f"the times in {name!r} are {dtype}; expected dates, whole numbers or text")
    return np.asarray([_parse_time(text, row, name) for row, text in enumerate(texts)])


def _parse_time(text: str, row: int, name: str) -> np.datetime64:
    """A time written as ISO 8601, from the year to microseconds; the year may be short (1-01)."""
    match = re.fullmatch(r"(\d{1,4})(-\d{1,2})?(-\d{1,2})?([T ].+)?", text.strip())
    if match:
        year, month, day, rest = match.groups(default="")
        date = f"{int(year):04d}" + "".join(
            f"-{int(part[1:]):02d}" for part in (month, day) if part
        )
        try:
            return np.datetime64(date + rest.replace(" ", "T").removesuffix("Z"), "us")
        except ValueError:
            pass
    raise DataError(
        f"row {row} of column {name!r} is {text!r}, which is not a time; write ISO 8601 "
        "(2024-05, 2024-05-31, 2024-05-31T12:00), or parse the column into dates first"
    )


def _read_values(column: nw.Series[Any], name: str) -> np.ndarray:
    if not column.dtype.is_numeric():
        raise DataError(
            f"the values in {name!r} are {column.dtype}, expected numbers; convert the column first"
        )
    return column.cast(nw.Float64).to_numpy().astype(np.float64)


def _check_times(series: Series, before: np.generic | None) -> None:
    again = np.flatnonzero(series.times[1:] == series.times[:-1])
    if len(again):
        raise DataError(
            f"{series} has time {format_time(series.times[again[0]])} more than once"
            + (f", and {format_count(len(again) - 1, 'more')} such" if len(again) > 1 else "")
            + "; keep one row for each time"
        )
    if before is not None and np.asarray(before).dtype.kind != series.times.dtype.kind:
        raise DataError(
            f"{series} has times like {format_time(series.times[0])}, and those "
            f"already read are like {format_time(before)}"
        )
    if before is not None and series.times[0] <= before:
        raise DataError(
            f"{series} has already been read up to {format_time(before)}, and the new "
            f"rows begin at {format_time(series.times[0])}; give only rows after that"
        )


def _drop_missing(series: Series, missing: Missing) -> Series:
    """The series without NaN and infinite values, or an error."""
    finite = np.isfinite(series.values)
    if finite.all():
        return series
    found = format_count(int((~finite).sum()), "value that is", "values that are")
    if missing == "error":
        first = int(np.argmin(finite))
        raise DataError(
            f"{series} has {found} NaN or infinite, the first {series.values[first]} "
            f"at {format_time(series.times[first])}; fix them, or pass missing='skip' or "
            "missing='interpolate'"
        )
    if not finite.any():
        raise DataError(f"{series} has no finite value")
    if missing == "skip":
        _warn(series, f"skipped {found} NaN or infinite")
    return Series(series.id, series.times[finite], series.values[finite])


def _fill_gaps(
    series: Series, calendar: Calendar, missing: Missing, before: np.generic | None
) -> Series:
    """The series with every time of its calendar, or an error; unchanged if gaps may be skipped."""
    known = [] if before is None else [before]
    times = np.r_[np.asarray(known, series.times.dtype), series.times]
    if missing == "skip" or len(times) < 2:
        return series
    gaps = calendar.count_missing(times)
    if not gaps.any():
        return series
    first = int(np.argmax(gaps > 0))
    unbridged = before is not None and gaps[0] > 0
    if missing == "error" or unbridged:
        raise DataError(
            f"{series} has {format_count(int(gaps.sum()), 'missing time')} (one every "
            f"{calendar}), the first after {format_time(times[first])}; add the rows, or pass "
            "missing='skip'" + ("" if unbridged else " or missing='interpolate'")
        )
    _warn(series, f"interpolated {format_count(int(gaps.sum()), 'step')}")
    at = np.r_[0, np.cumsum(gaps[len(known) :] + 1)]
    filled = np.r_[series.times[0], calendar.next_times(series.times[0], int(at[-1]))]
    return Series(series.id, filled, np.interp(np.arange(len(filled)), at, series.values))


def _warn(series: Series, what: str) -> None:
    warnings.warn(f"{series}: {what}", DataWarning, stacklevel=6)
