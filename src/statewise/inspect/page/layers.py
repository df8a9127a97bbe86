"""What the page says of each layer: its cell with its options, and which values share units"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from statewise.cells import GRU, LSTM, Elman, Residual
from statewise.inspect.subject import get_cell
from statewise.inspect.unit_groups import group_values, split_layers, unwrap, value_shapes
from statewise.spec import format_spec

if TYPE_CHECKING:
    from statewise.inspect.trace_values import TraceValues


def describe_layers(trace: TraceValues) -> list[dict[str, Any]]:
    """What the page says of the layers of a trace; one read from a file does not know its cells."""
    layers = []
    for index, shapes in split_layers(value_shapes(trace)).items():
        cell = get_cell(trace.model, index)
        layers.append(
            {
                "index": int(index) if index.isdigit() else index,
                "cell": None if cell is None else type(unwrap(cell)).__name__,
                "label": f"layer {index}" if cell is None else format_spec(cell),
                "names": list(shapes),
                "groups": group_values(cell, shapes),
                "reset": getattr(unwrap(cell), "reset", None),
                "activation": _diagram_activation(cell),
                "gate": getattr(unwrap(cell), "recurrent_activation", None),
            }
        )
    return layers


def _diagram_activation(cell: Any) -> str | None:
    """The activation of a cell with the usual equations, whose diagram is true; None for others."""
    while type(cell) is Residual:
        cell = cell.inner
    special = ("peepholes", "coupled", "layer_norm", "projection")
    if type(cell) not in (LSTM, GRU, Elman) or any(getattr(cell, one, False) for one in special):
        return None
    return str(cell.activation)
