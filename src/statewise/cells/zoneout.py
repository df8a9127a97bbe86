"""Zoneout: units that keep their previous value at random."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from statewise.capture import Capture
from statewise.cell import Cell
from statewise.cells.dropout import fill_noise
from statewise.cells.residual import Wrapper
from statewise.declarations import Field, check_fraction
from statewise.errors import ArchitectureError
from statewise.stepping import run_step
from statewise.types import Array, Fields, Integers, Intermediates, Parameters, array_namespace

_WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class Zoneout(Wrapper):
    """Units that keep their previous value at random: ``s' = s`` with probability `rate`, unit by
    unit and step by step, in training; outside it their mixture ``rate s + (1 - rate) s'``.

    The noise is a stream of pseudorandom numbers (xorshift) whose place is part of the state: the
    chunks of a sequence draw what the whole sequence draws.

    Arguments:
        inner: a cell whose output is its field ``h`` (Elman, GRU, LSTM).
        rate: the probability of keeping a value, in [0, 1), for every field of the inner state.
        mixed: take the mixture in training too.

    State: the inner cell's, and ``noise`` (fields, width of the widest).

    Source: Krueger et al., Zoneout: regularizing RNNs by randomly preserving hidden activations,
    2017; Marsaglia, Xorshift RNGs, 2003.
    """

    rate: float = 0.1
    mixed: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(self, "rate")

    def state(self, inputs: int) -> Mapping[str, Field]:
        inner = super().state(inputs)
        if "h" not in inner or not self.causal:
            raise ArchitectureError(
                f"Zoneout needs a cell whose output is its field h; {type(self.inner).__name__} "
                f"has {', '.join(inner) or 'no state'}"
            )
        if any(len(field.shape) != 1 or field.kind == "integer" for field in inner.values()):
            raise ArchitectureError("Zoneout keeps fields of one axis of numbers only")
        widest = max(field.shape[0] for field in inner.values())
        return {**inner, "noise": Field((len(inner), widest), "integer")}

    def evaluating(self) -> Cell:
        return replace(self, inner=self.inner.evaluating(), mixed=True)

    def draw(self, s: Fields, integers: Integers) -> Fields:
        inner = {name: array for name, array in s.items() if name != "noise"}
        return {**self.inner.draw(inner, integers), "noise": fill_noise(s["noise"], integers)}

    def step(
        self, p: Parameters, x: Array, s: Fields, capture: Capture | None = None
    ) -> tuple[Array, Fields, Intermediates]:
        capture = capture or Capture()
        xp = array_namespace(x)
        noise = s["noise"] if self.mixed else _next(s["noise"])
        before = {name: array for name, array in s.items() if name != "noise"}
        _, after, _ = run_step(self.inner, p, x, before, capture.excluding(before))
        mixed = {}
        for index, (name, old) in enumerate(before.items()):
            new = after[name]
            if self.mixed:
                value = self.rate * old + (1 - self.rate) * new
            else:
                keep = noise[:, index, : old.shape[-1]] < int(self.rate * 2**32)
                value = xp.where(keep, old, new)
            mixed[name] = capture(name, value)
        return mixed["h"], {**mixed, "noise": noise}, capture.values


def _next(noise: Array) -> Array:
    """One step of xorshift32; zero stays zero, and any other value runs through all of them."""
    noise = noise ^ (noise << 13) & _WORD
    noise = noise ^ (noise >> 17)
    return noise ^ (noise << 5) & _WORD
