"""`Card`: what is known of one unit, to print or to show on a page"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from statewise.inspect.contexts import Context
from statewise.inspect.effects import Effect


@dataclass(frozen=True)
class Card:
    """What is known of one unit, as `explain_unit` found it.

    Attributes:
        name, unit: which one: ``"0.c"``, 17.
        mean, low, high: of its values; about 1% of the steps are below low, and 1% above high.
        labels: ``{"label", "score", "control", "sign"}``: the labels that the unit follows more
            closely than chance explains. The score is the absolute correlation, the control the
            mean of the same label with blocks of its steps in other orders; the sign is 1 where the
            unit is high where the label is, -1 where it is low there. Best first, by how far the
            score exceeds the control.
        effects: what holding it does; none where the model does not predict its own next input.
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
            way = "" if one["sign"] > 0 else "  (low where it is high)"
            follows = f"{one['score']:.2f}, control {one['control']:.2f}"
            lines.append(f"  follows {one['label']}: {follows}{way}")
        for effect in self.effects:
            change = f"{effect.change:+.4f} {self.measure} a step"
            lines.append(f"  {effect.kind} to {effect.to:.3g}: {change}")
            lines += [f"    {one['change']:+.4f} at {one['label']}" for one in effect.where[:3]]
            lines += [f"    {one}" for one in effect.contexts[:2]]
        for word, contexts in (("highest", self.top), ("lowest", self.bottom)):
            lines += [f"  {word}", *(f"    {one}" for one in contexts)] if contexts else []
        return "\n".join(lines)
