"""Dropout with one mask a sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from statewise.capture import Capture
from statewise.cell import Cell
from statewise.declarations import Field, check_fraction
from statewise.types import Array, Fields, Integers, Intermediates, Parameters, array_namespace


@dataclass(frozen=True)
class Dropout(Cell):
    """Drop units in training: each is zero with probability `rate`, the others are scaled by
    ``1 / (1 - rate)``.

    The mask is drawn once per sequence and row and kept along it. It lives in the state, so the
    chunks of a sequence agree on it, and a reset draws another. Outside training the inputs pass
    unchanged; a state that comes from evaluation gets its mask when training goes on from it.

    Arguments:
        rate: the probability of dropping a unit, in [0, 1).

    State: ``noise`` (inputs), a random integer below 2**32 for each unit, zero before it is drawn.

    Source: Gal and Ghahramani, A theoretically grounded application of dropout in recurrent neural
    networks, 2016.
    """

    rate: float

    def __post_init__(self) -> None:
        check_fraction(self, "rate")

    def state(self, inputs: int) -> Mapping[str, Field]:
        return {"noise": Field((inputs,), "integer")}

    def step(
        self, p: Parameters, x: Array, s: Fields, capture: Capture | None = None
    ) -> tuple[Array, Fields, Intermediates]:
        capture = capture or Capture()
        y = capture("y", x * self._mask(x, s["noise"]))
        return y, s, capture.values

    def scan(
        self, p: Parameters, x: Array, s: Fields, capture: Capture | None = None
    ) -> tuple[Array, Fields, Intermediates]:
        """A whole run, (B, T, inputs), under one mask."""
        capture = capture or Capture()
        y = capture("y", x * self._mask(x, s["noise"])[:, None, :])
        return y, s, capture.values

    def _mask(self, x: Array, noise: Array) -> Array:
        xp = array_namespace(x)
        if not self.rate:
            return xp.ones_like(xp.astype(noise, x.dtype))
        passes = (noise == 0) | (noise >= int(self.rate * 2**32))
        return xp.astype(passes, x.dtype) / (1 - self.rate)

    def evaluating(self) -> Cell:
        return replace(self, rate=0.0)

    def draw(self, s: Fields, integers: Integers) -> Fields:
        return {"noise": fill_noise(s["noise"], integers)}


def fill_noise(noise: Array, integers: Integers) -> Array:
    """Noise drawn where there is none yet."""
    xp = array_namespace(noise)
    return xp.where(noise == 0, integers(tuple(noise.shape)), noise)
