"""`Calendar`: how far apart the times of a series are, and which come next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from statewise.errors import DataError
from statewise.wording import format_count

Kind = Literal["integer", "second", "business day", "month", "month end"]
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Calendar:
    """Regular times, `size` units of `kind` apart.

    Example::

        Calendar.infer(np.array(["2024-01", "2024-02"], "datetime64[us]"))  # one month
    """

    kind: Kind
    size: int

    @classmethod
    def infer(cls, times: np.ndarray) -> Calendar:
        """The calendar of sorted, distinct times: the distance that occurs most often.

        Arguments:
            times: (T,) int64 or datetime64.

        Raises:
            DataError: fewer than two times.
        """
        if len(times) < 2:
            raise DataError(
                f"at least two times are needed to see how far apart they are, got {len(times)}"
            )
        kind = _find_kind(times)
        distances, counts = np.unique(np.diff(_to_numbers(times, kind)), return_counts=True)
        return cls(kind, int(distances[np.argmax(counts)]))

    def next_times(self, last: np.generic, count: int) -> np.ndarray:
        """The next `count` times after `last`."""
        steps = self.size * np.arange(1, count + 1)
        return _to_times(_to_numbers(np.asarray([last]), self.kind) + steps, self.kind, last)

    def count_missing(self, times: np.ndarray) -> np.ndarray:
        """How many times are missing before each but the first of sorted times, (T - 1,).

        Raises:
            DataError: times that do not lie on the calendar.
        """
        distances = np.diff(_to_numbers(times, self.kind))
        if (distances % self.size).any():
            where = int(np.argmax(distances % self.size != 0))
            raise DataError(
                f"times are not regular: one every {self}, but {format_time(times[where + 1])} "
                f"follows {format_time(times[where])}; resample the series first"
            )
        return distances // self.size - 1

    def __str__(self) -> str:
        if self.kind == "second":
            for name, seconds in (("week", 604800), ("day", 86400), ("hour", 3600), ("minute", 60)):
                if self.size % (seconds * 10**6) == 0:
                    return _name_distance(self.size // (seconds * 10**6), name)
            return "second" if self.size == 10**6 else f"{self.size / 10**6:g} seconds"
        return _name_distance(self.size, "step" if self.kind == "integer" else self.kind)


def _name_distance(count: int, unit: str) -> str:
    return unit if count == 1 else format_count(count, unit)


def _find_kind(times: np.ndarray) -> Kind:
    """The kind of calendar that the times are on."""
    if times.dtype.kind != "M":
        return "integer"
    distances = np.diff(times)
    if distances.min() >= 28 * _DAY:
        if _is_same_within_month(times):
            return "month"
        if _is_same_within_month(times + _DAY) and (times + _DAY).astype("datetime64[D]")[0] == (
            times + _DAY
        ).astype("datetime64[M]")[0].astype("datetime64[D]"):
            return "month end"
    days = times.astype("datetime64[D]")
    whole = (times == days).all() and np.is_busday(days).all()
    if whole and set((distances // _DAY).tolist()) == {1, 3}:
        return "business day"
    return "second"


def _is_same_within_month(times: np.ndarray) -> bool:
    return len(np.unique(times - times.astype("datetime64[M]"))) == 1


def _to_numbers(times: np.ndarray, kind: Kind) -> np.ndarray:
    """Times as whole numbers of a kind's unit (microseconds for seconds)."""
    if kind == "integer":
        return times.astype(np.int64)
    if kind == "month":
        return times.astype("datetime64[M]").astype(np.int64)
    if kind == "month end":
        return (times + _DAY).astype("datetime64[M]").astype(np.int64)
    if kind == "business day":
        return np.busday_count(np.datetime64("1970-01-01"), times.astype("datetime64[D]"))
    return times.astype("datetime64[us]").astype(np.int64)


def _to_times(numbers: np.ndarray, kind: Kind, last: np.generic) -> np.ndarray:
    """The inverse of `_to_numbers`, in the dtype of `last`."""
    dtype = np.asarray(last).dtype
    if kind == "integer":
        return numbers.astype(dtype)
    if kind == "business day":
        days = np.busday_offset(np.datetime64("1970-01-01"), numbers)
        return np.asarray(days).astype(dtype)
    if kind == "second":
        return numbers.astype("datetime64[us]").astype(dtype)
    moment, months = np.asarray(last), numbers.astype("datetime64[M]").astype(dtype)
    if kind == "month":
        return np.asarray(months + (moment - moment.astype("datetime64[M]").astype(dtype)))
    return np.asarray(months - _DAY + (moment - moment.astype("datetime64[D]").astype(dtype)))


def format_time(time: np.generic) -> str:
    """A time as text, without the parts that are zero."""
    if np.asarray(time).dtype.kind != "M":
        return str(time)
    text = str(np.datetime_as_string(np.asarray(time).astype("datetime64[us]"), unit="auto"))
    return text.removesuffix("T00:00:00").removesuffix(":00")
