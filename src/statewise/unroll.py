"""The loop: a layer, and a whole model, over (batch, time, features).

Executors differ only in the `Run` they pass in: how one layer runs a segment in which no row is
reset or ends. `stepwise` is the readable one; every other must agree with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from statewise.architecture import Architecture, Tokens
from statewise.cell import Cell
from statewise.declarations import Field
from statewise.stepping import check_output, run_scan, run_step
from statewise.timeline import Timeline
from statewise.types import Array, Fields, Intermediates, Parameters, array_namespace

MakeInitial: TypeAlias = Callable[[], Fields]
"""Gives a layer's initial state, drawn anew at every call where a cell draws at random."""


class Run:
    """How one layer runs: here by the cell's equations, one step after the other.

    This is the reference. Subclasses give faster ways with the same results, and fall back on it.
    """

    def __call__(
        self, cell: Cell, p: Parameters, x: Array, s: Fields, capturing: bool
    ) -> tuple[Array, Fields, Intermediates]:
        """Run a segment of at least one step: x (B, T, F) -> y (B, T, O), the state, and, if
        `capturing`, the intermediates, each (B, T, ...).
        """
        xp = array_namespace(x)
        outputs: list[Array] = []
        values: list[Intermediates] = []
        for t in range(x.shape[1]):
            y, s, intermediates = run_step(cell, p, x[:, t], s)
            outputs.append(y)
            if capturing:
                values.append(intermediates)
        names = values[0] if values else ()
        stacked = {name: xp.stack([one[name] for one in values], axis=1) for name in names}
        return xp.stack(outputs, axis=1), s, stacked

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
        """Run a layer over a whole call, resets and lengths included, or None where it is to be run
        segment by segment.
        """
        return None

    def step(
        self, cell: Cell, p: Parameters, x: Array, s: Fields
    ) -> tuple[Array, Fields, Intermediates]:
        """Run one step, x (B, F)."""
        return run_step(cell, p, x, s)


class Scanning(Run):
    """A cell's own `scan` where it gives one, one step after the other elsewhere."""

    def __call__(
        self, cell: Cell, p: Parameters, x: Array, s: Fields, capturing: bool
    ) -> tuple[Array, Fields, Intermediates]:
        return run_scan(cell, p, x, s) or super().__call__(cell, p, x, s, capturing)


stepwise, scanning = Run(), Scanning()


@dataclass
class LayerCall:
    """One call of a model as a layer meets it: how it runs, and what a reset returns to.

    Arguments:
        run: how a segment is run.
        timeline: the resets and lengths of the call.
        make_initial: gives the initial state that a reset returns to.
        capturing: stack the intermediates to (B, T, ...).
    """

    run: Run
    timeline: Timeline
    make_initial: MakeInitial
    capturing: bool

    def run_cell(
        self, cell: Cell, p: Parameters, x: Array, s: Fields
    ) -> tuple[Array, Fields, Intermediates]:
        """Run one cell over the whole call."""
        given = (self.timeline, self.make_initial, self.capturing)
        return self.run.whole(cell, p, x, s, *given) or self._run_segments(cell, p, x, s)

    def select_initial(self, select: Callable[[Fields], Fields]) -> LayerCall:
        """The same call for an inner cell, whose initial state is a part of the layer's."""
        return replace(self, make_initial=lambda: select(self.make_initial()))

    def reverse_sequences(self, array: Array) -> Array:
        """See `Timeline.reverse_sequences`."""
        return self.timeline.reverse_sequences(array)

    def _run_segments(
        self, cell: Cell, p: Parameters, x: Array, s: Fields
    ) -> tuple[Array, Fields, Intermediates]:
        xp = array_namespace(x)
        outputs: list[Array] = []
        values: list[Intermediates] = []
        for segment in self.timeline.segments:
            if segment.reset is not None:
                s = select_rows(segment.reset, self.make_initial(), s)
            inputs = x[:, segment.start : segment.stop]
            y, after, intermediates = self.run(cell, p, inputs, s, self.capturing)
            check_output(cell, y, inputs)
            s = after if segment.active is None else select_rows(segment.active, after, s)
            outputs.append(y)
            values.append(intermediates)
        if not outputs:
            shape = (x.shape[0], 0, cell.outputs(x.shape[2]))
            return xp.zeros(shape, dtype=x.dtype, device=x.device), s, {}
        if len(outputs) == 1:
            return outputs[0], s, values[0]
        joined = {name: xp.concat([one[name] for one in values], axis=1) for name in values[0]}
        return xp.concat(outputs, axis=1), s, joined


def unroll(
    cell: Cell,
    p: Parameters,
    x: Array,
    s: Fields,
    timeline: Timeline,
    make_initial: MakeInitial,
    run: Run = stepwise,
    capturing: bool = False,
) -> tuple[Array, Fields, Intermediates]:
    """Run one layer over a call.

    Arguments:
        cell: the layer.
        p: its parameters by name.
        x: its inputs, (B, T, F), finite where padded.
        s: its state by field name, each (B, ...).
        timeline, make_initial, run, capturing: see `LayerCall`.

    Returns:
        outputs (B, T, O), undefined where padded; the state after each row's last step; the
        intermediates by name, none where there are no steps.
    """
    call = LayerCall(run, timeline, make_initial, capturing and timeline.steps > 0)
    return cell.unroll(p, x, s, call)


def select_rows(mask: Array, where_true: Fields, where_false: Fields) -> Fields:
    """Rows of one state where the mask, (B,), is true and of the other elsewhere, by selection."""
    xp = array_namespace(mask)
    return {
        name: xp.where(xp.reshape(mask, (-1,) + (1,) * (old.ndim - 1)), where_true[name], old)
        for name, old in where_false.items()
    }


def forward(
    architecture: Architecture,
    cells: Sequence[Cell],
    params: Mapping[str, Parameters],
    x: Array,
    s: Sequence[Fields],
    timeline: Timeline,
    make_initial: Sequence[MakeInitial],
    run: Run = stepwise,
    capture: bool | Collection[str] = False,
) -> tuple[Array, list[Fields], Intermediates]:
    """Run a whole model over a call, layer after layer.

    Arguments:
        architecture: the model's.
        cells: its layers as they are to be run, in training or outside it.
        params: parameters by name, by layer: ``inputs``, ``0``, ``1``, ..., ``outputs``.
        x: inputs (B, T, features), or (B, T) integers for `Tokens`.
        s: the state of each layer.
        timeline: the resets and lengths of the call.
        make_initial: gives the initial state of each layer.
        run: how a segment is run.
        capture: return the intermediates, all of them or these names: ``<layer>.<name>``.

    Returns:
        outputs (B, T, O), zero where padded; the new state of each layer; the intermediates.
    """
    if timeline.mask is not None:
        x = _clear_padding(x, timeline.mask)
    x = embed(architecture, params, x)
    leading: list[Intermediates] = []
    states: list[Fields] = []
    captured: Intermediates = {}
    inverts = architecture.outputs is not None and architecture.outputs.inverse
    for index, cell in enumerate(cells):
        inverted = inverts and index < len(architecture.transforms)
        wanted = _is_wanted(capture, index)
        given = (timeline, make_initial[index], run, wanted or inverted)
        x, state, values = unroll(cell, params[str(index)], x, s[index], *given)
        states.append(state)
        if inverted:
            leading.append(values)
        if wanted:
            captured |= {f"{index}.{name}": value for name, value in values.items()}
    if not isinstance(capture, bool):
        captured = {name: value for name, value in captured.items() if name in capture}
    y = apply_outputs(architecture, params, x, leading)
    if timeline.mask is not None:
        y = _clear_padding(y, timeline.mask)
        captured = {name: _clear_padding(v, timeline.mask) for name, v in captured.items()}
    return y, states, captured


def _is_wanted(capture: bool | Collection[str], layer: int) -> bool:
    """Whether any intermediate of this layer is asked for."""
    if isinstance(capture, bool):
        return capture
    return any(name.startswith(f"{layer}.") for name in capture)


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
        intermediates: those of each leading transform; only read where the outputs go back.
    """
    if architecture.outputs is None:
        return y
    y = y @ params["outputs"]["W"].T + params["outputs"]["b"]
    if architecture.outputs.inverse and 0 not in y.shape:
        pairs = zip(architecture.transforms, intermediates, strict=False)
        for transform, values in reversed(list(pairs)):
            y = transform.inverse(y, values)
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
        learned = p.get(f"{name}0")
        if learned is not None:
            return xp.broadcast_to(xp.astype(learned, kind), shape)
        if isinstance(field.initial, tuple):
            return xp.broadcast_to(xp.asarray(field.initial, dtype=kind, device=where), shape)
        if field.initial == 0:
            return xp.zeros(shape, dtype=kind, device=where)
        return xp.full(shape, field.initial, dtype=kind, device=where)

    return {name: one(name, field) for name, field in declared.items()}


def _clear_padding(x: Array, mask: Array) -> Array:
    """Zero where the mask, (B, T), is false, by selection: NaN in padding does not survive."""
    xp = array_namespace(x)
    return xp.where(xp.reshape(mask, (*mask.shape, *(1,) * (x.ndim - 2))), x, xp.zeros_like(x))
