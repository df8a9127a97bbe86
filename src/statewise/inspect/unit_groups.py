"""Which values of a layer share their units, so that they can be shown side by side"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from statewise.inspect.subject import get_cell
from statewise.spec import kind

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""The shape of each value at one row and step."""


def find_companions(name: str, shapes: Shapes, model: Any) -> list[str]:
    """The values whose unit k is unit k of this one, itself among them.

    Arguments:
        name: of a value, such as ``"0.c"``.
        shapes: of all values that are known, by such names.
        model: that they belong to; None where it is not known.
    """
    layer, _, own = name.partition(".")
    groups = group_values(get_cell(model, layer), split_layers(shapes)[layer])
    return [f"{layer}.{one}" for group in groups if own in group for one in group]


def value_shapes(trace: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """The shape of each value of a trace at one row and step."""
    return {name: values.shape[2:] for name, values in trace.items()}


def split_layers(shapes: Shapes) -> dict[str, dict[str, tuple[int, ...]]]:
    """The shapes by layer, and by the name that the layer gives to the value."""
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        layer, _, own = name.partition(".")
        layers.setdefault(layer, {})[own] = shape
    return layers


def group_values(cell: Any, shapes: Shapes) -> list[list[str]]:
    """The values of a layer in groups: unit k of one is unit k of all others in its group.

    Values of one direction and one length are a group, so that a projected LSTM has its gates and
    c in one, and h in another. In a user's own cell lengths may be equal by chance, so only the
    values of length `units` are a group. Matrices and single numbers stand alone.

    Arguments:
        cell: of the layer; None where it is not known.
        shapes: of its values, by the names that the layer gives them.
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
    """A cell without what is wrapped around it, also one that reads in both directions."""
    while hasattr(cell, "inner"):
        cell = cell.inner
    return cell
