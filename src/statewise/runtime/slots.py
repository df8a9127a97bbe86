"""`SlotTable`: the states of many sessions in one table, stepped in place."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from statewise.errors import InputError, SlotError
from statewise.runtime.model import Model
from statewise.state import State
from statewise.validation import is_whole_number

_SLOT = 0xFFFFFFFF


class SlotTable:
    """The states of many sessions of one model, each in a slot of a table.

    A step of any set of sessions reads and writes their rows where they lie. A slot is named by a
    handle that also holds how often the slot was opened, so a handle that was closed raises,
    whoever has the slot now. Threads may step different sessions at once; calls for one session
    must follow one another, and one that meets a step of it raises.

    Arguments:
        model: the model, from `statewise.load`.
        capacity: how many sessions there may be at once.

    Example::

        table = SlotTable(sw.load("m.safetensors"), capacity=100_000)
        a, b = table.open(), table.open()
        y = table.step([a, b], x)       # x (2, features) -> y (2, O)
        branch = table.fork(a)
        state = table.read(a)           # a State of one row
        table.close(a)
    """

    def __init__(self, model: Model, capacity: int) -> None:
        if not isinstance(model, Model):
            raise InputError(
                f"SlotTable takes a model from sw.load, got {type(model).__name__}; save a torch "
                "model and load it with sw.load"
            )
        if not is_whole_number(capacity, at_least=1) or capacity > _SLOT:
            raise InputError(f"capacity must be a whole number of at least 1, got {capacity!r}")
        self.model, self.capacity = model, int(capacity)
        self._executor = model.make_executor()
        # How often each slot was opened and closed: odd while it is open.
        self._generations = np.zeros(self.capacity, dtype=np.int64)
        self._busy = np.zeros(self.capacity, dtype=bool)
        self._positions = np.zeros(self.capacity, dtype=np.int64)
        self._free = list(range(self.capacity - 1, -1, -1))
        self._lock = threading.Lock()
        self._initial = model.initial_state(1)
        self._table, self._fields = self._columns()

    def _columns(self) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """The table of the kernels, and every field as an array of `capacity` rows: a part of the
        table, or memory of its own.
        """
        packed = self.model.packed
        fields = self.model.architecture.fields
        if packed is None:
            rows = {
                name: np.zeros((self.capacity, *field.shape), self._initial[name].dtype)
                for name, field in fields.items()
            }
            return None, rows
        table = np.zeros((self.capacity, packed.slot_floats), np.float32)
        columns, offset = {}, 0
        for name, field in fields.items():
            if field.kind == "integer":
                columns[name] = np.zeros((self.capacity, *field.shape), np.int64)
            else:
                columns[name] = table[:, offset : offset + field.shape[0]]
                offset += field.shape[0]
        return table, columns

    def __len__(self) -> int:
        """How many slots are open."""
        return self.capacity - len(self._free)

    def open(self, state: State | None = None) -> int:
        """A free slot, in the given state of one row or the initial one; returns its handle.

        Raises:
            SlotError: every slot is open.
            StateError: a state that does not fit.
        """
        start = self._initial if state is None else self.model.validate_state(state, 1)
        with self._lock:
            if not self._free:
                raise SlotError(
                    f"all {self.capacity} slots are open; close one, or make a larger table"
                )
            slot = self._free.pop()
            self._put(slot, start)
            self._generations[slot] += 1
            return int(self._generations[slot]) << 32 | slot

    def close(self, slot: int) -> None:
        """Give a slot back. Its handle, and every copy of it, is stale from now on."""
        with self._lock:
            index = self._find(slot)
            # Stale first: a step that began before is seen as busy, one that begins now is refused.
            self._generations[index] += 1
            if self._busy[index]:
                self._generations[index] -= 1
                raise SlotError(f"slot {index} is being stepped by another thread")
            self._free.append(index)

    def step(self, slots: Sequence[int] | np.ndarray, x: np.ndarray) -> np.ndarray:
        """One step of some sessions: x (N, features) or (N,) tokens -> y (N, O), row i for
        ``slots[i]``.

        Raises:
            SlotError: a handle that is not open, or listed twice; no session has been stepped then.
            InputError: inputs that do not fit.
        """
        handles = self._handles(slots)
        self._executor.check_inputs(x, steps=False)
        if x.shape[0] != len(handles):
            raise InputError(f"{len(handles)} slots need as many rows of inputs, got {x.shape[0]}")
        if self._table is None:
            return self._step_by_copy(handles, x)
        try:
            y: np.ndarray = self.model.packed.step_slots(
                self._executor.as_packed_input(x),
                handles,
                self._table,
                self._generations,
                self._busy,
                self._positions,
            )
        except ValueError as error:
            raise SlotError(str(error)) from None
        return y

    def read(self, slot: int) -> State:
        """The state of a session, one row, in memory of its own."""
        with self._lock:
            index = self._find(slot)
            arrays = {
                name: column[index : index + 1].copy() for name, column in self._fields.items()
            }
            position = self._positions[index : index + 1].copy()
        return State(arrays, position, origin=self.model.origin)

    def gather(self, slots: Sequence[int] | np.ndarray) -> State:
        """The states of some sessions, row i of ``slots[i]``, in memory of their own."""
        with self._lock:
            index = self._indices(slots)
            arrays = {name: column[index] for name, column in self._fields.items()}
            position = self._positions[index]
        return State(arrays, position, origin=self.model.origin)

    def scatter(self, slots: Sequence[int] | np.ndarray, state: State) -> None:
        """Set some sessions to the rows of a state that `gather` gave."""
        fitting = self.model.validate_state(state, len(slots))
        with self._lock:
            index = self._indices(slots)
            for name, column in self._fields.items():
                column[index] = fitting[name]
            self._positions[index] = fitting.position

    def write(self, slot: int, state: State) -> None:
        """Set a session to a state of one row."""
        fitting = self.model.validate_state(state, 1)
        with self._lock:
            self._put(self._find(slot), fitting)

    def fork(self, slot: int) -> int:
        """A new slot in the state of another; the two go on independently."""
        return self.open(self.read(slot))

    # Within

    def _put(self, index: int, state: State) -> None:
        for name, column in self._fields.items():
            column[index] = state[name][0]
        self._positions[index] = state.position[0]

    def _find(self, handle: int) -> int:
        if not is_whole_number(handle):
            raise SlotError(f"a slot is the number that open() returned, got {handle!r}")
        index, generation = int(handle) & _SLOT, int(handle) >> 32
        stale = index >= self.capacity or self._generations[index] != generation
        if stale or generation % 2 == 0:
            raise SlotError(
                f"slot {index} is not open under this handle: it was closed, or belongs to another "
                "table"
            )
        if self._busy[index]:
            raise SlotError(f"slot {index} is being stepped by another thread")
        return index

    def _indices(self, slots: Sequence[int] | np.ndarray) -> np.ndarray:
        handles = self._handles(slots)
        index = handles & _SLOT
        fits = bool((index < self.capacity).all())
        opened = self._generations[index] == handles >> 32 if fits else None
        if opened is None or not (opened & (handles >> 32 & 1 == 1) & ~self._busy[index]).all():
            for handle in handles.tolist():
                self._find(handle)
        return index

    @staticmethod
    def _handles(slots: Sequence[int] | np.ndarray) -> np.ndarray:
        handles = np.asarray(slots)
        if handles.ndim != 1 or (handles.size and handles.dtype.kind not in "iu"):
            raise SlotError(
                f"slots must be (N,) handles from open(), got {handles.shape} {handles.dtype}"
            )
        return np.require(handles, dtype=np.int64, requirements=["C", "A"])

    def _step_by_copy(self, handles: np.ndarray, x: np.ndarray) -> np.ndarray:
        with self._lock:
            index = self._indices(handles)
            if len(set(index.tolist())) != len(index):
                raise SlotError("a slot is listed twice in one call")
            self._busy[index] = True
        try:
            before = State(
                {name: column[index] for name, column in self._fields.items()},
                self._positions[index],
                origin=self.model.origin,
            )
            y, after = self.model.step(x, before)
            for name, column in self._fields.items():
                column[index] = after[name]
            self._positions[index] = after.position
        finally:
            self._busy[index] = False
        return y
