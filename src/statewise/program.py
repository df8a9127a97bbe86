"""`Program`: one call of a model, the same in every executor.

Inputs and state are checked, the layers run, and a new state comes back. What differs between
executors, the arrays and how a segment is run, is passed in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from statewise.architecture import Architecture
from statewise.arrays import to_numpy
from statewise.cell import Cell, declared_fields
from statewise.declarations import Field
from statewise.errors import CarryError, InputError, StateError
from statewise.fitting import check_state
from statewise.inputs import check_layout, check_tokens
from statewise.origin import Origin
from statewise.state import State
from statewise.stepping import check_output
from statewise.timeline import Timeline, build_timeline
from statewise.types import (
    Array,
    Fields,
    Integers,
    Intermediates,
    Parameters,
    array_namespace,
    dtype_name,
    is_torch,
)
from statewise.unroll import (
    MakeInitial,
    Run,
    apply_outputs,
    embed,
    forward,
    initial_fields,
    stepwise,
)
from statewise.validation import is_whole_number

# infinity and NaN come out as in torch, by IEEE 754, without NumPy's warnings
_silence_numpy = np.errstate(all="ignore")


class Program:
    """An architecture made ready to run.

    Arguments:
        architecture: what to run.
    """

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.training_cells = architecture.layers
        self.evaluating_cells = tuple(cell.evaluating() for cell in architecture.layers)
        self.causal = all(cell.causal for cell in architecture.layers)
        self.blocks = ("inputs", *map(str, range(len(architecture.layers))), "outputs")

    @cached_property
    def declared(self) -> list[dict[str, Field]]:
        """Each layer's state fields as it declares them."""
        layers = zip(self.architecture.layers, self.architecture.widths, strict=False)
        return [declared_fields(cell, width) for cell, width in layers]

    @cached_property
    def fields(self) -> list[dict[str, str]]:
        """Each layer's state fields, full name to its own, and the outputs' last."""
        named: dict[str, dict[str, str]] = {block: {} for block in self.blocks[1:]}
        for full in self.architecture.fields:
            block, _, own = full.partition(".")
            named[block][full] = own
        return list(named.values())

    @cached_property
    def parameters(self) -> dict[str, list[str]]:
        """The names of each block's parameters."""
        named: dict[str, list[str]] = {block: [] for block in self.blocks}
        for full in self.architecture.parameters:
            block, _, own = full.partition(".")
            named[block].append(own)
        return named


class Executor:
    """A program with its parameters: where the arrays live, and how a segment is run.

    Arguments:
        program: what to run.
        params: parameters by name, by layer.
        like: an array of the namespace, device and dtype to compute in.
        origin: what the states it returns say of where they come from.
        run: how a segment is run.
        integers: draws random integers in training; None outside it.
    """

    def __init__(
        self,
        program: Program,
        params: Mapping[str, Parameters],
        like: Array,
        origin: Origin,
        run: Run = stepwise,
        integers: Integers | None = None,
    ) -> None:
        self.program, self.architecture = program, program.architecture
        self.params, self.like, self.origin = params, like, origin
        self.run, self.integers = run, integers
        self.dtype = dtype_name(like)
        training = integers is not None
        self.cells: tuple[Cell, ...] = (
            program.training_cells if training else program.evaluating_cells
        )

    def substitute(self, cells: Sequence[Cell], run: Run) -> None:
        """Run these cells, in the place of the model's own, by this run."""
        self.cells, self.run = tuple(cells), run

    def initial_state(self, rows: int) -> State:
        """The initial state of this many rows."""
        if not is_whole_number(rows, at_least=0):
            raise InputError(f"initial_state takes a number of rows, got {rows!r}")
        rows = int(rows)
        return self.join_state([make() for make in self.make_initial(None, rows)], self.zeros(rows))

    @_silence_numpy
    def unroll(
        self,
        x: Array,
        state: State | None,
        reset: Any = None,
        lengths: Any = None,
        initial: State | None = None,
        capture: bool | Collection[str] = False,
    ) -> tuple[Array, State, Intermediates]:
        """Run over (B, T, ...): outputs, the new state, and the intermediates, see `forward`."""
        when = self.read_call(x, reset, lengths)
        make_initial = self.make_initial(initial, when.rows)
        if state is None:
            s, position = [make() for make in make_initial], None
        else:
            state = self.admit_state(state, when.rows)
            s, position = self.split_state(state), state.position
            if not self.program.causal:
                _refuse_carry(state, when)
        *s, last_output = s
        given = (self.architecture, self.cells, self.params, x, s, when, make_initial)
        y, s, intermediates = forward(*given, self.run, capture)
        outputs = {name: when.latest(y, before) for name, before in last_output.items()}
        return y, self.join_state([*s, outputs], when.position(position)), intermediates

    @_silence_numpy
    def step(self, x: Array, state: State | None) -> tuple[Array, State]:
        """Run one step, x (B, ...)."""
        self.check_inputs(x, steps=False)
        rows = int(x.shape[0])
        state = self.initial_state(rows) if state is None else self.admit_state(state, rows)
        *s, last_output = self.split_state(state)
        y = embed(self.architecture, self.params, x)
        new, captured = [], []
        for index, cell in enumerate(self.cells):
            entering = y
            y, after, values = self.run.step(cell, self.params[str(index)], y, s[index])
            check_output(cell, y, entering)
            new.append(after)
            captured.append(values)
        y = apply_outputs(self.architecture, self.params, y, captured)
        # copies: y may be the state's own h, and what a caller does to y must not reach a state
        astype = array_namespace(y).astype
        outputs = {name: astype(y, before.dtype) for name, before in last_output.items()}
        if self.architecture.outputs is None:
            y = astype(y, y.dtype)
        return y, self.join_state([*new, outputs], state.position + 1)

    # State in, state out

    def admit_state(self, state: State, rows: int) -> State:
        """The state checked, and brought to this executor's arrays if those are NumPy's.

        Raises:
            StateError: a state that does not fit.
        """
        check_state(state, self.architecture.fields, rows, self.dtype, self.origin)
        mine, its = is_torch(self.like), is_torch(state.position)
        if its and not mine:
            return state.numpy()
        if mine and not its:
            return state.map(self._to_device)
        if mine and state.position.device != self.like.device:
            raise StateError(
                f"the state is on {state.position.device} and the model on {self.like.device}; "
                f"move it with state.to({str(self.like.device)!r})"
            )
        return state

    def split_state(self, state: State) -> list[Fields]:
        """The state of each layer, drawn where a cell draws at random, and the outputs' last."""
        return [self._draw(index, s) for index, s in enumerate(self._split(state))]

    def join_state(self, s: list[Fields], position: Array) -> State:
        """The state of a model from that of each layer and of the outputs."""
        named = {
            full: fields[own]
            for names, fields in zip(self.program.fields, s, strict=True)
            for full, own in names.items()
        }
        if is_torch(self.like):  # nothing to seal, and the cells were held to the contract
            return State.unchecked(named, position, self.origin)
        return State(named, position, origin=self.origin)

    def make_initial(self, initial: State | None, rows: int) -> list[MakeInitial]:
        """For each layer, and for the outputs, what gives its initial state: the given one, of
        `rows` rows or of one for all, or the model's own.
        """
        if initial is None:
            cells = [partial(self._initial_fields, index, rows) for index in range(len(self.cells))]
            return [*cells, partial(self._zero_outputs, rows)]
        if isinstance(initial, State) and initial.batch == 1 and rows != 1:
            initial = initial.rows([0] * rows)
        admitted = self.admit_state(initial, rows)
        return [partial(self._draw, index, s) for index, s in enumerate(self._split(admitted))]

    def zeros(self, rows: int) -> Array:
        """The positions of rows in their initial state."""
        xp = array_namespace(self.like)
        return xp.zeros(rows, dtype=xp.int64, device=self.like.device)

    def _initial_fields(self, index: int, rows: int) -> Fields:
        declared, p = self.program.declared[index], self.params[str(index)]
        return self._draw(index, initial_fields(declared, p, rows, self.dtype, self.like))

    def _draw(self, index: int, s: Fields) -> Fields:
        """A layer's state with what it draws at random; the outputs, last, draw nothing."""
        if self.integers is None or index == len(self.cells):
            return s
        return self.cells[index].draw(s, self.integers)

    def _zero_outputs(self, rows: int) -> Fields:
        """The last outputs before the first step: zeros."""
        xp = array_namespace(self.like)
        shape = (rows, self.architecture.width)
        return {
            own: xp.zeros(shape, dtype=self.like.dtype, device=self.like.device)
            for own in self.program.fields[-1].values()
        }

    def _to_device(self, array: Array) -> Array:
        return array_namespace(self.like).asarray(array.copy(), device=self.like.device)

    def _split(self, state: State) -> list[Fields]:
        return [{own: state[full] for full, own in names.items()} for names in self.program.fields]

    # Inputs

    def read_call(self, x: Array, reset: Any, lengths: Any) -> Timeline:
        """Check the inputs (B, T, ...) and the masks of a call, and read the masks.

        Raises:
            InputError: inputs or masks that do not fit.
        """
        check_layout(x, self.architecture.inputs, self.like, steps=True)
        when = build_timeline(int(x.shape[0]), int(x.shape[1]), reset, lengths, self.like)
        check_tokens(x if when.mask is None else x[when.mask], self.architecture.inputs)
        return when

    def check_inputs(self, x: Array, steps: bool) -> None:
        """Raise unless these inputs, (B, T, ...) or (B, ...) of one step, fit the model."""
        check_layout(x, self.architecture.inputs, self.like, steps)
        check_tokens(x, self.architecture.inputs)


def _refuse_carry(state: State, when: Timeline) -> None:
    carried = (np.asarray(to_numpy(state.position)) > 0) & ~when.starts_fresh()
    if carried.any():
        raise CarryError(
            f"rows {np.flatnonzero(carried).tolist()} come with a carry, and a Bidirectional layer "
            "cannot go on from one: its backward direction would have to have started at a later "
            "step. Call the model without a state, or reset those rows at their first step"
        )
