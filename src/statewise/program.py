"""`Program`: one call of a model, the same in every executor.

Inputs and state are checked, the layers run, and a new state comes back. What differs between
executors, the arrays and how a segment is run, is passed in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
from array_api_compat import is_numpy_array

from statewise.architecture import Architecture, Vector
from statewise.arrays import to_numpy
from statewise.cell import Cell, Field, fields
from statewise.errors import CarryError, InputError, StateError
from statewise.fitting import check
from statewise.origin import Origin
from statewise.state import State
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
    Fresh,
    Run,
    apply_outputs,
    check_output,
    embed,
    forward,
    initial_fields,
    step,
    stepwise,
)

# infinity and NaN come out as IEEE 754 has them, as in torch; NumPy's warnings are not ours
_ieee = np.errstate(all="ignore")


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
        return [fields(cell, width) for cell, width in layers]

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

    def initial_state(self, rows: int) -> State:
        """The initial state of this many rows."""
        if isinstance(rows, bool) or not isinstance(rows, (int, np.integer)) or rows < 0:
            raise InputError(f"initial_state takes a number of rows, got {rows!r}")
        return self._state(
            [make() for make in self._fresh(None, int(rows))], self._zeros(int(rows))
        )

    @_ieee
    def unroll(
        self,
        x: Array,
        state: State | None,
        reset: Any = None,
        lengths: Any = None,
        start: State | None = None,
        capturing: bool | Collection[str] = False,
    ) -> tuple[Array, State, Intermediates]:
        """Run over (B, T, ...): outputs, the new state, and the intermediates, see `forward`."""
        self._check_inputs(x, steps=True)
        rows, steps = int(x.shape[0]), int(x.shape[1])
        when = build_timeline(rows, steps, reset, lengths, self.like)
        self._check_tokens(x if when.mask is None else x[when.mask])
        fresh = self._fresh(start, rows)
        if state is None:
            s, position = [make() for make in fresh], None
        else:
            state = self._admit(state, rows)
            s, position = self._layers(state), state.position
            if not self.program.causal:
                _refuse_carry(state, when)
        *s, remembered = s
        y, s, intermediates = forward(
            self.architecture, self.cells, self.params, x, s, when, fresh, self.run, capturing
        )
        kept = {name: when.latest(y, before) for name, before in remembered.items()}
        return y, self._state([*s, kept], when.position(position)), intermediates

    @_ieee
    def step(self, x: Array, state: State | None) -> tuple[Array, State]:
        """Run one step, x (B, ...)."""
        self._check_inputs(x, steps=False)
        self._check_tokens(x)
        rows = int(x.shape[0])
        state = self.initial_state(rows) if state is None else self._admit(state, rows)
        s = self._layers(state)
        y = embed(self.architecture, self.params, x)
        new, views = [], []
        native = getattr(self.run, "step", None)
        for index, cell in enumerate(self.cells):
            given = cell, self.params[str(index)], y, s[index]
            entering = y
            y, after, intermediates = (native and native(*given)) or step(*given)
            check_output(cell, y, entering)
            new.append(after)
            views.append(intermediates)
        y = apply_outputs(self.architecture, self.params, y, views)
        # copies: y may be the state's own h, and what a caller does to y must not reach a state
        astype = array_namespace(y).astype
        kept = {name: astype(y, before.dtype) for name, before in s[-1].items()}
        if self.architecture.outputs is None:
            y = astype(y, y.dtype)
        return y, self._state([*new, kept], state.position + 1)

    # State in, state out

    def _initial(self, index: int, rows: int) -> Fields:
        declared, p = self.program.declared[index], self.params[str(index)]
        s = initial_fields(declared, p, rows, self.dtype, self.like)
        return self._drawn(index, s)

    def _drawn(self, index: int, s: Fields) -> Fields:
        """A layer's state with what it draws at random; the outputs, last, draw nothing."""
        if self.integers is None or index == len(self.cells):
            return s
        return self.cells[index].draw(s, self.integers)

    def _unspoken(self, rows: int) -> Fields:
        """What the outputs remember before the first step: zeros."""
        xp = array_namespace(self.like)
        width = self.architecture.width
        return {
            own: xp.zeros((rows, width), dtype=self.like.dtype, device=self.like.device)
            for own in self.program.fields[-1].values()
        }

    def _fresh(self, start: State | None, rows: int) -> list[Fresh]:
        if start is None:
            cells = [partial(self._initial, index, rows) for index in range(len(self.cells))]
            return [*cells, partial(self._unspoken, rows)]
        if isinstance(start, State) and start.batch == 1 and rows != 1:
            start = start.rows([0] * rows)
        admitted = self._admit(start, rows)
        return [partial(self._drawn, index, s) for index, s in enumerate(self._split(admitted))]

    def _admit(self, state: State, rows: int) -> State:
        """The state checked, and brought to this executor's arrays if those are NumPy's."""
        check(state, self.architecture.fields, rows, self.dtype, self.origin)
        mine, its = is_torch(self.like), is_torch(state.position)
        if its and not mine:
            return state.numpy()
        if mine and not its:
            return state.map(self._sent)
        if mine and state.position.device != self.like.device:
            raise StateError(
                f"the state is on {state.position.device} and the model on {self.like.device}; "
                f"move it with state.to({str(self.like.device)!r})"
            )
        return state

    def _sent(self, array: Array) -> Array:
        return array_namespace(self.like).asarray(array.copy(), device=self.like.device)

    def _split(self, state: State) -> list[Fields]:
        return [{own: state[full] for full, own in names.items()} for names in self.program.fields]

    def _layers(self, state: State) -> list[Fields]:
        return [self._drawn(index, s) for index, s in enumerate(self._split(state))]

    def _state(self, s: list[Fields], position: Array) -> State:
        named = {
            full: held[own]
            for names, held in zip(self.program.fields, s, strict=True)
            for full, own in names.items()
        }
        if is_torch(self.like):  # nothing to seal, and the cells were held to the contract
            return State.unchecked(named, position, self.origin)
        return State(named, position, origin=self.origin)

    def _zeros(self, rows: int) -> Array:
        xp = array_namespace(self.like)
        return xp.zeros(rows, dtype=xp.int64, device=self.like.device)

    # Inputs

    def _check_inputs(self, x: Array, steps: bool) -> None:
        inputs = self.architecture.inputs
        fits = is_torch(x) if is_torch(self.like) else is_numpy_array(x)
        if isinstance(inputs, Vector):
            fits = fits and x.ndim == 2 + steps and x.shape[-1] == inputs.features
            fits = fits and dtype_name(x) == self.dtype
        else:
            fits = fits and x.ndim == 1 + steps and dtype_name(x).startswith(("int", "uint"))
        if not fits:
            raise InputError(self._misfit(x, steps))
        self._check_device(x)

    def _misfit(self, x: Array, steps: bool) -> str:
        """What to say of inputs that do not fit."""
        inputs = self.architecture.inputs
        axes = "(batch, time" if steps else "(batch"
        if isinstance(inputs, Vector):
            expected, rank = f"{axes}, {inputs.features}) {self.dtype}", 2 + steps
        else:
            expected, rank = f"{axes}) integers", 1 + steps
        call = "model(x)" if steps else "model.step(x_t)"
        torch = is_torch(self.like)
        if not (is_torch(x) if torch else is_numpy_array(x)):
            kind = "a torch tensor" if torch else "a NumPy array"
            convert = "torch.as_tensor(x)" if torch else "np.asarray(x)"
            return (
                f"{call} takes {kind} of {expected}, got {type(x).__module__}.{type(x).__name__}; "
                f"write {convert}"
            )
        hint = ""
        if isinstance(inputs, Vector):
            shaped = x.ndim == rank and x.shape[-1] == inputs.features
            hint = f"; the model computes in {self.dtype}: convert the inputs or the model"
            hint = hint if shaped else _shape_hint(x, rank, inputs.features, steps)
        return f"{call} expects {expected}, got {tuple(x.shape)} {dtype_name(x)}{hint}"

    def _check_tokens(self, x: Array) -> None:
        """Raise unless all tokens are in the table. On a GPU that would wait for it at every call;
        there the look-up itself fails.
        """
        inputs = self.architecture.inputs
        if isinstance(inputs, Vector) or str(x.device) != "cpu" or 0 in x.shape:
            return
        tokens = array_namespace(x).astype(x, array_namespace(x).int64)
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high >= inputs.size:
            raise InputError(f"tokens must lie in [0, {inputs.size}), got {low} to {high}")

    def _check_device(self, x: Array) -> None:
        if is_torch(x) and x.device != self.like.device:
            raise InputError(
                f"the inputs are on {x.device} and the model on {self.like.device}; move one of "
                "them"
            )


def _shape_hint(x: Array, rank: int, features: int, steps: bool) -> str:
    if x.ndim == rank - 1 and features == 1:
        return "; add the axis of features: x[..., None]"
    if x.ndim == rank - 1 and steps:
        return "; add the axis of the batch: x[None]"
    return "; inputs are batch first"


def _refuse_carry(state: State, when: Timeline) -> None:
    carried = (np.asarray(to_numpy(state.position)) > 0) & ~when.starts_fresh()
    if carried.any():
        raise CarryError(
            f"rows {np.flatnonzero(carried).tolist()} come with a carry, and a Bidirectional layer "
            "cannot go on from one: its backward direction would have to have started at a later "
            "step. Call the model without a state, or reset those rows at their first step"
        )
