"""`series_labels`: level, trend, season and events at every step of a series"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from statewise.arrays import to_numpy
from statewise.errors import DataError, InputError
from statewise.inspect.subject import check_names
from statewise.validation import check_whole_number

UNUSUAL = 4.0
"""A change so many usual deviations from the usual change is an event."""
SEASONS = 5
"""What is usual at each place of the season is known from so many seasons."""


def series_labels(
    series: Any, season: int | None = None, names: str | Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """The ready-made labels of a series, each (T,) float64.

    A label says what is known once the value has been read. Two things are taken from the whole
    series: the length of the season, and which changes are usual.

    Arguments:
        series: (T,), or (T, F), whose labels are then named ``"level of feature 0"`` and so on.
        season: steps in a season; found by autocorrelation where not given. A series without one
            has no labels of the season.
        names: which labels; all of `SERIES` where not given.

    Raises:
        DataError: NaN or infinity in the series, or no numbers.
        InputError: not a series, a season that is too short, or an unknown label.

    Example::

        series_labels(sales, season=12)["trend"]      # the slope at every step, without the season
    """
    values = np.asarray(to_numpy(series))
    if values.dtype.kind not in "biuf":
        raise DataError(
            f"a series is an array of numbers, got {type(series).__name__} of {values.dtype}; of a "
            "data frame give one column: df['y'].to_numpy()"
        )
    resolution = np.finfo(values.dtype if values.dtype.kind == "f" else np.float64).eps
    values = values.astype(np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2:
        raise InputError(f"a series is (T,) or (T, features), got {np.shape(series)}")
    check_finite(values)
    if season is not None:
        season = check_whole_number("season", season, at_least=2)
    found = {}
    for feature, column in enumerate(values.T):
        length = find_season(column) if season is None else season
        rounding = 4 * resolution * np.abs(column).max(initial=0.0)
        scan = _Scan(column, length, max(rounding, 1e-9 * np.ptp(column)) if column.size else 0.0)
        suffix = f" of feature {feature}" if values.shape[1] > 1 else ""
        for name in check_names(names, SERIES, "label"):
            label = SERIES[name](scan)
            if label is not None:
                found[name + suffix] = np.asarray(label, np.float64)
    return found


def check_finite(values: np.ndarray) -> None:
    """Raise unless every value of a series (T, ...) is finite."""
    bad = np.flatnonzero(~np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
    if bad.size:
        raise DataError(
            f"the series is NaN or infinite at {bad.size} of {len(values)} steps, first at step "
            f"{bad[0]}; fill the gaps, or give a part without any"
        )


def find_season(series: np.ndarray) -> int | None:
    """The season of a series (T,): the lag of the highest peak of its autocorrelation, once a line
    is taken away; None where no peak stands out. If none does, a line that may bend at each quarter
    is taken away instead, and only clear peaks at short lags count, as its bends make waves too.
    """
    steps = len(series)
    if steps < 8 or np.ptp(series) == 0:
        return None
    t = np.linspace(0, 1, steps)
    for bends, longest, least in ((), steps // 2, 0.2), ((0.25, 0.5, 0.75), steps // 8 + 1, 0.4):
        lines = np.stack([t**0, t, *(np.maximum(t - bend, 0) for bend in bends)], axis=1)
        rest = series - lines @ np.linalg.lstsq(lines, series)[0]
        if np.ptp(rest) > 1e-6 * np.ptp(series):
            found = _highest_peak(rest, longest, least)
            if found is not None:
                return found
    return None


def _highest_peak(series: np.ndarray, longest: int, least: float) -> int | None:
    """The lag, below the longest, at which the autocorrelation peaks highest; None where no peak is
    so high, and so far above a valley before it.
    """
    power = np.abs(np.fft.rfft(series, 2 * len(series))) ** 2
    correlation = np.fft.irfft(power)[: longest + 1]
    correlation = correlation / correlation[0]
    inner = correlation[1:-1]
    peaks = 1 + np.flatnonzero((inner > correlation[:-2]) & (inner >= correlation[2:]))
    valleys = np.minimum.accumulate(correlation)
    clear = [k for k in peaks if min(correlation[k], correlation[k] - valleys[k]) > least]
    return int(max(clear, key=lambda k: correlation[k])) if clear else None


@dataclass(frozen=True)
class _Scan:
    """A series (T,), its season in steps, and what rounding can make of its values."""

    series: np.ndarray
    season: int | None
    rounding: float

    @cached_property
    def counts(self) -> np.ndarray:
        """How many values the window before and at a step holds: those of a whole season, over
        which a season's wave has no mean, or a dozen.
        """
        steps = len(self.series)
        window = self.season or max(2, min(12, steps // 4))
        return np.minimum(np.arange(1, steps + 1), window)

    def window(self, values: np.ndarray) -> np.ndarray:
        """The mean over the window that ends at each step."""
        sums = np.append(0.0, np.cumsum(values))
        ends = np.arange(1, len(values) + 1)
        counts = self.counts[: len(values)]
        return np.asarray((sums[ends] - sums[ends - counts]) / counts)

    @cached_property
    def change(self) -> np.ndarray:
        return np.diff(self.series, prepend=self.series[:1])

    def trend(self) -> np.ndarray:
        """The slope: of the line of least squares through the window, or, where there is a season,
        between values a season apart, as the season makes none between those.
        """
        if self.season is not None:
            slopes = (self.series[self.season :] - self.series[: -self.season]) / self.season
            ahead = len(self.series) - len(slopes)  # the first season shows no trend yet
            return np.append(np.zeros(ahead), self.window(slopes))
        t = np.arange(len(self.series)) - len(self.series) / 2
        level = self.series - self.series.mean() if len(t) else self.series
        crossed = self.window(t * level) - self.window(t) * self.window(level)
        spread = (self.counts**2 - 1) / 12  # the variance of that many whole numbers in a row
        return np.asarray(crossed / np.maximum(spread, 0.25))

    def event(self) -> np.ndarray:
        """Where the change is far from what is usual, or usual at this place of the season."""
        change = self.change[1:]
        if not change.size:
            return np.zeros(len(self.series))
        usual = np.full(len(change), np.median(change))
        if self.season is not None and len(change) >= SEASONS * self.season:
            for place in range(self.season):
                usual[place :: self.season] = np.median(change[place :: self.season])
        off = np.abs(change - usual)
        spread = 1.4826 * np.median(off)
        return np.append(0.0, off > max(UNUSUAL * spread, self.rounding))

    def spread(self) -> np.ndarray:
        level = self.series - self.series.mean() if len(self.series) else self.series
        return np.asarray(np.sqrt(np.maximum(self.window(level**2) - self.window(level) ** 2, 0)))

    def phase(self, wave: Callable[[np.ndarray], np.ndarray]) -> np.ndarray | None:
        if self.season is None:
            return None
        return wave(2 * np.pi * np.arange(len(self.series)) / self.season)


SERIES: dict[str, Callable[[_Scan], np.ndarray | None]] = {
    "level": lambda scan: scan.series,
    "running level": lambda scan: scan.window(scan.series),
    "change": lambda scan: scan.change,
    "trend": _Scan.trend,
    "spread": _Scan.spread,
    "season sine": lambda scan: scan.phase(np.sin),
    "season cosine": lambda scan: scan.phase(np.cos),
    "event": _Scan.event,
}
"""The labels of `series_labels` by name. Level is the value itself, change that since the step
before; both rise and fall with the season. Running level, trend and spread are those of the last
season, and do not; without a season they are those of the last dozen steps. An event is a change
that is unusually large, also for its place of the season.
"""
