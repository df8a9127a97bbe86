"""A user's own cell, as the golden files name it: ``tests.golden.cells:Leaky``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import statewise as sw


@dataclass(frozen=True)
class Leaky(sw.Cell):
    """h' = (1 - leak) h + leak (W x), an integrator that forgets."""

    units: int
    leak: float = 0.1

    def state(self, inputs: int) -> Mapping[str, Any]:
        return {"h": (self.units,)}

    def parameters(self, inputs: int) -> Mapping[str, Any]:
        return {"W": ((self.units, inputs), sw.Glorot())}

    def step(self, p: Any, x: Any, s: Any) -> Any:
        h = (1 - self.leak) * s["h"] + self.leak * (x @ p["W"].T)
        return h, {"h": h}, {"h": h}
