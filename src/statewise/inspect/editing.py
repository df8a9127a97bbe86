"""`edit`: clamp, ablate or steer what is inside a model, for as long as a block lasts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from statewise.cell import Cell
from statewise.cells import GRU, LSTM, Elman, Residual
from statewise.cells.activations import ACTIVATIONS, normalize
from statewise.cells.residual import Wrapper
from statewise.errors import InputError
from statewise.inspect.recording import executor_of, shapes
from statewise.inspect.subject import runner, suggestion
from statewise.program import Executor
from statewise.types import Array, Fields, Intermediates, Parameters, array_namespace
from statewise.unroll import Run, stepwise

Change: TypeAlias = Callable[[Array], Array] | float
Editor: TypeAlias = Callable[[str, Array], Array]


@contextmanager
def edit(
    model: Any,
    changes: Mapping[str, Change],
    *,
    at: int | Iterable[int] | slice | None = None,
    units: Iterable[int] | None = None,
    propagate: bool = True,
) -> Iterator[Any]:
    """Within the block, the model computes with these values changed; afterwards it is as before.

    A changed value takes effect on all that is computed from it in the same step: a changed forget
    gate of an LSTM changes c, h and the output. Blocks may be nested: the outer one edits first.

    Arguments:
        model: of `statewise.nn`, of `statewise.load`, or a model of text.
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
    model = runner(model)
    executor = executor_of(model)
    widths = {name: shape[-1] for name, (shape, _) in shapes(model).items()}
    chosen = None if units is None else sorted({int(unit) for unit in units})
    by_layer: dict[int, dict[str, Change]] = {}
    for name, change in changes.items():
        if name not in widths:
            hint = suggestion(name, widths)
            raise InputError(
                f"nothing in this model is called {name!r}{hint} It has {', '.join(widths)}"
            )
        if chosen and not 0 <= chosen[0] <= chosen[-1] < widths[name]:
            raise InputError(f"{name!r} has units 0 to {widths[name] - 1}, got {chosen}")
        layer, _, own = name.partition(".")
        by_layer.setdefault(int(layer), {})[own] = change
    cells = list(executor.cells)
    for index, own_changes in by_layer.items():
        _check(index, cells[index], executor.architecture.widths[index], own_changes)
        one = _Edit(own_changes, _steps(at), chosen, propagate)
        held = cells[index]
        inner, edits = (held.inner, held.edits) if isinstance(held, _Edited) else (held, ())
        cells[index] = _Edited(inner, (*edits, one))

    def altered(executor: Executor) -> Executor:
        made: Any = copy.copy(executor)
        made.cells, made.run = tuple(cells), _Beside(executor.run)
        if hasattr(made, "packed"):
            made.packed = None  # the whole model in one native call
        return made  # type: ignore[no-any-return]

    base: Any = model._executor  # NumPy's models keep an executor, torch's make one at every call
    saved = {name: vars(model)[name] for name in ("_executor", "_packed") if name in vars(model)}
    vars(model)["_executor"] = (
        altered(base) if isinstance(base, Executor) else lambda: altered(base())
    )
    if "_packed" in saved:
        vars(model)["_packed"] = None
    try:
        yield model
    finally:
        del vars(model)["_executor"]
        vars(model).update(saved)


class _Beside:
    """A run that steps edited cells and leaves all others to the fast way.

    Whole calls and single steps are announced to it first, which is where steps count anew.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def __call__(
        self, cell: Cell, p: Parameters, x: Array, s: Fields, capturing: bool
    ) -> tuple[Array, Fields, Intermediates]:
        return (stepwise if isinstance(cell, _Edited) else self._run)(cell, p, x, s, capturing)

    def whole(self, cell: Cell, *rest: Any) -> Any:
        return self._ask("whole", cell, rest)

    def step(self, cell: Cell, *rest: Any) -> Any:
        return self._ask("step", cell, rest)

    def _ask(self, how: str, cell: Cell, rest: tuple[Any, ...]) -> Any:
        if isinstance(cell, _Edited):
            cell.clock[0] = 0
            return None
        fast = getattr(self._run, how, None)
        return None if fast is None else fast(cell, *rest)


@dataclass(frozen=True)
class _Edit:
    """Changes of the values of one cell: name by name, at some steps, of some units."""

    changes: Mapping[str, Change]
    at: slice | frozenset[int] | None
    units: list[int] | None
    propagate: bool

    def holds(self, t: int) -> bool:
        if self.at is None:
            return True
        if not isinstance(self.at, slice):
            return t in self.at
        start, stop, stride = self.at.start or 0, self.at.stop, self.at.step or 1
        return t >= start and (stop is None or t < stop) and (t - start) % stride == 0

    def __call__(self, name: str, value: Array) -> Array:
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


@dataclass(frozen=True)
class _Edited(Wrapper):
    """A cell with some of its values changed."""

    edits: tuple[_Edit, ...]
    clock: list[int] = field(default_factory=lambda: [0])

    def step(self, p: Parameters, x: Array, s: Fields) -> tuple[Array, Fields, Intermediates]:
        t = self.clock[0]
        self.clock[0] += 1
        held = [one for one in self.edits if one.holds(t)]
        kept = [one for one in held if one.propagate]
        y, new, intermediates = stepped(self.inner, p, x, s, held)
        if len(kept) < len(held):
            new = stepped(self.inner, p, x, s, kept)[1]
        return y, new, intermediates


def _steps(at: int | Iterable[int] | slice | None) -> slice | frozenset[int] | None:
    if at is None:
        return None
    if isinstance(at, slice):
        bounds = [bound for bound in (at.start, at.stop, at.step) if bound is not None]
    else:
        bounds = [at] if isinstance(at, int) else [int(step) for step in at]
    if any(bound < 0 for bound in bounds):
        raise InputError(f"steps count from 0 in every call, got at={at!r}")
    return at if isinstance(at, slice) else frozenset(bounds)


def _check(layer: int, cell: Cell, inputs: int, changes: Iterable[str]) -> None:
    if not cell.causal:
        raise InputError(
            f"layer {layer} reads in both directions and cannot be edited step by step"
        )
    names = ["y"] if isinstance(cell, Residual) else []
    while isinstance(cell, (Residual, _Edited)):
        names = ["y"] if isinstance(cell, Residual) else names
        cell = cell.inner
    fields = [*cell.state(inputs), *names]
    for name in changes:
        if type(cell) not in (LSTM, GRU, Elman) and name not in fields:
            raise InputError(
                f"'{layer}.{name}' is computed inside {type(cell).__name__}.step and cannot be "
                f"changed from outside; of this layer these can be: {', '.join(fields) or 'none'}"
            )


def stepped(
    cell: Cell, p: Parameters, x: Array, s: Fields, editors: Sequence[Editor]
) -> tuple[Array, Fields, Intermediates]:
    """A step in which every value passes through the editors, one after the other, before anything
    is computed from it.
    """

    def edit(name: str, value: Array) -> Array:
        for editor in editors:
            value = editor(name, value)
        return value

    return _stepped(cell, p, x, s, edit) if editors else cell.step(p, x, s)


def _stepped(
    cell: Cell, p: Parameters, x: Array, s: Fields, edit: Editor
) -> tuple[Array, Fields, Intermediates]:
    """A step in which every value passes through `edit` before anything is computed from it."""
    if type(cell) is Residual:
        y, new, intermediates = _stepped(cell.inner, p, x, s, edit)
        y = edit("y", x + y)
        return y, new, {**intermediates, "y": y}
    if type(cell) is LSTM:
        return _lstm(cell, p, x, s, edit)
    if type(cell) is GRU:
        return _gru(cell, p, x, s, edit)
    if type(cell) is Elman:
        a = edit("a", cell.step(p, x, s)[2]["a"])
        h = edit("h", ACTIVATIONS[cell.activation](a))
        return h, {"h": h}, {"a": a, "h": h}
    y, new, intermediates = cell.step(p, x, s)
    changed = {name: edit(name, value) for name, value in new.items()}
    for name, value in new.items():
        y = changed[name] if y is value else y
    return (
        y,
        changed,
        {**intermediates, **{name: changed[name] for name in changed if name in intermediates}},
    )


def _lstm(
    cell: LSTM, p: Parameters, x: Array, s: Fields, edit: Editor
) -> tuple[Array, Fields, Intermediates]:
    xp = array_namespace(x)
    squash, gate = ACTIVATIONS[cell.activation], ACTIVATIONS[cell.recurrent_activation]
    intermediates = cell.step(p, x, s)[2]
    f, g = edit("f", intermediates["f"]), edit("g", intermediates["g"])
    i = edit("i", 1 - f if cell.coupled else intermediates["i"])
    c = edit("c", f * s["c"] + i * g)
    o = intermediates["o"]
    if cell.peepholes:
        o = gate(cell._sums(p, x, s["h"])["o"] + p["p"][-1] * c)
    o = edit("o", o)
    shown = normalize(c) * p["cell_scale"] + p["cell_shift"] if cell.layer_norm else c
    h = xp.astype(o * squash(shown), s["h"].dtype)
    h = edit("h", h @ p["P"].T if cell.projection else h)
    return h, {"h": h, "c": c}, {"i": i, "f": f, "g": g, "o": o, "c": c, "h": h}


def _gru(
    cell: GRU, p: Parameters, x: Array, s: Fields, edit: Editor
) -> tuple[Array, Fields, Intermediates]:
    units, h = cell.units, s["h"]
    intermediates = cell.step(p, x, s)[2]
    r, z = edit("r", intermediates["r"]), edit("z", intermediates["z"])
    from_x = x @ p["W"][2 * units :].T + p["b"][2 * units :]
    recurrent = p["R"][2 * units :]
    remembered = r * (h @ recurrent.T + p["m"]) if cell.reset == "after" else (r * h) @ recurrent.T
    n = edit("n", ACTIVATIONS[cell.activation](from_x + remembered))
    h = edit("h", (1 - z) * n + z * h)
    return h, {"h": h}, {"r": r, "z": z, "n": n, "h": h}
