"""A cell's `step` and `scan`, called and held to the contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from inspect import signature
from typing import Any

from statewise.capture import Capture
from statewise.cell import Cell
from statewise.errors import CellError
from statewise.types import Array, Fields, Intermediates, Parameters, array_namespace


def run_step(
    cell: Cell, p: Parameters, x: Array, s: Fields, capture: Capture | None = None
) -> tuple[Array, Fields, Intermediates]:
    """One step of a cell: x (B, F) -> y (B, O), the new state, the intermediates.

    Arguments:
        cell: the cell.
        p: its parameters by name.
        x: the inputs, (B, F).
        s: its state by field name, each (B, ...).
        capture: takes down the intermediates, and may change them; a new one where not given.

    Raises:
        CellError: what `step` returns breaks the contract.
    """
    capture = Capture() if capture is None else capture
    y, new = _call(cell, cell.step, "step", (p, x, s), capture)
    return y, conform_state(cell, s, new), capture.values


def run_scan(
    cell: Cell, p: Parameters, x: Array, s: Fields
) -> tuple[Array, Fields, Intermediates] | None:
    """The cell's own form of a whole run, x (B, T, F), or None where it has none."""
    if type(cell).scan is Cell.scan:
        return None
    capture = Capture()
    y, new = _call(cell, cell.scan, "scan", (p, x, s), capture)
    return y, conform_state(cell, s, new), capture.values


def takes_capture(cell: Cell, method: str = "step") -> bool:
    """Whether a cell passes the values inside its step through `capture`, so that they can be
    changed.
    """
    kind: Any = type(cell)  # mypy: a metaclass may not hash
    return _has_capture(kind, method)


@cache
def _has_capture(kind: type[Cell], method: str) -> bool:
    return "capture" in signature(getattr(kind, method)).parameters


def _call(
    cell: Cell,
    function: Callable[..., Any],
    method: str,
    given: tuple[Parameters, Array, Fields],
    capture: Capture,
) -> tuple[Array, Fields]:
    """Call `step` or `scan`; what it returns as intermediates is taken down too."""
    captures = takes_capture(cell, method)
    returned: Any = function(*given, capture=capture) if captures else function(*given)
    if not isinstance(returned, tuple) or len(returned) not in ((2, 3) if captures else (3,)):
        came = f"{len(returned)} values" if isinstance(returned, tuple) else type(returned).__name__
        expected = (
            "two things, the output and the new state"
            if captures
            else "three things, the output, the new state and the intermediates ({} if none)"
        )
        raise CellError(f"{type(cell).__name__}.{method} must return {expected}, got {came}")
    y, new, *rest = returned
    if rest and rest[0] is not capture.values:
        capture.record(rest[0])
    return y, new


def conform_state(cell: Cell, old: Fields, new: Fields) -> Fields:
    """The new state in the old one's dtypes, after a check that it has its names and shapes."""
    given: Any = new
    if not isinstance(given, Mapping):
        raise CellError(
            f"{type(cell).__name__}.step must return its state as a dict of names to arrays, got "
            f"{type(given).__name__}"
        )
    if len(new) != len(old) or any(
        name not in new or _shape(new[name]) != tuple(array.shape) for name, array in old.items()
    ):
        had = {name: tuple(array.shape) for name, array in old.items()}
        gave = {name: _shape(value) for name, value in new.items()}
        raise CellError(
            f"{type(cell).__name__}.step must return a state of the names and shapes it was given: "
            f"given {had}, returned {gave}"
        )
    return {
        name: new[name]
        if new[name].dtype == array.dtype
        else array_namespace(array).astype(new[name], array.dtype)
        for name, array in old.items()
    }


def check_output(cell: Cell, y: Array, x: Array) -> None:
    """Raise unless a cell's output (..., O) is as wide as it says, for inputs x (..., F)."""
    expected = (*x.shape[:-1], cell.outputs(x.shape[-1]))
    if _shape(y) != expected:
        raise CellError(
            f"{type(cell).__name__} returned an output of {_shape(y)}, expected {expected}; give "
            "the width that step returns in outputs(inputs), which says units where the cell has "
            "them and else the width of the inputs"
        )


def _shape(value: Any) -> tuple[int, ...] | str:
    return tuple(value.shape) if hasattr(value, "shape") else type(value).__name__
