"""Differencing, with the last values as state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from statewise.capture import Capture
from statewise.cell import Transform
from statewise.declarations import Field, check_positive
from statewise.types import Array, Fields, Intermediates, Parameters, array_namespace


@dataclass(frozen=True)
class Difference(Transform):
    """The change since `lag` steps before, ``y_t = x_t - x_(t - lag)``.

    Until `lag` steps are known the change is taken since the step before, and the first output is
    zero.

    Arguments:
        lag: how far back to compare: 1, or the length of a season.

    State: ``last`` (lag, inputs), the latest values, oldest first; ``known``, how many there are.
    Intermediates: ``base``, the value that the next step's change is taken from.
    """

    lag: int = 1

    def __post_init__(self) -> None:
        check_positive(self, "lag")

    @property
    def warmup(self) -> int:
        return self.lag

    def state(self, inputs: int) -> Mapping[str, Field]:
        return {"last": Field((self.lag, inputs), "accumulator"), "known": Field((), "integer")}

    def step(
        self, p: Parameters, x: Array, s: Fields, capture: Capture | None = None
    ) -> tuple[Array, Fields, Intermediates]:
        capture = capture or Capture()
        y, s, intermediates = self.scan(p, x[:, None, :], s)
        capture("base", intermediates["base"][:, 0])
        return y[:, 0], s, capture.values

    def scan(self, p: Parameters, x: Array, s: Fields) -> tuple[Array, Fields, Intermediates]:
        """A whole run, (B, T, inputs)."""
        xp = array_namespace(x)
        last, known, length = s["last"], s["known"], x.shape[1]
        series = xp.concat([last, xp.astype(x, last.dtype)], axis=1)  # (B, lag + T, F)
        steps = known[:, None] + xp.arange(length, device=known.device)[None, :]
        bases = [
            xp.where(
                (steps + ahead >= self.lag)[..., None],
                series[:, ahead : ahead + length],
                series[:, self.lag - 1 + ahead : self.lag - 1 + ahead + length],
            )
            for ahead in (0, 1)  # the base of this step, and of the next
        ]
        changes = series[:, self.lag :] - bases[0]
        y = xp.where((steps > 0)[..., None], changes, xp.zeros_like(changes))
        new = {"last": series[:, length:], "known": known + length}
        return xp.astype(y, x.dtype), new, {"base": bases[1]}

    def inverse(self, y: Array, intermediates: Intermediates) -> Array:
        base = intermediates["base"][..., : y.shape[-1]]
        return array_namespace(y).astype(y + base, y.dtype)

    def forward(self, target: Array, intermediates: Intermediates) -> Array:
        base = intermediates["base"][..., : target.shape[-1]]
        return array_namespace(target).astype(target - base, target.dtype)
