"""The loop: a layer, and a whole model, over (batch, time, features).

Executors differ only in the `Run` they pass in: how one layer runs a segment in which no row is
reset or ends. `stepwise` is the readable one; every other must agree with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from array_api_compat import is_array_api_obj

from statewise.architecture import Architecture, Tokens
from statewise.cell import Cell, Field
from statewise.cells.bidirectional import Bidirectional, part
from statewise.cells.residual import Residual
from statewise.errors import CellError
from statewise.timeline import Timeline
from statewise.types import Array, Fields, Intermediates, Parameters, array_namespace

Fresh: TypeAlias = Callable[[], Fields]
"""Gives a layer's initial state, drawn anew at every call where a cell draws at random."""


class Run(Protocol):
    """Runs one layer over a segment: x (B, T, F) -> y (B, T, O), the state, the intermediates.

    The intermediates may be left out, ``{}``, unless `capturing` is true. A run may also have two
    methods, each of which gives None where it cannot: ``whole(cell, p, x, s, timeline, fresh,
    capturing)`` runs a layer over a whole call, resets and lengths included, and ``step(cell, p,
    x, s)`` runs one step, x (B, F).
    """

    def __call__(
        self, cell: Cell, p: Parameters, x: Array, s: Fields, capturing: bool
    ) -> tuple[Array, Fields, Intermediates]: ...


def stepwise(
    cell: Cell, p: Parameters, x: Array, s: Fields, capturing: bool
) -> tuple[Array, Fields, Intermediates]:
    """The reference: one step after the other."""
    xp = array_namespace(x)
    outputs: list[Array] = []
    views: list[Intermediates] = []
    for t in range(x.shape[1]):
        y, s, intermediates = step(cell, p, x[:, t], s)
        outputs.append(y)
        if capturing:
            views.append(intermediates)
    names = views[0] if views else ()
    stacked = {name: xp.stack([view[name] for view in views], axis=1) for name in names}
    return xp.stack(outputs, axis=1), s, stacked


def scanning(
    cell: Cell, p: Parameters, x: Array, s: Fields, capturing: bool
) -> tuple[Array, Fields, Intermediates]:
    """A cell's own `scan` where it gives one, one step after the other elsewhere."""
    scan = getattr(cell, "scan", None)
    if scan is None:
        return stepwise(cell, p, x, s, capturing)
    y, new, intermediates = scan(p, x, s)
    return y, conform_state(cell, s, new), intermediates


def step(cell: Cell, p: Parameters, x: Array, s: Fields) -> tuple[Array, Fields, Intermediates]:
    """One step of a cell, held to the contract: x (B, F) -> y (B, O)."""
    returned: Any = cell.step(p, x, s)
    if not isinstance(returned, tuple) or len(returned) != 3:
        came = f"{len(returned)} values" if isinstance(returned, tuple) else type(returned).__name__
        raise CellError(
            f"{type(cell).__name__}.step must return three things, the output, the new state and "
            f"the intermediates ({{}} if nothing), got {came}"
        )
    y, new, intermediates = returned
    return y, conform_state(cell, s, new), intermediates


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


def _shape(value: Any) -> tuple[int, ...] | str:
    return tuple(value.shape) if is_array_api_obj(value) else type(value).__name__


def check_output(cell: Cell, y: Array, x: Array) -> None:
    """Raise unless a cell's output (..., O) is as wide as it says, for inputs x (..., F)."""
    expected = (*x.shape[:-1], cell.outputs(x.shape[-1]))
    if _shape(y) != expected:
        raise CellError(
            f"{type(cell).__name__} returned an output of {_shape(y)}, expected {expected}; give "
            "the width that step returns in outputs(inputs), which says units where the cell has "
            "them and else the width of the inputs"
        )


def unroll(
    cell: Cell,
    p: Parameters,
    x: Array,
    s: Fields,
    timeline: Timeline,
    fresh: Fresh,
    run: Run = stepwise,
    capturing: bool = False,
) -> tuple[Array, Fields, Intermediates]:
    """Run one layer over a call.

    Arguments:
        cell: the layer.
        p: its parameters by name.
        x: its inputs, (B, T, F), finite where padded.
        s: its state by field name, each (B, ...).
        timeline: the resets and lengths of the call.
        fresh: gives the initial state that a reset returns to.
        run: how a segment is run.
        capturing: stack the intermediates to (B, T, ...).

    Returns:
        outputs (B, T, O), undefined where padded; the state after each row's last step; what was
        intermediates by name, nothing where there are no steps.
    """
    capturing = capturing and timeline.steps > 0
    if type(cell) is Residual:
        y, s, intermediates = unroll(cell.inner, p, x, s, timeline, fresh, run, capturing)
        y = x + y
        return y, s, {**intermediates, "y": y} if capturing else {}
    if not cell.causal:
        return _both_ways(cell, p, x, s, timeline, fresh, run, capturing)
    whole = getattr(run, "whole", None)
    done = None if whole is None else whole(cell, p, x, s, timeline, fresh, capturing)
    if done is not None:
        return done  # type: ignore[no-any-return]
    xp = array_namespace(x)
    outputs: list[Array] = []
    views: list[Intermediates] = []
    for segment in timeline.segments:
        if segment.reset is not None:
            s = select_rows(segment.reset, fresh(), s)
        part_of_x = x[:, segment.start : segment.stop]
        y, after, intermediates = run(cell, p, part_of_x, s, capturing)
        check_output(cell, y, part_of_x)
        s = after if segment.active is None else select_rows(segment.active, after, s)
        outputs.append(y)
        views.append(intermediates)
    if not outputs:
        empty = xp.zeros((x.shape[0], 0, cell.outputs(x.shape[2])), dtype=x.dtype, device=x.device)
        return empty, s, {}
    if len(outputs) == 1:
        return outputs[0], s, views[0]
    joined = {name: xp.concat([view[name] for view in views], axis=1) for name in views[0]}
    return xp.concat(outputs, axis=1), s, joined


def select_rows(mask: Array, where_true: Fields, where_false: Fields) -> Fields:
    """Rows of one state where the mask, (B,), is true and of the other elsewhere, by selection."""
    xp = array_namespace(mask)
    return {
        name: xp.where(xp.reshape(mask, (-1,) + (1,) * (old.ndim - 1)), where_true[name], old)
        for name, old in where_false.items()
    }


def _both_ways(
    cell: Cell,
    p: Parameters,
    x: Array,
    s: Fields,
    timeline: Timeline,
    fresh: Fresh,
    run: Run,
    capturing: bool,
) -> tuple[Array, Fields, Intermediates]:
    """A layer that reads in both directions."""
    xp = array_namespace(x)
    if not isinstance(cell, Bidirectional):
        raise CellError(
            f"{type(cell).__name__} says it is not causal; only Bidirectional may be, wrap a "
            "causal cell in it"
        )

    def one_way(way: str, x: Array) -> tuple[Array, Fields, Intermediates]:
        start, anew = part(s, way), lambda: part(fresh(), way)
        return unroll(cell.inner, part(p, way), x, start, timeline, anew, run, capturing)

    ahead, state, intermediates = one_way("forward", x)
    behind, end, back = one_way("backward", timeline.reverse_sequences(x))
    named = {f"forward.{name}": value for name, value in state.items()}
    named |= {f"backward.{name}": value for name, value in end.items()}
    views = {f"forward.{name}": value for name, value in intermediates.items()}
    views |= {f"backward.{name}": timeline.reverse_sequences(value) for name, value in back.items()}
    return xp.concat([ahead, timeline.reverse_sequences(behind)], axis=-1), named, views


def forward(
    architecture: Architecture,
    cells: Sequence[Cell],
    params: Mapping[str, Parameters],
    x: Array,
    s: Sequence[Fields],
    timeline: Timeline,
    fresh: Sequence[Fresh],
    run: Run = stepwise,
    capturing: bool | Collection[str] = False,
) -> tuple[Array, list[Fields], Intermediates]:
    """Run a whole model over a call, layer after layer.

    Arguments:
        architecture: the model's.
        cells: its layers as they are to be run, in training or outside it.
        params: parameters by name, by layer: ``inputs``, ``0``, ``1``, ..., ``outputs``.
        x: inputs (B, T, features), or (B, T) integers for `Tokens`.
        s: the state of each layer.
        timeline: the resets and lengths of the call.
        fresh: the initial state of each layer.
        run: how a segment is run.
        capturing: return the intermediates, all of it or these names: ``<layer>.<name>``.

    Returns:
        outputs (B, T, O), zero where padded; the new state of each layer; the intermediates.
    """
    if timeline.mask is not None:
        x = _clear_padding(x, timeline.mask)
    x = embed(architecture, params, x)
    leading: list[Intermediates] = []
    states: list[Fields] = []
    views: Intermediates = {}
    inverts = architecture.outputs is not None and architecture.outputs.inverse
    for index, cell in enumerate(cells):
        back = inverts and index < len(architecture.transforms)
        shown = _is_wanted(capturing, index)
        x, state, intermediates = unroll(
            cell, params[str(index)], x, s[index], timeline, fresh[index], run, shown or back
        )
        states.append(state)
        if back:
            leading.append(intermediates)
        if shown:
            views |= {f"{index}.{name}": value for name, value in intermediates.items()}
    if not isinstance(capturing, bool):
        views = {name: value for name, value in views.items() if name in capturing}
    y = apply_outputs(architecture, params, x, leading)
    if timeline.mask is not None:
        y = _clear_padding(y, timeline.mask)
        views = {name: _clear_padding(value, timeline.mask) for name, value in views.items()}
    return y, states, views


def _is_wanted(capturing: bool | Collection[str], layer: int) -> bool:
    """Whether any intermediate of this layer is asked for."""
    return (
        capturing
        if isinstance(capturing, bool)
        else any(name.startswith(f"{layer}.") for name in capturing)
    )


def embed(architecture: Architecture, params: Mapping[str, Parameters], x: Array) -> Array:
    """What enters the first layer: the inputs, or the tokens' vectors, (..., width)."""
    if not isinstance(architecture.inputs, Tokens):
        return x
    table = params["inputs"]["E"]
    xp = array_namespace(table)
    rows = xp.take(table, xp.astype(xp.reshape(x, (-1,)), xp.int64), axis=0)
    return xp.reshape(rows, (*x.shape, table.shape[1]))


def apply_outputs(
    architecture: Architecture,
    params: Mapping[str, Parameters],
    y: Array,
    intermediates: Sequence[Intermediates],
) -> Array:
    """The model's output (..., O) from the last layer's, brought back through the transforms.

    Arguments:
        y: the last layer's output, (..., units).
        intermediates: what each of the leading transforms saw; only read where the outputs go back.
    """
    if architecture.outputs is None:
        return y
    y = y @ params["outputs"]["W"].T + params["outputs"]["b"]
    if architecture.outputs.inverse and 0 not in y.shape:
        pairs = zip(architecture.transforms, intermediates, strict=False)
        for transform, view in reversed(list(pairs)):
            y = transform.inverse(y, view)
    return y


def initial_fields(
    declared: Mapping[str, Field], p: Parameters, rows: int, dtype: str, like: Array
) -> Fields:
    """The initial state of a layer: constants, or the learned values where it has them.

    Arguments:
        declared: the layer's fields by name.
        p: its parameters by name.
        rows: B.
        dtype: the dtype the model computes in, as a word.
        like: an array whose namespace and device the state goes to.
    """
    xp, where = array_namespace(like), like.device

    def one(name: str, field: Field) -> Array:
        shape = (rows, *field.shape)
        kind = getattr(xp, field.dtype(dtype))
        learned = p.get(_learned_name(name))
        if learned is not None:
            return xp.broadcast_to(xp.astype(learned, kind), shape)
        if isinstance(field.initial, tuple):
            return xp.broadcast_to(xp.asarray(field.initial, dtype=kind, device=where), shape)
        if field.initial == 0:
            return xp.zeros(shape, dtype=kind, device=where)
        return xp.full(shape, field.initial, dtype=kind, device=where)

    return {name: one(name, field) for name, field in declared.items()}


def _learned_name(field: str) -> str:
    return f"{field}0"


def _clear_padding(x: Array, mask: Array) -> Array:
    """Zero where the mask, (B, T), is false, by selection: NaN in padding does not survive."""
    xp = array_namespace(x)
    return xp.where(xp.reshape(mask, (*mask.shape, *(1,) * (x.ndim - 2))), x, xp.zeros_like(x))
