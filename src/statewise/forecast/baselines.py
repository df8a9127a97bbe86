"""Forecasts without a network, to hold every model against."""

from __future__ import annotations

import numpy as np


def persistence(values: np.ndarray, test: int) -> np.ndarray:
    """The last value again, one step ahead, for the last `test` steps of (T,) values."""
    return values[-test - 1 : -1]


def seasonal_naive(values: np.ndarray, test: int, season: int) -> np.ndarray:
    """The value one season before, for the last `test` steps; NaN where there is none."""
    padded = np.r_[np.full(season, np.nan), values]
    return np.asarray(padded[len(values) - test : len(values)])


def autoregressive(values: np.ndarray, test: int) -> np.ndarray:
    """AR(1) with intercept on the differences, one step ahead, for the last `test` steps.

    ``d_t = a + b d_(t-1)``, by least squares on the steps before the test, once.
    """
    changes = np.diff(values)
    train = changes[: len(values) - test - 1]
    design = np.stack([np.ones(len(train) - 1), train[:-1]], axis=1)
    (a, b), *_ = np.linalg.lstsq(design, train[1:], rcond=None)
    return np.asarray(values[-test - 1 : -1] + a + b * changes[-test - 1 : -1])
