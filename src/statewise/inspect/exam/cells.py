"""The cells of an exam: by name, as text such as ``LSTM(3, peepholes=True)``, or as objects"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from statewise.cell import Cell
from statewise.cells import GRU, LSTM, Elman
from statewise.errors import InputError
from statewise.spec import format_spec

CELLS: dict[str, type[Cell]] = {"elman": Elman, "lstm": LSTM, "gru": GRU}


def split_cells(text: str) -> list[str]:
    """The cells of a text, commas between them: ``"gru, LSTM(3, peepholes=True)"`` has two.

    Raises:
        InputError: the text cannot be read.
    """
    try:
        tree = ast.parse(f"[{text}]", mode="eval").body
    except SyntaxError:
        raise InputError(f"cannot read the cells {text!r}; {_EXAMPLE}") from None
    cells = [ast.unparse(node) for node in getattr(tree, "elts", [])]
    if not cells:
        raise InputError(f"there is no cell in {text!r}; {_EXAMPLE}")
    return cells


def build_cells(
    cells: Iterable[str | Cell], units: int, forget_bias: float
) -> list[tuple[str, Cell]]:
    """What each cell is called, and the cell.

    Arguments:
        cells: a name, which gets `units` and `forget_bias`; a text with options; or a cell.
        units: of the cells that are given by name alone.
        forget_bias: the first bias of their gates that keep: forget gates, update gates.

    Raises:
        InputError: an unknown cell, or options that it does not take.
        ArchitectureError: options out of range.
    """
    return [_build(cell, units, forget_bias) for cell in cells]


def _build(given: str | Cell, units: int, forget_bias: float) -> tuple[str, Cell]:
    if isinstance(given, Cell):
        return format_spec(given), given
    name = given.strip().lower()
    if name == "elman":
        return name, Elman(units)
    if name == "lstm":
        return name, LSTM(units, forget_bias=forget_bias)
    if name == "gru":
        return name, GRU(units, update_bias=forget_bias)
    cell = _read(given)
    return format_spec(cell), cell


def _read(text: str) -> Cell:
    """The cell of a text with options, all of them plain values."""
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise InputError(f"cannot read the cell {text!r}; {_EXAMPLE}") from None
    function = call.func if isinstance(call, ast.Call) else call
    name = function.id if isinstance(function, ast.Name) else text
    if name.lower() not in CELLS:
        raise InputError(f"there is no cell {name!r}; there are {', '.join(CELLS)}; {_EXAMPLE}")
    try:
        positional, named = _arguments(call)
        return CELLS[name.lower()](*positional, **named)
    except (TypeError, ValueError) as error:
        raise InputError(f"cannot build the cell {text!r}: {error}; {_EXAMPLE}") from None


def _arguments(call: Any) -> tuple[list[Any], dict[str, Any]]:
    positional = [ast.literal_eval(value) for value in call.args]
    return positional, {one.arg: ast.literal_eval(one.value) for one in call.keywords}


_EXAMPLE = "write 'gru' or, with options, 'LSTM(3, forget_bias=6, peepholes=True)'"
