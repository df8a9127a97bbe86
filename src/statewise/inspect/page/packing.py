"""Arrays as short text for a browser: in half precision where that is enough, gzipped"""

from __future__ import annotations

import base64
import gzip
from typing import Any

import numpy as np

CLOSE = 1e-3
"""The largest error of a value, as a share of the value and of the range of all values."""
_LARGEST = 2**15
"""Values are scaled by a power of two to lie below this, so that small ones keep their digits."""


def pack(values: np.ndarray) -> dict[str, Any]:
    """(rows, columns) as plain JSON: ``rows``, ``type`` (f2, f4 or f8), ``scale``, ``data``.

    The bytes lie in planes, the most significant first, which gzip compresses better.
    """
    words, scale = _round_values(np.asarray(values, np.float64))
    planes = words.view(np.uint8).reshape(words.size, words.itemsize).T[::-1]
    data = gzip.compress(planes.tobytes(), 6, mtime=0)
    return {
        "rows": len(values),
        "type": f"f{words.itemsize}",
        "scale": scale,
        "data": base64.b64encode(data).decode("ascii"),
    }


def unpack(parts: dict[str, Any]) -> np.ndarray:
    """What `pack` made, as the browser sees it, (rows, columns)."""
    size = int(parts["type"][1])
    planes = np.frombuffer(gzip.decompress(base64.b64decode(parts["data"])), np.uint8)
    words = np.ascontiguousarray(planes.reshape(size, -1)[::-1].T).view(f"<f{size}")
    return np.asarray(words.reshape(parts["rows"], -1).astype(np.float64) / parts["scale"])


def _round_values(values: np.ndarray) -> tuple[np.ndarray, float]:
    """The values times a scale in the smallest type that is close enough, and the scale."""
    finite = values[np.isfinite(values)]
    largest = np.abs(finite).max(initial=0.0)
    if largest == 0:
        return np.ascontiguousarray(values, "<f2"), 1.0
    scale = 2.0 ** np.floor(np.log2(_LARGEST / largest))
    for kind, by in (("<f2", scale), ("<f4", 1.0)):
        with np.errstate(over="ignore"):
            words = np.ascontiguousarray(values * by, kind)
        error = np.abs(words[np.isfinite(values)] / by - finite)
        allowed = CLOSE * np.minimum(np.abs(finite) + 1e-9 * largest, np.ptp(finite) or np.inf)
        if (error <= allowed).all():
            return words, by
    return np.ascontiguousarray(values, "<f8"), 1.0
