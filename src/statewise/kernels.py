"""Interface to `_native`, the native kernels.

Everything here works without them: `is_available` is then False and `pack_layer` and `pack_program`
give None, so that the caller runs the reference equations.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from statewise.architecture import Architecture, Tokens
from statewise.cell import Cell
from statewise.cells import Dropout, LayerNorm, Residual
from statewise.types import Array, Intermediates, Parameters

try:
    import statewise._native as native

    _missing: str | None = None
except ImportError as error:
    native, _missing = None, str(error)  # type: ignore[assignment]


def is_available() -> bool:
    """Whether the native kernels were built and run here; only then `native` is a module."""
    return _missing is None


def list_isas() -> list[str]:
    """The instruction sets that this machine runs, slowest first; none without kernels."""
    return native.list_isas() if is_available() else []


def get_isa() -> str | None:
    """The instruction set in use: the best, or what the environment variable STATEWISE_ISA named
    when the kernels were loaded.
    """
    return native.get_isa() if is_available() else None


def select_isa(name: str) -> None:
    """Use another of `list_isas` for the models loaded from now on."""
    if is_available():
        native.select_isa(name)


def get_threads() -> int:
    """How many threads a call may use; 1 without kernels."""
    return native.get_threads() if is_available() else 1


def set_threads(count: int) -> None:
    """Let a call use this many threads, 0 for the default: one for each core, 8 at most."""
    if is_available():
        native.set_threads(count)


def describe() -> dict[str, Any]:
    """What runs here: whether there are kernels, and if so which, on how many threads."""
    return {
        "available": is_available(),
        "reason": _missing,
        "isa": get_isa(),
        "isas": list_isas(),
        "width": native.get_vector_width() if is_available() else None,
        "threads": get_threads(),
        "machine": platform.machine(),
    }


def kernel_name(cell: Cell) -> str | None:
    """The name of the kernel that runs this cell with its options, or None."""
    return cell.native_kernel if cell.declares("native_kernel") else None


def view_intermediates(
    cell: Cell, y: Array, gates: Array, cells: Array | None = None
) -> Intermediates:
    """A cell's intermediates, as views of what a run saved for backward.

    Arguments:
        cell: one that has a kernel.
        y: its outputs, (B, T, units).
        gates, cells: what `forward` of the packed layer saved; cells for LSTM.

    Returns:
        name -> (B, T, units), undefined where padded.
    """
    layout = native.cell_layout(_kernel_name(cell))
    rows, steps, units = y.shape
    width = gates.shape[2] // layout.slot_count
    slots = gates.reshape((steps, rows, layout.slot_count, width)).swapaxes(0, 1)
    views = {name: slots[:, :, slot, :units] for name, slot in layout.gate_slots.items()}
    if cells is None:
        return {**views, "h": y}
    values = {**views, "c": cells.swapaxes(0, 1), "h": y}
    if getattr(cell, "peepholes", False):  # in the order of the step: o is computed from c
        values["o"], values["h"] = values.pop("o"), values.pop("h")
    return values


def pack_layer(
    cell: Cell, p: Parameters, *, bf16: bool = False, backward: bool = False
) -> native.Layer | None:
    """Pack one layer's weights for its kernels; None where it has none.

    Arguments:
        cell: the layer.
        p: its parameters as float32 NumPy arrays.
        bf16: keep the weights in bfloat16.
        backward: pack what gradients need instead of what a forward run needs.
    """
    name = kernel_name(cell)
    if name is None or not is_available() or not _is_float32(p):
        return None
    return pack_weights(name, **_layer_weights(name, p), bf16=bf16, backward=backward)


def pack_weights(
    name: str,
    W: np.ndarray,
    R: np.ndarray,
    b: np.ndarray,
    m: np.ndarray | None = None,
    p: np.ndarray | None = None,
    **options: Any,
) -> native.Layer:
    """Pack plain float32 weights for a kernel by name, see `_native.Layer` for the options."""
    return native.Layer(name, W.shape[1], R.shape[1], W, R, b, m, p, **options)


def gates_width(name: str, units: int) -> int:
    """Floats that a run of a kernel saves for one row and step, besides c."""
    return native.gates_width(name, units)


def pack_program(
    architecture: Architecture,
    cells: Sequence[Cell],
    params: Mapping[str, Parameters],
    *,
    bf16: bool = False,
) -> native.Program | None:
    """Pack a whole model for its kernels; None where a part of it has none.

    Arguments:
        architecture: the model's.
        cells: its layers as they run outside training.
        params: float32 NumPy arrays by name, by layer.
        bf16: keep the weights of recurrent layers and of the output in bfloat16.
    """
    if not is_available() or not all(_is_float32(p) for p in params.values()):
        return None
    bare = [_unwrap(cell) for cell in cells]
    if any(
        kernel_name(cell) is None and type(cell) not in (LayerNorm, Dropout) for cell, _ in bare
    ):
        return None
    outputs = architecture.outputs
    if outputs is not None and outputs.inverse:
        return None
    program = native.Program(architecture.widths[0])
    if isinstance(architecture.inputs, Tokens):
        program.set_embedding(_as_plain(params["inputs"]["E"]))
    for index, (cell, residuals) in enumerate(bare):
        _add_layer(program, index, cell, residuals, params[str(index)], bf16)
    if outputs is not None:
        W, b = (_as_plain(params["outputs"][name]) for name in "Wb")
        program.set_linear(W, b, bf16)
        if outputs.remember:
            program.add_output("outputs.y")
    return program


def _add_layer(
    program: native.Program, index: int, cell: Cell, residuals: int, p: Parameters, bf16: bool
) -> None:
    if isinstance(cell, Dropout):
        program.add_identity(residuals)
        program.add_carried(f"{index}.noise")
    elif isinstance(cell, LayerNorm):
        program.add_norm(_as_plain(p["scale"]), _as_plain(p["shift"]), cell.epsilon, residuals)
    else:
        name = _kernel_name(cell)
        c = f"{index}.c" if native.cell_layout(name).has_c else None
        weights = _layer_weights(name, p)
        units = weights["R"].shape[1]
        program.add_layer(name, units, residuals, bf16, f"{index}.h", c, **weights)


def _kernel_name(cell: Cell) -> str:
    name = kernel_name(cell)
    assert name is not None, cell
    return name


def _layer_weights(name: str, p: Parameters) -> dict[str, Any]:
    return {letter: _as_plain(p[letter]) for letter in native.cell_layout(name).parameters}


def _unwrap(cell: Cell) -> tuple[Cell, int]:
    """The cell inside residual connections, and how many of them there are."""
    residuals = 0
    while type(cell) is Residual:
        cell, residuals = cell.inner, residuals + 1
    return cell, residuals


def _is_float32(p: Parameters) -> bool:
    return all(isinstance(v, np.ndarray) and v.dtype == np.float32 for v in p.values())


def _as_plain(array: np.ndarray) -> np.ndarray:
    """Contiguous, aligned and in the machine's byte order."""
    return np.require(array, dtype=np.float32, requirements=["C", "A"])
