"""`NativeExecutor`: a model through the native kernels, in NumPy.

A model whose every part has kernels is one call; where only some layers have them, those run
natively and the others by their own equations. In other dtypes, and without kernels, everything
runs as in `statewise.program.Executor`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from statewise import kernels
from statewise.architecture import Tokens
from statewise.cell import Cell
from statewise.origin import Origin
from statewise.program import Executor, Program
from statewise.state import State
from statewise.timeline import Timeline
from statewise.types import Array, Fields, Intermediates, Parameters
from statewise.unroll import MakeInitial, Run, Scanning


class LayerByLayer(Scanning):
    """Runs each layer that has kernels natively, resets and lengths included.

    Arguments:
        bf16: keep weights in bfloat16.
    """

    def __init__(self, bf16: bool) -> None:
        self._bf16 = bf16
        self._packed: dict[tuple[int, ...], tuple[Parameters, Any]] = {}

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
        """A whole call of one layer, or None where it has no kernel."""
        packed = self._find(cell, p) if x.dtype == np.float32 else None
        if packed is None:
            return None
        initial = make_initial() if timeline.reset is not None else {}
        y, h, c, gates, cells = packed.forward(
            np.ascontiguousarray(x),
            *_pair(s),
            timeline.reset_steps,
            *_pair(initial),
            timeline.lengths,
            capturing,
        )
        intermediates = kernels.view_intermediates(cell, y, gates, cells) if capturing else {}
        return y, {"h": h} if c is None else {"h": h, "c": c}, intermediates

    def _find(self, cell: Cell, p: Parameters) -> Any:
        if kernels.kernel_name(cell) is None:
            return None
        # A model's arrays live as long as it does, so their identity is theirs alone.
        key = tuple(map(id, p.values()))
        held = self._packed.get(key)
        if held is None:
            held = self._packed[key] = (p, kernels.pack_layer(cell, p, bf16=self._bf16))
        return held[1]


class NativeExecutor(Executor):
    """An executor whose calls go to the kernels wherever they can.

    Arguments:
        program, params, like, origin: as for `Executor`.
        bf16: keep weights in bfloat16.
    """

    def __init__(
        self,
        program: Program,
        params: Mapping[str, Parameters],
        like: Array,
        origin: Origin,
        bf16: bool = False,
    ) -> None:
        super().__init__(program, params, like, origin, LayerByLayer(bf16))
        self.packed = kernels.pack_program(program.architecture, self.cells, params, bf16=bf16)
        self._carries = any(field.kind == "integer" for field in self.architecture.fields.values())

    def substitute(self, cells: Sequence[Cell], run: Run) -> None:
        super().substitute(cells, run)
        self.packed = None  # a whole model in one call, as it was

    def unroll(
        self,
        x: Array,
        state: State | None,
        reset: Any = None,
        lengths: Any = None,
        initial: State | None = None,
        capture: bool | Collection[str] = False,
    ) -> tuple[Array, State, Intermediates]:
        if self.packed is None or capture:
            return super().unroll(x, state, reset, lengths, initial, capture)
        when = self.read_call(x, reset, lengths)
        rows = when.rows
        first = None
        if state is None or when.reset is not None:
            made = [make() for make in self.make_initial(initial, rows)]
            first = self.join_state(made, self.zeros(rows))
        state = first if state is None else self.admit_state(state, rows)
        assert state is not None
        after_reset = None if first is None or when.reset is None else _contiguous(first)
        y, after = self.packed.call(
            self.as_packed_input(x), _contiguous(state), after_reset, when.reset_steps, when.lengths
        )
        if self._carries:
            after |= self._carry(state, after_reset, when)
            after = {name: after[name] for name in self.architecture.fields}
        return y, State(after, when.position(state.position), origin=self.origin), {}

    def step(self, x: Array, state: State | None) -> tuple[Array, State]:
        if self.packed is None:
            return super().step(x, state)
        self.check_inputs(x, steps=False)
        rows = int(x.shape[0])
        state = self.initial_state(rows) if state is None else self.admit_state(state, rows)
        position = np.ascontiguousarray(state.position)
        done = self.packed.step(self.as_packed_input(x), _contiguous(state), position)
        if done is None:
            return super().step(x, state)
        return done[0], State(done[1], done[2], origin=self.origin)

    def as_packed_input(self, x: Array) -> np.ndarray:
        """Inputs that were checked, as the native program reads them."""
        dtype = np.int64 if isinstance(self.architecture.inputs, Tokens) else np.float32
        return np.require(x, dtype=dtype, requirements=["C", "A"])

    def _carry(
        self, state: State, initial: Mapping[str, Array] | None, when: Timeline
    ) -> dict[str, np.ndarray]:
        """Fields that no kernel touches: kept, or back to the initial state where it was reset."""
        names = [
            name for name, field in self.architecture.fields.items() if field.kind == "integer"
        ]
        if initial is None or when.reset is None:
            return {name: state[name] for name in names}
        restarted = np.any(when.reset, axis=1, keepdims=True)
        return {name: np.asarray(np.where(restarted, initial[name], state[name])) for name in names}


def _contiguous(state: State) -> dict[str, np.ndarray]:
    return {name: np.require(array, requirements=["C", "A"]) for name, array in state.items()}


def _pair(s: Fields) -> tuple[np.ndarray | None, np.ndarray | None]:
    h, c = s.get("h"), s.get("c")
    return (
        None if h is None else np.ascontiguousarray(h),
        None if c is None else np.ascontiguousarray(c),
    )
