"""`edit`: clamp, ablate or steer what is inside a model, for as long as a block lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from array_api_compat import array_namespace

from statewise.cell import Cell
from statewise.cells import GRU, LSTM, Elman, Residual
from statewise.cells.activations import ACTIVATIONS, normalize
from statewise.cells.residual import Wrapper
from statewise.errors import InputError
from statewise.inspect.recording import executor_of, names, suggestion
from statewise.types import Array, Fields, Parameters, Seen

Change: TypeAlias = Callable[[Array], Array] | float
Editor: TypeAlias = Callable[[str, Array], Array]


@contextmanager
def edit(
    model: Any,
    changes: Mapping[str, Change],
    *,
    at: Iterable[int] | slice | None = None,
    units: Iterable[int] | None = None,
    propagate: bool = True,
) -> Iterator[Any]:
    """Within the block, the model computes with these values changed; afterwards it is as before.

    A changed value takes effect on all that is computed from it in the same step: a changed forget
    gate of an LSTM changes c, h and the output.

    Arguments:
        model: of `statewise.nn` or of `statewise.load`.
        changes: name -> a number, or a function of the value (B, units) that returns the new one.
            Of LSTM, GRU and Elman every name; of other cells the fields of the state.
        at: steps of each call, from 0; all of them where it is not given.
        units: which units; all where it is not given.
        propagate: let the change enter the state, or show it in the step's output only and go on
            from the state as it would have been.

    Raises:
        InputError: a name or unit that the model has not, or one that cannot be changed.

    Example::

        with inspect.edit(model, {"0.c": 0.0}, units=[17]):       # ablate
            y, state = model(x)
        with inspect.edit(model, {"0.f": lambda f: f * 0 + 1}, at=range(10, 20)):
            y, state = model(x)
    """
    executor = executor_of(model)
    known = names(model)
    steps = at if at is None or isinstance(at, slice) else frozenset(at)
    by_layer: dict[int, dict[str, Change]] = {}
    for name, change in changes.items():
        if name not in known:
            hint = suggestion(name, known)
            raise InputError(f"nothing in this model is called {name!r}{hint} It has {known}")
        layer, _, own = name.partition(".")
        by_layer.setdefault(int(layer), {})[own] = change
    chosen = None if units is None else sorted({int(unit) for unit in units})
    edited: list[_Edited] = []
    cells = list(executor.cells)
    for layer, own_changes in by_layer.items():
        _check(layer, cells[layer], executor.architecture.widths[layer], own_changes, chosen)
        made = _Edited(cells[layer], own_changes, steps, chosen, propagate)
        cells[layer] = made
        edited.append(made)

    def altered() -> Any:
        return _Restarting(model, saved, cells, edited)

    saved = vars(model).get("_executor")
    packed = vars(model).get("_packed")
    if saved is None:  # torch makes an executor at every call, NumPy keeps one
        vars(model)["_executor"] = altered
    else:
        vars(model).update(_executor=altered(), _packed=None)
    try:
        yield model
    finally:
        if saved is None:
            del vars(model)["_executor"]
        else:
            vars(model).update(_executor=saved, _packed=packed)


class _Restarting:
    """An executor with edited cells, which count steps anew in every call."""

    def __init__(self, model: Any, saved: Any, cells: list[Cell], edited: list[_Edited]) -> None:
        import copy

        executor = copy.copy(saved) if saved is not None else type(model)._executor(model)
        executor.cells = tuple(cells)
        if saved is not None:
            executor.packed = None
        self._executor, self._edited = executor, edited

    def __getattr__(self, name: str) -> Any:
        for cell in self._edited:
            cell.clock[0] = 0
        return getattr(self._executor, name)


@dataclass(frozen=True)
class _Edited(Wrapper):
    """A cell with some of its values changed in every step."""

    changes: Mapping[str, Change]
    at: slice | frozenset[int] | None
    units: list[int] | None
    propagate: bool
    clock: list[int] = field(default_factory=lambda: [0])

    def step(self, p: Parameters, x: Array, s: Fields) -> tuple[Array, Fields, Seen]:
        t = self.clock[0]
        self.clock[0] += 1
        y, new, seen = self.inner.step(p, x, s)
        if not _within(t, self.at):
            return y, new, seen
        shown, changed, seen = _stepped(self.inner, p, x, s, self._edit)
        return shown, changed if self.propagate else new, seen

    def _edit(self, name: str, value: Array) -> Array:
        if name not in self.changes:
            return value
        change, xp = self.changes[name], array_namespace(value)
        new = change(value) if callable(change) else xp.full_like(value, change)
        if tuple(getattr(new, "shape", ())) != tuple(value.shape):
            raise InputError(
                f"an edit of {name!r} must return {tuple(value.shape)}, "
                f"got {tuple(getattr(new, 'shape', ()))}"
            )
        if self.units is None:
            return xp.astype(new, value.dtype)
        chosen = [unit in self.units for unit in range(value.shape[-1])]
        mask = xp.asarray(chosen, device=value.device)
        return xp.where(mask, xp.astype(new, value.dtype), value)


def _within(t: int, at: slice | frozenset[int] | None) -> bool:
    if at is None:
        return True
    if not isinstance(at, slice):
        return t in at
    start, stop, stride = at.start or 0, at.stop, at.step or 1
    return t >= start and (stop is None or t < stop) and (t - start) % stride == 0


def _check(
    layer: int, cell: Cell, inputs: int, changes: Mapping[str, Change], units: list[int] | None
) -> None:
    if not cell.causal:
        raise InputError(
            f"layer {layer} reads in both directions and cannot be edited step by step"
        )
    while type(cell) is Residual:
        cell = cell.inner
    fields = dict(cell.state(inputs))
    for name in changes:
        if type(cell) not in (LSTM, GRU, Elman) and name not in fields:
            raise InputError(
                f"'{layer}.{name}' is computed inside {type(cell).__name__}.step and cannot be "
                f"changed from outside; of this cell the state can be: {', '.join(fields)}"
            )
    width = getattr(cell, "units", None)
    if units is not None and width is not None and not all(0 <= u < width for u in units):
        raise InputError(f"layer {layer} has units 0 to {width - 1}, got {units}")


def _stepped(
    cell: Cell, p: Parameters, x: Array, s: Fields, edit: Editor
) -> tuple[Array, Fields, Seen]:
    """A step in which every value passes through `edit` before anything is computed from it."""
    if type(cell) is Residual:
        y, new, seen = _stepped(cell.inner, p, x, s, edit)
        y = edit("y", x + y)
        return y, new, {**seen, "y": y}
    if type(cell) is LSTM:
        return _lstm(cell, p, x, s, edit)
    if type(cell) is GRU:
        return _gru(cell, p, x, s, edit)
    if type(cell) is Elman:
        a = edit("a", cell.step(p, x, s)[2]["a"])
        h = edit("h", ACTIVATIONS[cell.activation](a))
        return h, {"h": h}, {"a": a, "h": h}
    y, new, seen = cell.step(p, x, s)
    changed = {name: edit(name, value) for name, value in new.items()}
    for name, value in new.items():
        y = changed[name] if y is value else y
    return y, changed, {**seen, **{name: changed[name] for name in changed if name in seen}}


def _lstm(
    cell: LSTM, p: Parameters, x: Array, s: Fields, edit: Editor
) -> tuple[Array, Fields, Seen]:
    xp = array_namespace(x)
    squash, gate = ACTIVATIONS[cell.activation], ACTIVATIONS[cell.recurrent_activation]
    seen = cell.step(p, x, s)[2]
    f, g = edit("f", seen["f"]), edit("g", seen["g"])
    i = edit("i", 1 - f if cell.coupled else seen["i"])
    c = edit("c", f * s["c"] + i * g)
    o = seen["o"]
    if cell.peepholes:
        o = gate(cell._sums(p, x, s["h"])["o"] + p["p"][-1] * c)
    o = edit("o", o)
    shown = normalize(c) * p["cell_scale"] + p["cell_shift"] if cell.layer_norm else c
    h = xp.astype(o * squash(shown), s["h"].dtype)
    h = edit("h", h @ p["P"].T if cell.projection else h)
    return h, {"h": h, "c": c}, {"i": i, "f": f, "g": g, "o": o, "c": c, "h": h}


def _gru(cell: GRU, p: Parameters, x: Array, s: Fields, edit: Editor) -> tuple[Array, Fields, Seen]:
    units, h = cell.units, s["h"]
    seen = cell.step(p, x, s)[2]
    r, z = edit("r", seen["r"]), edit("z", seen["z"])
    from_x = x @ p["W"][2 * units :].T + p["b"][2 * units :]
    recurrent = p["R"][2 * units :]
    remembered = r * (h @ recurrent.T + p["m"]) if cell.reset == "after" else (r * h) @ recurrent.T
    n = edit("n", ACTIVATIONS[cell.activation](from_x + remembered))
    h = edit("h", (1 - z) * n + z * h)
    return h, {"h": h}, {"r": r, "z": z, "n": n, "h": h}
