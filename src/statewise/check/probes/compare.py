"""Comparing arrays: whether they are the same, and by how much they differ"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

TOLERANCE = 2e-5


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, relative to the larger of 1 and the largest value; inf for NaN."""
    if a.shape != b.shape:
        return float("inf")
    if not a.size:
        return 0.0
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    return float(np.abs(a - b).max() / max(1.0, float(np.abs(b).max())))


def is_same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are equal up to the rounding of float32."""
    return difference(a, b) <= TOLERANCE


def largest_difference(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> float:
    """The largest difference between arrays of the same names."""
    return max((difference(a[name], b[name]) for name in a), default=0.0)


def describe_difference(a: np.ndarray, b: np.ndarray) -> str:
    """The difference between two arrays in words."""
    return describe_size(difference(a, b))


def describe_size(size: float) -> str:
    """The size of a difference in words."""
    return "NaN, inf or another shape" if size == float("inf") else f"off by {size:.2g}"
