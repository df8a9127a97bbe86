"""Which values of a layer share their units, so that they can be shown side by side"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from statewise.inspect.subject import cell_of
from statewise.inspect.trace import Trace
from statewise.spec import kind


def find_companions(trace: Trace, name: str) -> list[str]:
    """The values of a trace whose unit k is unit k of this one, itself among them."""
    layer = name.partition(".")[0]
    shapes = layer_shapes(trace)[layer]
    groups = group_values(cell_of(trace.model, layer), shapes)
    return next(
        [f"{layer}.{own}" for own in group] for group in groups if name.partition(".")[2] in group
    )


def layer_shapes(trace: Trace) -> dict[str, dict[str, tuple[int, ...]]]:
    """By layer, and by name within the layer: the shape of each value at one row and step."""
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, values in trace.items():
        layer, _, own = name.partition(".")
        shapes.setdefault(layer, {})[own] = values.shape[2:]
    return shapes


def group_values(cell: Any, shapes: Mapping[str, tuple[int, ...]]) -> list[list[str]]:
    """The values of a layer in groups: unit k of one is unit k of all others in its group.

    Values of one direction and one length are a group, so that a projected LSTM has its gates and
    c in one, and h in another. In a user's own cell lengths may be equal by chance, so only the
    values of length `units` are a group. Matrices and single numbers stand alone.

    Arguments:
        cell: of the layer; None where it is not known.
        shapes: of the values at one row and step, by their name within the layer.
    """
    inner = unwrap(cell)
    is_own = inner is not None and ":" in kind(type(inner))
    groups: dict[Any, list[str]] = {}
    for name, shape in shapes.items():
        direction = name.rpartition(".")[0]
        alone = len(shape) != 1 or (is_own and shape[0] != getattr(inner, "units", None))
        groups.setdefault(name if alone else (direction, shape), []).append(name)
    return list(groups.values())


def unwrap(cell: Any) -> Any:
    """A cell without what is wrapped around it, one that reads in both directions included."""
    while hasattr(cell, "inner"):
        cell = cell.inner
    return cell
