"""`to_torch`: a statewise model as torch's own modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from statewise.architecture import Tokens
from statewise.cell import Cell
from statewise.cells import GRU, LSTM, Bidirectional, Dense, Dropout, Elman, LayerNorm
from statewise.extras import require
from statewise.interop.parts import Weighted, list_own_options, raise_all, select_prefix

if TYPE_CHECKING:
    from torch import nn

_MODULES = {
    "relu": "ReLU",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "softsign": "Softsign",
    "hard_sigmoid": "Hardsigmoid",
}


def to_torch(model: Weighted) -> nn.Module:
    """Torch's own modules with the weights of a statewise model.

    Arguments:
        model: a `statewise.nn.Model` or what `statewise.load` gives.

    Returns:
        an ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU`` (batch first) where the model is a stack of like
        layers, and else a `statewise.interop.torch_stack.Stack` of torch modules. Weights are
        copies. ``nn.Dropout`` draws a new mask at every step, where statewise keeps a mask.

    Raises:
        ConversionError: names every layer for which torch has no module.

    Example::

        gru = sw.interop.to_torch(model)    # y, h = gru(x)
    """
    torch = require("torch", "train", "to_torch")
    from statewise.interop.torch_stack import Stack

    architecture = model.architecture
    problems = [
        f"layer {index} ({type(cell).__name__}): {why}"
        for index, cell in enumerate(architecture.layers)
        if (why := _find_obstacle(cell)) is not None
    ]
    outputs = architecture.outputs
    if outputs is not None and (outputs.inverse or outputs.remember):
        problems.append("outputs: torch has no counterpart of inverse or remember")
    raise_all("the model", problems)
    arrays = {name: torch.as_tensor(value).detach() for name, value in model.weights().items()}
    dtype = next(iter(arrays.values())).dtype
    parts: list[Any] = []
    if isinstance(architecture.inputs, Tokens):
        table = torch.nn.Embedding(architecture.inputs.size, architecture.inputs.width)
        _copy_weights(table, {"weight": arrays["inputs.E"]}, dtype)
        parts.append(table)
    cells = architecture.layers
    if len(cells) > 1 and all(
        _module_key(cell) == _module_key(cells[0]) is not None for cell in cells
    ):
        parts.append(_make_recurrent(cells, architecture.widths[0], arrays, 0, dtype))
    else:
        for index, cell in enumerate(cells):
            parts += _make_modules(cell, architecture.widths[index], arrays, index, dtype)
    if outputs is not None:
        linear = torch.nn.Linear(architecture.widths[-1], outputs.units)
        _copy_weights(linear, {"weight": arrays["outputs.W"], "bias": arrays["outputs.b"]}, dtype)
        parts.append(linear)
    whole: nn.Module = parts[0] if len(parts) == 1 else Stack(parts)
    return whole.eval()


def _find_obstacle(cell: Cell) -> str | None:
    """Why torch has no module for this cell, or None where it has."""
    inner = cell.inner if isinstance(cell, Bidirectional) else cell
    match inner:
        case LSTM():
            plain = (inner.activation, inner.recurrent_activation) == ("tanh", "sigmoid")
        case GRU():
            plain = (inner.activation, inner.recurrent_activation) == ("tanh", "sigmoid")
            if inner.reset != "after":
                return "torch's GRU resets after the recurrent product, this one before"
        case Elman():
            plain = inner.activation in ("tanh", "relu")
        case Dense():
            known = inner.activation in (*_MODULES, "linear", "softmax")
            return None if known else f"torch has no module for {inner.activation}"
        case Dropout() | LayerNorm():
            return None
        case _:
            return "torch has no counterpart"
    extras = list_own_options(inner)
    if extras:
        return f"torch has no {', '.join(extras)}"
    return None if plain else "torch's own has fixed activations, and this one has others"


def _module_key(cell: Cell) -> tuple[Any, ...] | None:
    """What must be equal for layers to become one torch module; None if not recurrent."""
    inner = cell.inner if isinstance(cell, Bidirectional) else cell
    if not isinstance(inner, (LSTM, GRU, Elman)):
        return None
    shape = (inner.units, getattr(inner, "projection", None), inner.activation)
    return (type(cell), type(inner), *shape)


def _make_modules(
    cell: Cell, width: int, arrays: Mapping[str, Any], index: int, dtype: Any
) -> list[nn.Module]:
    from torch import nn

    mine = select_prefix(arrays, str(index))
    match cell:
        case Dense():
            linear = nn.Linear(width, cell.units)
            _copy_weights(linear, {"weight": mine["W"], "bias": mine["b"]}, dtype)
            if cell.activation == "linear":
                return [linear]
            if cell.activation == "softmax":
                return [linear, nn.Softmax(dim=-1)]
            return [linear, getattr(nn, _MODULES[cell.activation])()]
        case Dropout():
            return [nn.Dropout(cell.rate)]
        case LayerNorm():
            norm = nn.LayerNorm(width, eps=cell.epsilon)
            _copy_weights(norm, {"weight": mine["scale"], "bias": mine["shift"]}, dtype)
            return [norm]
        case _:
            return [_make_recurrent((cell,), width, arrays, index, dtype)]


def _make_recurrent(
    cells: tuple[Cell, ...], width: int, arrays: Mapping[str, Any], first: int, dtype: Any
) -> nn.Module:
    """Like layers as one module."""
    from torch import nn

    cell = cells[0]
    inner: Any = cell.inner if isinstance(cell, Bidirectional) else cell
    options: dict[str, Any] = {
        "num_layers": len(cells),
        "batch_first": True,
        "bidirectional": cell is not inner,
    }
    match inner:
        case LSTM():
            made: Any = nn.LSTM(width, inner.units, proj_size=inner.projection or 0, **options)
        case GRU():
            made = nn.GRU(width, inner.units, **options)
        case _:
            made = nn.RNN(width, inner.units, nonlinearity=inner.activation, **options)
    named: dict[str, Any] = {}
    for layer in range(len(cells)):
        mine = select_prefix(arrays, str(first + layer))
        ways = {"": mine}
        if cell is not inner:
            ways = {"": select_prefix(mine, "forward"), "_reverse": select_prefix(mine, "backward")}
        for way, held in ways.items():
            suffix = f"_l{layer}{way}"
            second = held["b"].new_zeros(held["b"].shape)
            if "m" in held:
                second[2 * inner.units :] = held["m"]
            named |= {f"weight_ih{suffix}": held["W"], f"weight_hh{suffix}": held["R"]}
            named |= {f"bias_ih{suffix}": held["b"], f"bias_hh{suffix}": second}
            if "P" in held:
                named[f"weight_hr{suffix}"] = held["P"]
    _copy_weights(made, named, dtype)
    return made  # type: ignore[no-any-return]


def _copy_weights(module: nn.Module, arrays: Mapping[str, Any], dtype: Any) -> None:
    """Copy weights in, by name."""
    import torch

    module.to(dtype=dtype, device=next(iter(arrays.values())).device)
    with torch.no_grad():
        for name, value in arrays.items():
            getattr(module, name).copy_(value)
