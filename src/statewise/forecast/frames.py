"""Long data frames in, series out; and back. pandas, polars and pyarrow work alike."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import narwhals as nw
import numpy as np

from statewise.errors import DataError, DataWarning
from statewise.forecast.calendar import Calendar, show

Missing = Literal["error", "skip", "interpolate"]
POLICIES = ("error", "skip", "interpolate")


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

    def part(self, start: int | None, stop: int | None) -> Series:
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
            straight lines between their neighbours.
        calendar: how far apart times are, if known; inferred otherwise.
        before: the last time already known of some series, which new rows must follow.

    Raises:
        DataError: columns that are missing, times or values that cannot be read, duplicates, and
            with ``missing="error"`` gaps, NaN and infinite values.
    """
    if missing not in POLICIES:
        raise DataError(f"missing must be one of {', '.join(POLICIES)}, got {missing!r}")
    try:
        data = nw.from_native(frame, eager_only=True)
    except TypeError as error:
        raise DataError(
            f"expected a pandas, polars or pyarrow data frame, got {type(frame).__name__}"
        ) from error
    _check_columns(data, columns)
    if len(data) == 0:
        raise DataError("the data frame has no rows")
    times = _times(data[columns.time], columns.time)
    values = _values(data[columns.target], columns.target)
    ids = _ids(data, columns.id)
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
    mended = [
        _regular(_finite(series, missing), calendar, missing, (before or {}).get(series.id))
        for series in found
    ]
    return Panel(tuple(mended), calendar, data.implementation)


def build(backend: Any, columns: Mapping[str, Any]) -> Any:
    """A frame of the same library from columns of equal length."""
    return nw.to_native(nw.from_dict(dict(columns), backend=backend))


def _check_columns(data: nw.DataFrame[Any], columns: Columns) -> None:
    names = {"id_col": columns.id, "time_col": columns.time, "target_col": columns.target}
    for role, name in names.items():
        if name is None or name in data.columns:
            continue
        close = difflib.get_close_matches(name, data.columns, n=1, cutoff=0.5)
        hint = f"; did you mean {role}={close[0]!r}?" if close else f"; name it with {role}="
        if role == "id_col":
            hint += " A frame of one series without such a column takes id_col=None"
        raise DataError(f"there is no column {name!r} among {', '.join(data.columns)}{hint}")


def _ids(data: nw.DataFrame[Any], name: str | None) -> np.ndarray:
    if name is None:
        return np.full(len(data), "series")
    if data[name].null_count():
        raise DataError(f"{data[name].null_count()} rows have no id in column {name!r}")
    return np.asarray(data[name].to_list())


def _times(column: nw.Series[Any], name: str) -> np.ndarray:
    if column.null_count():
        raise DataError(f"{column.null_count()} times in column {name!r} are missing")
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
    return np.asarray([_parsed(text, row, name) for row, text in enumerate(texts)])


def _parsed(text: str, row: int, name: str) -> np.datetime64:
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


def _values(column: nw.Series[Any], name: str) -> np.ndarray:
    if not column.dtype.is_numeric():
        raise DataError(
            f"the values in {name!r} are {column.dtype}, expected numbers; convert the column first"
        )
    return column.cast(nw.Float64).to_numpy().astype(np.float64)


def _check_times(series: Series, before: np.generic | None) -> None:
    again = np.flatnonzero(series.times[1:] == series.times[:-1])
    if len(again):
        raise DataError(
            f"series {series.id!r} has time {show(series.times[again[0]])} more than once"
            + (f", and {len(again) - 1} more such" if len(again) > 1 else "")
            + "; keep one row for each time"
        )
    if before is not None and np.asarray(before).dtype.kind != series.times.dtype.kind:
        raise DataError(
            f"series {series.id!r} has times like {show(series.times[0])}, and those already read "
            f"are like {show(before)}"
        )
    if before is not None and series.times[0] <= before:
        raise DataError(
            f"series {series.id!r} has already been read up to {show(before)}, and the new rows "
            f"begin at {show(series.times[0])}; give only rows after that"
        )


def _finite(series: Series, missing: Missing) -> Series:
    """The series without NaN and infinite values, or an error."""
    finite = np.isfinite(series.values)
    if finite.all():
        return series
    count = int((~finite).sum())
    if missing == "error":
        first = int(np.argmin(finite))
        raise DataError(
            f"series {series.id!r} has {count} values that are NaN or infinite, the first "
            f"{series.values[first]} at {show(series.times[first])}; mend them, or say "
            "missing='skip' or missing='interpolate'"
        )
    if not finite.any():
        raise DataError(f"series {series.id!r} has no finite value")
    if missing == "skip":
        _say(series, f"{count} values that are NaN or infinite are left out")
    return Series(series.id, series.times[finite], series.values[finite])


def _regular(
    series: Series, calendar: Calendar, missing: Missing, before: np.generic | None
) -> Series:
    """The series with every time of its calendar, or an error; as it is if times may be skipped."""
    known = [] if before is None else [before]
    times = np.r_[np.asarray(known, series.times.dtype), series.times]
    if missing == "skip" or len(times) < 2:
        return series
    gaps = calendar.missing(times)
    if not gaps.any():
        return series
    first = int(np.argmax(gaps > 0))
    unbridged = before is not None and gaps[0] > 0
    if missing == "error" or unbridged:
        raise DataError(
            f"series {series.id!r} has {int(gaps.sum())} times missing (one every {calendar}), the "
            f"first after {show(times[first])}; add the rows, or say missing='skip'"
            + ("" if unbridged else " or missing='interpolate'")
        )
    _say(series, f"{int(gaps.sum())} steps are interpolated")
    at = np.r_[0, np.cumsum(gaps[len(known) :] + 1)]
    filled = np.r_[series.times[0], calendar.after(series.times[0], int(at[-1]))]
    return Series(series.id, filled, np.interp(np.arange(len(filled)), at, series.values))


def _say(series: Series, what: str) -> None:
    warnings.warn(f"series {series.id!r}: {what}", DataWarning, stacklevel=6)
