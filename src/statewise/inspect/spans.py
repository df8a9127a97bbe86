"""`FeatureSpans`: when a feature is on, and what the gates do as it is written and erased"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from statewise.errors import InputError
from statewise.inspect.contexts import Context, Passage
from statewise.inspect.trace import Trace


class ActivationSpan(NamedTuple):
    """Consecutive steps at which a feature is on: from `start` up to, and without, `stop`."""

    start: int
    stop: int


@dataclass(frozen=True)
class FeatureSpans:
    """When a feature is on, and what the gates do as it is written and erased.

    Attributes:
        feature, threshold: which one, and the activation above which it is on.
        spans: all of them, in order.
        duration: their mean length in steps.
        written: where the spans with the highest activations begin.
        erased: the first step after each of these, at which it is off again.
        gates: for every gate that was recorded: its mean ``"written"``, at the first steps of the
            spans, ``"erased"``, at the first steps after them, and ``"usual"``, at all steps. Units
            are weighted by their squared share of the feature's direction.
    """

    feature: int
    threshold: float
    spans: list[ActivationSpan]
    duration: float
    written: list[Context]
    erased: list[Context]
    gates: dict[str, dict[str, float]]

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and texts."""
        return asdict(self)


def find_spans(
    trace: Trace,
    name: str,
    row: int,
    feature: int,
    activation: np.ndarray,
    direction: np.ndarray,
    share: float,
    count: int,
) -> FeatureSpans:
    """The spans of a feature in a row of a trace.

    Arguments:
        trace, name, row: what it is a feature of.
        feature: its number.
        activation: at every step that is not padding, (T,).
        direction: what it adds to the units, (units,).
        share: of its highest activation; it is on above.
        count: how many contexts of each kind to keep.
    """
    if not 0 <= share < 1:
        raise InputError(f"share must lie in [0, 1), got {share}")
    steps = len(activation)
    threshold = share * float(activation.max(initial=0.0))
    on = activation > threshold
    edges = np.flatnonzero(np.diff(np.r_[False, on, False].astype(np.int8))).reshape(-1, 2)
    spans = [ActivationSpan(int(start), int(stop)) for start, stop in edges]
    strongest = sorted(spans, key=lambda span: -activation[span.start : span.stop].max())[:count]
    passage = Passage(trace, row)
    first, after = edges[:, 0], edges[edges[:, 1] < steps, 1]
    return FeatureSpans(
        feature,
        threshold,
        spans,
        float(np.diff(edges).mean()) if spans else 0.0,
        [passage.get_context(start, activation[start]) for start, _ in strongest],
        [passage.get_context(stop, activation[stop]) for _, stop in strongest if stop < steps],
        _average_gates(trace, name, row, direction, {"written": first, "erased": after}, steps),
    )


def _average_gates(
    trace: Trace,
    name: str,
    row: int,
    direction: np.ndarray,
    at: dict[str, np.ndarray],
    steps: int,
) -> dict[str, dict[str, float]]:
    """Of each gate of the layer its mean at some steps, by what they are, and at all."""
    layer = name.rpartition(".")[0]
    weights = direction**2 / max(float((direction**2).sum()), 1e-30)
    means = {}
    for gate in (f"{layer}.{own}" for own in "ifgorzn"):
        if gate in trace and trace[gate].shape[-1] == len(weights):
            value = trace[gate][row, :steps] @ weights  # (T,)
            parts = {**{word: value[where] for word, where in at.items()}, "usual": value}
            means[gate] = {word: float(part.mean()) for word, part in parts.items() if part.size}
    return means
