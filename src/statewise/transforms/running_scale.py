"""Scaling by what has been seen so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from statewise.capture import Capture
from statewise.declarations import Field
from statewise.errors import ArchitectureError
from statewise.transforms.standardize import Scaling
from statewise.types import Array, Fields, Intermediates, Parameters, array_namespace
from statewise.validation import is_number


@dataclass(frozen=True)
class RunningScale(Scaling):
    """``y_t = (x_t - mean_t) / scale_t`` with the mean and deviation of the steps up to t.

    ``scale_t`` is the standard deviation of the steps so far (each counts once), or 1 until two
    different values came. Both are updated by Welford's method, one step at a time.

    Arguments:
        memory: weigh a step of k steps ago by ``(1 - 1/memory)^k``, so that the scale follows a
            series that changes; None to weigh all steps alike.

    State: ``mean`` and ``square`` (the sum of squared deviations, inputs), ``weight`` (the sum of
    weights). Intermediates: ``mean`` and ``scale``.

    Source: Welford, Note on a method for calculating corrected sums of squares and products,
    Technometrics 4, 1962.
    """

    memory: float | None = None

    def __post_init__(self) -> None:
        if self.memory is not None and not (is_number(self.memory) and self.memory > 1):
            raise ArchitectureError(
                f"RunningScale: memory must be more than one step, got {self.memory!r}"
            )

    def state(self, inputs: int) -> Mapping[str, Field]:
        return {
            "mean": Field((inputs,), "accumulator"),
            "square": Field((inputs,), "accumulator"),
            "weight": Field((1,), "accumulator"),
        }

    def step(
        self, p: Parameters, x: Array, s: Fields, capture: Capture | None = None
    ) -> tuple[Array, Fields, Intermediates]:
        capture = capture or Capture()
        xp = array_namespace(x)
        decay = 1.0 if self.memory is None else 1.0 - 1.0 / self.memory
        weight = decay * s["weight"] + 1.0
        away = xp.astype(x, s["mean"].dtype) - s["mean"]
        mean = capture("mean", s["mean"] + away / weight)
        square = decay * s["square"] + away * (x - mean)
        # rounding alone must not pass for variance: a constant series keeps the scale 1
        floor = weight * (xp.abs(mean) * 4 * xp.finfo(mean.dtype).eps) ** 2
        spread = xp.where(square > floor, square, weight)
        values = {"mean": mean, "scale": capture("scale", xp.sqrt(spread / weight))}
        after = {"mean": mean, "square": square, "weight": weight}
        return self.forward(x, values), after, values
