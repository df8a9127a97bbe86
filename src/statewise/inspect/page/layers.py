"""What the page says of each layer: its cell with its options, and which values share units"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import Any

from statewise.cells import GRU, LSTM, Elman, Residual
from statewise.inspect.subject import cell_of
from statewise.inspect.trace import Trace
from statewise.inspect.unit_groups import group_values, layer_shapes, unwrap
from statewise.spec import Spec


def describe_layers(trace: Trace) -> list[dict[str, Any]]:
    """What the page says of the layers of a trace; one read from a file does not know its cells."""
    layers = []
    for index, shapes in layer_shapes(trace).items():
        cell = cell_of(trace.model, index)
        layers.append(
            {
                "index": int(index) if index.isdigit() else index,
                "cell": None if cell is None else type(unwrap(cell)).__name__,
                "label": f"layer {index}" if cell is None else describe_part(cell),
                "names": list(shapes),
                "groups": group_values(cell, shapes),
                "reset": getattr(unwrap(cell), "reset", None),
                "activation": _diagram_activation(cell),
                "gate": getattr(unwrap(cell), "recurrent_activation", None),
            }
        )
    return layers


def describe_part(part: Any) -> str:
    """A cell as Python writes it, without the options at their defaults: ``LSTM(64)``."""
    if not isinstance(part, Spec):
        return json.dumps(part, ensure_ascii=False) if isinstance(part, str) else repr(part)
    options = []
    for field in fields(part):  # type: ignore[arg-type]
        value = getattr(part, field.name)
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if default is MISSING:
            options.append(describe_part(value))
        elif value != default:
            options.append(f"{field.name}={describe_part(value)}")
    return type(part).__name__ + (f"({', '.join(options)})" if options else "")


def _diagram_activation(cell: Any) -> str | None:
    """The activation of a cell with the usual equations, whose diagram is true; None for others."""
    while type(cell) is Residual:
        cell = cell.inner
    special = ("peepholes", "coupled", "layer_norm", "projection")
    if type(cell) not in (LSTM, GRU, Elman) or any(getattr(cell, one, False) for one in special):
        return None
    return str(cell.activation)
