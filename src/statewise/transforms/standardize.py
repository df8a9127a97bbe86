"""Scaling to zero mean and unit deviation: fixed, or running along the series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from statewise.capture import Capture
from statewise.cell import Transform
from statewise.declarations import Field
from statewise.errors import ArchitectureError
from statewise.types import Array, Fields, Intermediates, Parameters, array_namespace


class Scaling(Transform):
    """``y = (x - mean) / scale`` with the mean and scale that were seen at each step."""

    def inverse(self, y: Array, intermediates: Intermediates) -> Array:
        mean, scale = (intermediates[name][..., : y.shape[-1]] for name in ("mean", "scale"))
        return array_namespace(y).astype(y * scale + mean, y.dtype)

    def forward(self, target: Array, intermediates: Intermediates) -> Array:
        mean, scale = (intermediates[name][..., : target.shape[-1]] for name in ("mean", "scale"))
        return array_namespace(target).astype((target - mean) / scale, target.dtype)


@dataclass(frozen=True)
class Standardize(Scaling):
    """``y = (x - mean) / scale`` with a mean and scale that do not change.

    The mean and the scale are state, so every row may have its own: give them once as the initial
    state of a series and they stay with it. `fit` takes both from a history.

    Arguments:
        mean, scale: initial values, a number or one for each feature; scale above zero.

    State: ``mean`` and ``scale`` (inputs). Intermediates: the same.
    """

    mean: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        for name in ("mean", "scale"):
            value: Any = getattr(self, name)
            alone = np.ndim(value) == 0
            plain = float(value) if alone else tuple(float(item) for item in value)
            object.__setattr__(self, name, plain)
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        if any(not scale > 0 for scale in scales):
            raise ArchitectureError(f"Standardize: scale must be above zero, got {self.scale!r}")

    def state(self, inputs: int) -> Mapping[str, Field]:
        for name in ("mean", "scale"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != inputs:
                raise ArchitectureError(
                    f"Standardize: {name} has {len(value)} values for {inputs} features"
                )
        return {
            "mean": Field((inputs,), "accumulator", self.mean),
            "scale": Field((inputs,), "accumulator", self.scale),
        }

    def fit(self, history: np.ndarray) -> Standardize:
        """With the mean and standard deviation of each feature; the scale is 1 where none varies.

        Arguments:
            history: (T, inputs).
        """
        mean, deviation = history.mean(axis=0), history.std(axis=0)
        varies = deviation > 1e-12 * np.abs(history).max(axis=0)
        scale = np.where(varies, deviation, 1.0)
        return replace(self, mean=tuple(mean.tolist()), scale=tuple(scale.tolist()))

    def step(
        self, p: Parameters, x: Array, s: Fields, capture: Capture | None = None
    ) -> tuple[Array, Fields, Intermediates]:
        capture = capture or Capture()
        values = {name: capture(name, s[name]) for name in ("mean", "scale")}
        return self.forward(x, values), s, values

    def scan(self, p: Parameters, x: Array, s: Fields) -> tuple[Array, Fields, Intermediates]:
        """A whole run, (B, T, inputs)."""
        xp = array_namespace(x)
        intermediates = {
            name: xp.broadcast_to(s[name][:, None, :], x.shape) for name in ("mean", "scale")
        }
        return self.forward(x, intermediates), s, intermediates
