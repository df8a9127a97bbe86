"""`Card`: what is known of one unit, to print or to put on a page"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["ablated", "clamped high", "clamped low"]


@dataclass(frozen=True)
class Context:
    """A step with what stands around it.

    Attributes:
        step, value: where, and how high it is there.
        before, at, after: the text (or the numbers) up to the step, of it and behind it.
    """

    step: int
    value: float
    before: str
    at: str
    after: str


@dataclass(frozen=True)
class Effect:
    """What happens to the loss when a unit is held at one value throughout.

    Attributes:
        kind: ``"ablated"`` (to its mean, or zero), ``"clamped high"`` or ``"clamped low"``.
        to: the value it is held at.
        change: of the mean loss, positive where the model foretells worse.
        where: ``{"label", "change"}``: the mean change at the steps at which a label is on (of a
            label that is a number: in its highest quarter), those that stand out most first.
        contexts: the steps whose inputs are foretold so much worse.
    """

    kind: Kind
    to: float
    change: float
    where: list[dict[str, Any]] = field(default_factory=list)
    contexts: list[Context] = field(default_factory=list)


@dataclass(frozen=True)
class Card:
    """What is known of one unit, as `explain_unit` found it.

    Attributes:
        name, unit: which one: ``"0.c"``, 17.
        mean, low, high: of its values; low and high are values that 1% of the steps reach.
        labels: ``{"label", "score", "sign", "control"}``: how closely the unit follows a label
            (absolute correlation, and whether it is 1 high or -1 low where the label is), beside
            the same on the control task, the label displaced in time; best first.
        effects: what holding it does; none where the model foretells nothing of its own.
        measure: what changes are measured in: ``"bits"``, ``"squared error"`` or None.
        top, bottom: where its values are highest and lowest.
    """

    name: str
    unit: int
    mean: float
    low: float
    high: float
    labels: list[dict[str, Any]] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    measure: str | None = None
    top: list[Context] = field(default_factory=list)
    bottom: list[Context] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and texts, as JSON takes them."""
        return asdict(self)

    def __str__(self) -> str:
        span = f"mean {self.mean:.3g}, mostly {self.low:.3g} to {self.high:.3g}"
        lines = [f"unit {self.unit} of {self.name}: {span}"]
        for one in self.labels[:5]:
            way = "" if one["sign"] > 0 else " (low where it is high)"
            lines.append(
                f"  follows {one['label']}: {one['score']:.2f}, control {one['control']:.2f}{way}"
            )
        for effect in self.effects:
            lines.append(
                f"  {effect.kind} to {effect.to:.3g}: {effect.change:+.4f} {self.measure} a step"
            )
            lines += [f"    {one['change']:+.4f} at {one['label']}" for one in effect.where[:3]]
            lines += [f"    {_line(one)}" for one in effect.contexts[:2]]
        for word, contexts in (("highest", self.top), ("lowest", self.bottom)):
            lines += [f"  {word}", *(f"    {_line(one)}" for one in contexts)] if contexts else []
        return "\n".join(lines)


def _line(context: Context) -> str:
    parts = (context.before[-30:], context.at, context.after[:12])
    before, at, after = (repr(part)[1:-1] for part in parts)
    return f"{context.value:+8.3f}  {before.rjust(34)}[{at}]{after}"
