"""The door to the native kernels, `statewise._native`.

Everything here works without them: `available` is then False and `layer` and `program` give None,
so that whoever asks runs the reference equations.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from statewise.architecture import Architecture, Tokens
from statewise.cell import Cell
from statewise.cells import GRU, LSTM, Dropout, Elman, LayerNorm, Residual
from statewise.types import Array, Intermediates, Parameters


@cache
def _loaded() -> tuple[Any, str | None]:
    """The native module, or None and why it is missing."""
    try:
        return import_module("statewise._native"), None
    except ImportError as error:
        return None, str(error)


def native() -> Any:
    """The native module, or None."""
    return _loaded()[0]


def available() -> bool:
    """Whether the native kernels were built and run here."""
    return native() is not None


def isas() -> list[str]:
    """The instruction sets that this machine runs, slowest first; none without kernels."""
    return list(native().isas()) if available() else []


def isa() -> str | None:
    """The instruction set in use: the best, or what the environment variable STATEWISE_ISA named
    when the kernels were loaded.
    """
    return str(native().isa()) if available() else None


def select(name: str) -> None:
    """Use another of `isas` for the models loaded from now on."""
    if available():
        native().select(name)


def threads() -> int:
    """How many threads a call may use; 1 without kernels."""
    return int(native().threads()) if available() else 1


def set_threads(count: int) -> None:
    """Let a call use this many threads, 0 for the default: one for each core, 8 at most."""
    if available():
        native().set_threads(count)


def report() -> dict[str, Any]:
    """What runs here: whether there are kernels, and if so which, on how many threads."""
    found, reason = _loaded()
    return {
        "available": found is not None,
        "reason": reason,
        "isa": isa(),
        "isas": isas(),
        "width": int(found.width()) if found is not None else None,
        "threads": threads(),
        "machine": platform.machine(),
    }


def kernel(cell: Cell) -> str | None:
    """The name of the kernel that runs this cell with its options, or None."""
    return cell.native_kernel if cell.declares("native_kernel") else None


_SAVED = {LSTM: {"i": 0, "f": 1, "g": 2, "o": 3}, GRU: {"r": 1, "z": 2, "n": 0}, Elman: {"a": 0}}
"""Which slot of a row of gates holds what a cell shows."""


def intermediates(cell: Cell, y: Array, gates: Array, cells: Array | None = None) -> Intermediates:
    """What a cell shows of a run, from what the run saved for backward: views of it.

    Arguments:
        cell: one that has a kernel.
        y: its outputs, (B, T, units).
        gates, cells: what `forward` of the packed layer saved; cells for LSTM.

    Returns:
        name -> (B, T, units), undefined where padded.
    """
    rows, steps, units = y.shape
    slots = 1 if type(cell) is Elman else 4
    saved = gates.reshape((steps, rows, slots, gates.shape[2] // slots)).swapaxes(0, 1)
    views = {name: saved[:, :, slot, :units] for name, slot in _SAVED[type(cell)].items()}
    return {**views, "h": y} if cells is None else {**views, "c": cells.swapaxes(0, 1), "h": y}


def stride(name: str, units: int) -> int:
    """Floats that a layer keeps for backward for one row and step, besides c."""
    return int(native().stride(name, units))


def layer(cell: Cell, p: Parameters, *, bf16: bool = False, backward: bool = False) -> Any:
    """One layer's weights packed for its kernels, or None where it has none.

    Arguments:
        cell: the layer.
        p: its parameters as float32 NumPy arrays.
        bf16: keep the weights in bfloat16.
        backward: pack what gradients need instead of what a forward run needs.
    """
    name = kernel(cell)
    if name is None or not available() or not _float32(p):
        return None
    weights = {key: _plain(p[key]) for key in ("W", "R", "b")}
    m = _plain(p["m"]) if "m" in p else None
    units = weights["R"].shape[1]
    return native().Layer(
        name, weights["W"].shape[1], units, **weights, m=m, half=bf16, backward=backward
    )


def program(
    architecture: Architecture,
    cells: Sequence[Cell],
    params: Mapping[str, Parameters],
    *,
    bf16: bool = False,
) -> Any:
    """A whole model packed for its kernels, or None where a part of it has none.

    Arguments:
        architecture: the model's.
        cells: its layers as they run outside training.
        params: float32 NumPy arrays by name, by layer.
        bf16: keep the weights of recurrent layers and of the output in bfloat16.
    """
    if not available() or not all(_float32(p) for p in params.values()):
        return None
    bare = [_unwrapped(cell) for cell in cells]
    if any(kernel(cell) is None and type(cell) not in (LayerNorm, Dropout) for cell, _ in bare):
        return None
    outputs = architecture.outputs
    if outputs is not None and outputs.inverse:
        return None
    made = native().Program(architecture.widths[0])
    if isinstance(architecture.inputs, Tokens):
        made.set_embedding(_plain(params["inputs"]["E"]))
    for index, (cell, residuals) in enumerate(bare):
        _add(made, index, cell, residuals, params[str(index)], bf16)
    if outputs is not None:
        made.set_linear(_plain(params["outputs"]["W"]), _plain(params["outputs"]["b"]), bf16)
        if outputs.remember:
            made.add_output("outputs.y")
    return made


def _add(made: Any, index: int, cell: Cell, residuals: int, p: Parameters, bf16: bool) -> None:
    if isinstance(cell, Dropout):
        made.add_identity(residuals)
        made.add_carried(f"{index}.noise")
    elif isinstance(cell, LayerNorm):
        made.add_norm(_plain(p["scale"]), _plain(p["shift"]), cell.epsilon, residuals)
    else:
        name = kernel(cell)
        h, c = f"{index}.h", f"{index}.c" if name == "lstm" else None
        weights = [_plain(p[key]) for key in ("W", "R", "b")]
        m = _plain(p["m"]) if "m" in p else None
        made.add_layer(name, weights[1].shape[1], *weights, m, residuals, bf16, h, c)


def _unwrapped(cell: Cell) -> tuple[Cell, int]:
    """The cell inside residual connections, and how many of them there are."""
    residuals = 0
    while type(cell) is Residual:
        cell, residuals = cell.inner, residuals + 1
    return cell, residuals


def _float32(p: Parameters) -> bool:
    return all(isinstance(v, np.ndarray) and v.dtype == np.float32 for v in p.values())


def _plain(array: np.ndarray) -> np.ndarray:
    """Contiguous, aligned and in the machine's byte order."""
    return np.require(array, dtype=np.float32, requirements=["C", "A"])
