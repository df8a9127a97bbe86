"""Where a state comes from: fingerprints of an architecture and of weights."""

from __future__ import annotations

import sys
import warnings
from typing import Protocol

from statewise.errors import StateError, WeightsChangedWarning

_OURS = ("numpy.", "statewise.", "torch.")


class Origin(Protocol):
    """Where a state comes from."""

    architecture: str | None

    def weights(self) -> str | None:
        """The fingerprint of the weights it was made with, None where that is no longer known."""


class RecordedOrigin:
    """An origin read from a file."""

    def __init__(self, architecture: str | None, weights: str | None) -> None:
        self.architecture = architecture
        self._weights = weights

    def weights(self) -> str | None:
        return self._weights


def check_same_model(a: Origin | None, b: Origin | None) -> None:
    """Raise unless rows of states that come from here and there may stand in one."""
    if a is None or b is None:
        return
    if a.architecture and b.architecture and a.architecture != b.architecture:
        raise StateError(
            f"these states belong to different architectures: {a.architecture} and {b.architecture}"
        )
    weights = other_weights(a, b)
    if weights is not None:
        warn(
            f"these states were made with different weights (fingerprints {weights[0]} and "
            f"{weights[1]}); together they pass for the first one's"
        )


def other_weights(a: Origin | None, b: Origin | None) -> tuple[str, str] | None:
    """The fingerprints of two origins where they are known and differ."""
    if a is None or b is None or a == b:
        return None
    mine, its = a.weights(), b.weights()
    return None if mine is None or its is None or mine == its else (mine, its)


def warn(message: str) -> None:
    """Warn of other weights, at the line outside statewise and torch where the call was made."""
    frame, level = sys._getframe(1), 2
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_OURS):
        frame, level = frame.f_back, level + 1  # type: ignore[assignment]
    warnings.warn(message, WeightsChangedWarning, stacklevel=level)
