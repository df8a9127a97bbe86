"""Lagged values as further features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from statewise.cell import Transform
from statewise.declarations import Field
from statewise.errors import ArchitectureError
from statewise.types import Array, Fields, Intermediates, Parameters, array_namespace
from statewise.validation import is_whole_number


@dataclass(frozen=True)
class Lags(Transform):
    """Each step with earlier steps beside it, ``y_t = (x_t, x_(t-l1), x_(t-l2), ...)``.

    Steps before the first count as zero. The inverse is the identity, since the first features are
    the inputs themselves; so there is no `warmup`.

    Arguments:
        lags: which earlier steps, ``(1, 2, 12)``, each at least 1.

    State: ``last`` (longest lag, inputs), the latest values, oldest first.
    """

    lags: tuple[int, ...]

    def __post_init__(self) -> None:
        given: Any = self.lags
        lags = tuple(given) if isinstance(given, Iterable) else (given,)
        if not lags or not all(is_whole_number(lag, 1) for lag in lags):
            raise ArchitectureError(
                f"Lags: lags must be whole numbers of at least 1, got {given!r}"
            )
        object.__setattr__(self, "lags", tuple(int(lag) for lag in lags))

    def outputs(self, inputs: int) -> int:
        return inputs * (1 + len(self.lags))

    def state(self, inputs: int) -> Mapping[str, Field]:
        return {"last": Field((max(self.lags), inputs))}

    def step(self, p: Parameters, x: Array, s: Fields) -> tuple[Array, Fields, Intermediates]:
        y, s, _ = self.scan(p, x[:, None, :], s)
        return y[:, 0], s, {}

    def scan(self, p: Parameters, x: Array, s: Fields) -> tuple[Array, Fields, Intermediates]:
        """A whole run, (B, T, inputs)."""
        xp = array_namespace(x)
        longest, length = max(self.lags), x.shape[1]
        series = xp.concat([s["last"], x], axis=1)  # (B, longest + T, F)
        earlier = [series[:, longest - lag : longest - lag + length] for lag in self.lags]
        return xp.concat([x, *earlier], axis=-1), {"last": series[:, length:]}, {}

    def inverse(self, y: Array, intermediates: Intermediates) -> Array:
        return y

    def forward(self, target: Array, intermediates: Intermediates) -> Array:
        return target
