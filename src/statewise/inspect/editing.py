"""`edit`: clamp, ablate or steer what is inside a model, for as long as a block lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from statewise.capture import Capture
from statewise.cell import Cell
from statewise.cells.residual import Wrapper
from statewise.errors import InputError
from statewise.inspect.recording import shapes
from statewise.inspect.subject import get_model, suggest
from statewise.model import current_join
from statewise.program import Executor
from statewise.stepping import run_step
from statewise.timeline import Timeline
from statewise.types import Array, Fields, Intermediates, Parameters, array_namespace
from statewise.unroll import MakeInitial, Run, stepwise

Change: TypeAlias = Callable[[Array], Array] | float


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

    The same object is changed, but only for the calls that this thread makes in the block. A
    changed value takes effect on all that is computed from it in the same step: a changed forget
    gate of an LSTM changes c, h and the output. Blocks may be nested: the outer one edits first.

    Arguments:
        model: of `statewise.nn`, of `statewise.load`, or a model of text.
        changes: name -> a number, or a function of the value (B, units) that returns the new one.
            Any value that the cell's step passes through `capture`, as every cell of statewise does
            with all that it shows.
        at: steps of each call, from 0; all of them where it is not given. A text that is generated
            is one call: its steps count from the first character of the prompt.
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
    model = get_model(model)
    widths = {name: shape[-1] for name, (shape, _) in shapes(model).items()}
    chosen = None if units is None else sorted({int(unit) for unit in units})
    by_layer: dict[int, dict[str, Change]] = {}
    for name, change in changes.items():
        if name not in widths:
            hint = suggest(name, widths)
            raise InputError(
                f"nothing in this model is called {name!r}{hint} It has {', '.join(widths)}"
            )
        if chosen and not 0 <= chosen[0] <= chosen[-1] < widths[name]:
            raise InputError(f"{name!r} has units 0 to {widths[name] - 1}, got {chosen}")
        layer, _, own = name.partition(".")
        by_layer.setdefault(int(layer), {})[own] = change
    executor, steps = model.make_executor(), _read_steps(at)
    edited = {}
    for index, own_changes in by_layer.items():
        check_editable(executor, index, own_changes)
        one = _Edit(own_changes, steps, chosen, propagate)
        cell = executor.cells[index]
        before = cell if isinstance(cell, _Edited) else _Edited(cell, ())
        edited[index] = _Edited(before.inner, (*before.edits, one), before.clock)

    def override(executor: Executor) -> None:
        cells = [edited.get(index, cell) for index, cell in enumerate(executor.cells)]
        executor.substitute(cells, _EditedRun(executor.run))

    with model.overridden(override):
        yield model


def check_editable(executor: Executor, index: int, names: Iterable[str]) -> None:
    """Raise unless a layer passes these values through `capture`.

    Arguments:
        executor: of the model.
        index: the layer.
        names: the layer's own names, without its number.
    """
    cell = executor.cells[index]
    if not cell.causal:
        raise InputError(
            f"layer {index} reads in both directions and cannot be edited step by step"
        )
    can: list[str] = []

    def note(name: str, value: Array) -> Array:
        can.append(name)
        return value

    xp, like = array_namespace(executor.like), executor.like
    x = xp.zeros((1, executor.architecture.widths[index]), dtype=like.dtype, device=like.device)
    first = executor.make_initial(None, 1)[index]()
    run_step(cell, executor.params[str(index)], x, first, Capture(note))
    for name in names:
        if name not in can:
            kind = type(cell.inner if isinstance(cell, _Edited) else cell).__name__
            raise InputError(
                f"'{index}.{name}' cannot be changed: the step of {kind} does not pass it through "
                f"capture; declare step(self, p, x, s, capture) and write {name} = "
                f"capture({name!r}, {name}) where it is computed. Of this layer these can be "
                f"changed: {', '.join(can) or 'none'}"
            )


class _EditedRun(Run):
    """Steps edited cells by their equations, and leaves all others to the fast way."""

    def __init__(self, fast: Run) -> None:
        self._fast = fast

    def __call__(
        self, cell: Cell, p: Parameters, x: Array, s: Fields, capturing: bool
    ) -> tuple[Array, Fields, Intermediates]:
        run = stepwise if isinstance(cell, _Edited) else self._fast
        return run(cell, p, x, s, capturing)

    def whole(
        self,
        cell: Cell,
        p: Parameters,
        x: Array,
        s: Fields,
        timeline: Timeline,
        make_initial: MakeInitial,
        capturing: bool,
    ) -> tuple[Array, Fields, Intermediates] | None:
        if isinstance(cell, _Edited):
            cell.clock.start_call()
            return None
        return self._fast.whole(cell, p, x, s, timeline, make_initial, capturing)

    def step(
        self, cell: Cell, p: Parameters, x: Array, s: Fields
    ) -> tuple[Array, Fields, Intermediates]:
        if isinstance(cell, _Edited):
            cell.clock.start_call()
            return super().step(cell, p, x, s)
        return self._fast.step(cell, p, x, s)


class _Clock:
    """Counts the steps of a call, or of calls that are one run, see `joined_calls`."""

    def __init__(self) -> None:
        self._step = 0
        self._join: object | None = None

    def start_call(self) -> None:
        join = current_join()
        if join is None or join is not self._join:
            self._step = 0
        self._join = join

    def advance(self) -> int:
        """The number of the step that begins now."""
        self._step += 1
        return self._step - 1


@dataclass(frozen=True)
class _Edit:
    """Changes of the values of one cell: name by name, at some steps, of some units."""

    changes: Mapping[str, Change]
    at: slice | frozenset[int] | None
    units: list[int] | None
    propagate: bool

    def is_active(self, t: int) -> bool:
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
    clock: _Clock = field(default_factory=_Clock)

    def step(
        self, p: Parameters, x: Array, s: Fields, capture: Capture | None = None
    ) -> tuple[Array, Fields, Intermediates]:
        t = self.clock.advance()
        active = [one for one in self.edits if one.is_active(t)]
        lasting = [one for one in active if one.propagate]
        capture = (capture or Capture()).after(_chain(active))
        y, new, intermediates = run_step(self.inner, p, x, s, capture)
        if len(lasting) < len(active):
            new = run_step(self.inner, p, x, s, Capture(_chain(lasting)))[1]
        return y, new, intermediates


def _chain(edits: Sequence[_Edit]) -> Callable[[str, Array], Array]:
    """All of these edits, one after the other."""

    def edit_value(name: str, value: Array) -> Array:
        for one in edits:
            value = one(name, value)
        return value

    return edit_value


def _read_steps(at: int | Iterable[int] | slice | None) -> slice | frozenset[int] | None:
    if at is None:
        return None
    if isinstance(at, slice):
        bounds = [bound for bound in (at.start, at.stop, at.step) if bound is not None]
    else:
        bounds = [at] if isinstance(at, int) else [int(step) for step in at]
    if any(bound < 0 for bound in bounds):
        raise InputError(f"steps count from 0 in every call, got at={at!r}")
    return at if isinstance(at, slice) else frozenset(bounds)
