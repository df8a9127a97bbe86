"""Cells as a user writes them. No torch here: a process without it imports this file too."""

from dataclasses import dataclass

from array_api_compat import array_namespace

import statewise as sw


@dataclass(frozen=True)
class Counter(sw.Cell):
    """Shows how many steps there were since the last reset, and then its inputs."""

    start: int = 0

    def outputs(self, inputs):
        return 1 + inputs

    def state(self, inputs):
        return {"n": sw.Field((1,), "integer", self.start)}

    def step(self, p, x, s):
        xp = array_namespace(x)
        n = s["n"] + 1
        return xp.concat([xp.astype(n, x.dtype), x], axis=-1), {"n": n}, {"n": n}


@dataclass(frozen=True)
class Leaky(sw.Cell):
    """A leaky integrator with a learned initial state, its shapes given bare."""

    units: int
    leak: float = 0.1

    def state(self, inputs):
        return {"h": (self.units,)}

    def parameters(self, inputs):
        return {"W__in": ((self.units, inputs), sw.Glorot()), "h0": ((self.units,), sw.Normal())}

    def step(self, p, x, s):
        h = (1 - self.leak) * s["h"] + self.leak * (x @ p["W__in"].T)
        return h, {"h": h}, {"h": h}


@dataclass(frozen=True)
class Gated(Leaky):
    """The same with a gate, every value of which passes through `capture`."""

    def parameters(self, inputs):
        return {**super().parameters(inputs), "V": ((self.units, inputs), sw.Glorot())}

    def step(self, p, x, s, capture):
        gate = capture("gate", 1 / (1 + array_namespace(x).exp(-(x @ p["V"].T))))
        h = capture("h", (1 - gate) * s["h"] + gate * (x @ p["W__in"].T))
        return h, {"h": h}
