"""`series_labels`: what can be said of every value of a series"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from statewise.errors import DataError, InputError
from statewise.inspect.subject import chosen

UNUSUAL = 4.0
"""A change so many usual deviations from the usual change is an event."""


def series_labels(
    series: Any, season: int | None = None, names: str | Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """The ready-made labels of a series, each (T,) float64.

    A label says what is known once the value has been read, but for two things that are taken from
    the whole series: the length of the season, and how large a usual change is.

    Arguments:
        series: (T,), or (T, F), whose labels are then named ``"level of feature 0"`` and so on.
        season: steps in a season; found by autocorrelation where not given. Without any the series
            has no season's labels.
        names: which labels; all of `SERIES` where not given.

    Raises:
        DataError: NaN or infinity in the series, or no numbers.
        InputError: no series, a season too short, or a label that there is none of.

    Example::

        series_labels(sunspots)["trend"]        # the slope of the last values at every step
    """
    values = np.asarray(series)
    if values.dtype.kind not in "biuf":
        raise DataError(f"a series holds numbers, got {values.dtype}")
    values = values.astype(np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2:
        raise InputError(f"a series is (T,) or (T, features), got {np.shape(series)}")
    finite(values)
    if season is not None and (not isinstance(season, int) or season < 2):
        raise InputError(f"a season is a whole number of steps, 2 at least, got {season!r}")
    found = {}
    for feature, column in enumerate(values.T):
        scan = _Scan(column, season_of(column) if season is None else season)
        suffix = f" of feature {feature}" if values.shape[1] > 1 else ""
        for name in chosen(names, SERIES, "label"):
            label = SERIES[name](scan)
            if label is not None:
                found[name + suffix] = np.asarray(label, np.float64)
    return found


def finite(values: np.ndarray) -> None:
    """Raise unless every value of a series (T, ...) is a number."""
    bad = np.flatnonzero(~np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
    if bad.size:
        raise DataError(
            f"the series is NaN or infinite at {bad.size} of {len(values)} steps, first at step "
            f"{bad[0]}; fill the gaps or look at a stretch without any"
        )


def season_of(series: np.ndarray) -> int | None:
    """The lag of the highest peak of the autocorrelation of a series (T,), its line taken away;
    None where no peak stands out.
    """
    steps = len(series)
    if steps < 8 or np.ptp(series) == 0:
        return None
    t = np.arange(steps) - (steps - 1) / 2
    level = series - series.mean()
    level = level - t * (t @ level) / (t @ t)
    power = np.abs(np.fft.rfft(level, 2 * steps)) ** 2
    correlation = np.fft.irfft(power)[: steps // 2 + 1]
    if correlation[0] <= 1e-12 * steps * np.ptp(series) ** 2:
        return None
    correlation = correlation / correlation[0]
    inner = correlation[1:-1]
    peaks = 1 + np.flatnonzero((inner > correlation[:-2]) & (inner >= correlation[2:]))
    valleys = np.minimum.accumulate(correlation)
    clear = [k for k in peaks if correlation[k] > 0.2 and correlation[k] - valleys[k] > 0.2]
    return int(max(clear, key=lambda k: correlation[k])) if clear else None


@dataclass(frozen=True)
class _Scan:
    """A series (T,) and its season, with sums over the last steps."""

    series: np.ndarray
    season: int | None

    @cached_property
    def counts(self) -> np.ndarray:
        """How many values the window before and at a step holds: a season's, or a dozen."""
        steps = len(self.series)
        window = self.season or 12
        return np.minimum(np.arange(1, steps + 1), max(2, min(window, steps // 4)))

    def window(self, values: np.ndarray) -> np.ndarray:
        """The mean over the window that ends at each step."""
        sums = np.append(0.0, np.cumsum(values))
        ends = np.arange(1, len(values) + 1)
        return np.asarray((sums[ends] - sums[ends - self.counts]) / self.counts)

    @cached_property
    def change(self) -> np.ndarray:
        return np.diff(self.series, prepend=self.series[:1])

    def trend(self) -> np.ndarray:
        """The slope of the line of least squares through the window."""
        t = np.arange(len(self.series)) - len(self.series) / 2
        level = self.series - self.series.mean() if len(t) else self.series
        crossed = self.window(t * level) - self.window(t) * self.window(level)
        spread = (self.counts**2 - 1) / 12  # the variance of that many whole numbers in a row
        return np.asarray(crossed / np.maximum(spread, 0.25))

    def event(self) -> np.ndarray:
        change = self.change[1:]
        if not change.size:
            return np.zeros(len(self.series))
        off = np.abs(change - np.median(change))
        usual = 1.4826 * np.median(off)
        return np.append(0.0, off > max(UNUSUAL * usual, 1e-9 * np.ptp(self.series)))

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
"""The labels of `series_labels` by name. Running level, trend and spread are those of the last
season, or of the last dozen steps; an event is an unusually large change.
"""
