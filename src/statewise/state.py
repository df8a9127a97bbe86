"""`State`: what a model remembers, as a value.

Named arrays, batch first, with the position of every row. A state is never changed: every method
returns a new one, so keeping a reference is a snapshot and using it twice is a fork.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from statewise.arrays import (
    FLOATS,
    as_float,
    as_position,
    as_read_only,
    describe_array,
    dtype_word,
    is_close,
    on_device,
    row_numbers,
    to_numpy,
    zero_position,
)
from statewise.errors import StateError
from statewise.origin import Origin, RecordedOrigin, check_same_model
from statewise.state_file import dump_state, load_state, read_state, write_state
from statewise.types import Array, array_namespace, dtype_name, is_torch


class State(Mapping[str, Array]):
    """What a model remembers: named arrays, batch first, and the position of every row.

    Arguments:
        arrays: field name -> array (B, ...), NumPy arrays or torch tensors.
        position: how many steps each row has consumed since it last stood in its initial state,
            (B,) int64; zeros where it is not given.

    Raises:
        StateError: arrays that are not batch first or disagree on the batch.

    Example::

        y, state = model(x)                 # after reading x
        state["0.h"], state.position
        a, b = state.rows([0, 2]), state.rows([1])
        State.cat([a, b]).save("s.safetensors")
    """

    # The native kernels read and fill these slots without calling `__init__`, see `state_slots` in
    # native/named_program.h. Both sides rely on this: there is no other slot; `_arrays` is a plain
    # dict, name -> array (B, ...), read-only, in the order of the model's fields; `_position` is
    # (B,) int64, read-only; `origin` is the model's own object, and is compared by identity.
    __slots__ = ("_arrays", "_position", "origin")

    def __init__(
        self,
        arrays: Mapping[str, Array],
        position: Array | None = None,
        *,
        origin: Origin | None = None,
    ) -> None:
        if not isinstance(arrays, Mapping):
            raise StateError(
                f"a state is made from a mapping of names to arrays, got {type(arrays).__name__}; "
                "write sw.State({'0.h': h, '0.c': c}), each array (batch, ...)"
            )
        if "position" in arrays:
            raise StateError(
                "position is not a field: write sw.State(arrays, position), or leave it out of the "
                "arrays"
            )
        held = {name: as_read_only(array) for name, array in arrays.items()}
        position = zero_position(held) if position is None else as_position(position, held)
        for name, array in {"position": position, **held}.items():
            if is_torch(array) != is_torch(position):
                raise StateError(
                    f"a state holds either NumPy arrays or torch tensors, not both: {name!r} is a "
                    f"{type(array).__name__} and its position a {type(position).__name__}"
                )
            if array.ndim == 0 or array.shape[0] != position.shape[0]:
                raise StateError(
                    f"{name!r} has shape {tuple(array.shape)}; every array of a state is batch "
                    f"first, and this state has {position.shape[0]} rows"
                )
        if position.ndim != 1 or dtype_name(position) != "int64":
            raise StateError(
                f"position must be (B,) int64, got {tuple(position.shape)} {dtype_name(position)}"
            )
        self._arrays = held
        self._position = as_read_only(position)
        self.origin = origin

    @classmethod
    def unchecked(cls, arrays: dict[str, Array], position: Array, origin: Origin | None) -> State:
        """A state from arrays known to fit and to be read-only: nothing is checked again."""
        state = cls.__new__(cls)
        state._arrays, state._position, state.origin = arrays, position, origin
        return state

    # Mapping

    def __getitem__(self, name: str) -> Array:
        try:
            return self._arrays[name]
        except KeyError:
            raise KeyError(
                f"this state has no {name!r}; it has {', '.join(self._arrays) or 'no fields'}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    @property
    def position(self) -> Array:
        """How many steps each row has consumed since its last reset, (B,) int64."""
        return self._position

    @property
    def batch(self) -> int:
        """How many rows there are."""
        return int(self._position.shape[0])

    def __repr__(self) -> str:
        position = np.asarray(to_numpy(self._position))
        shown = ", ".join(map(str, position[:6])) + (", ..." if len(position) > 6 else "")
        lines = [f"State(batch={self.batch}, position=[{shown}]"]
        for name, array in self._arrays.items():
            shape = "x".join(map(str, array.shape))
            lines.append(f"  {name}: {shape} {dtype_name(array)}")
        where = getattr(self._position, "device", "cpu")
        library = "torch" if is_torch(self._position) else "numpy"
        return "\n".join([*lines, f"  {library}, {where})"])

    # Rows

    def rows(self, index: Any) -> State:
        """Some rows, in the order given: a number, a slice, a list, or a mask of (B,) bool."""
        if isinstance(index, slice) and (index.step is None or index.step > 0):
            return self.map(lambda array: array[index])
        chosen = self._alongside(row_numbers(index, self.batch))
        return self.map(lambda array: array[chosen])

    def _alongside(self, host: np.ndarray) -> Array:
        """A host array where this state's arrays are."""
        if not is_torch(self._position):
            return host
        xp = array_namespace(self._position)
        return xp.asarray(host, device=self._position.device)

    @staticmethod
    def cat(states: Iterable[State]) -> State:
        """The rows of several states of one model, one after the other."""
        parts = list(states)
        if not parts:
            raise StateError("cat needs at least one state")
        first = parts[0]
        for part in parts[1:]:
            _check_alike(first, part)
        xp = array_namespace(first.position)
        arrays = {name: xp.concat([part[name] for part in parts]) for name in first}
        position = xp.concat([part.position for part in parts])
        return State(arrays, position, origin=first.origin)

    def where(self, mask: Array, other: State) -> State:
        """These rows where the mask, (B,) bool, is true, and the other state's rows elsewhere."""
        _check_alike(self, other)
        if other.batch != self.batch:
            raise StateError(
                f"where needs two states of as many rows, got {self.batch} and {other.batch}"
            )
        xp = array_namespace(self._position)
        chosen = mask if is_torch(mask) and is_torch(self._position) else None
        if chosen is None:
            chosen = self._alongside(np.asarray(to_numpy(mask)))
        if tuple(chosen.shape) != (self.batch,) or dtype_name(chosen) != "bool":
            raise StateError(
                f"where takes a mask of ({self.batch},) bool, "
                f"got {tuple(chosen.shape)} {dtype_name(chosen)}"
            )

        def select(mine: Array, its: Array) -> Array:
            return xp.where(xp.reshape(chosen, (-1,) + (1,) * (mine.ndim - 1)), mine, its)

        arrays = {name: select(self[name], other[name]) for name in self}
        return State(arrays, select(self._position, other._position), origin=self.origin)

    def replace(self, arrays: Mapping[str, Array], position: Array | None = None) -> State:
        """This state with some of its arrays, and the position if given, exchanged."""
        for name, array in arrays.items():
            if name not in self:
                raise StateError(
                    f"this state has no {name!r} to replace; "
                    f"it has {', '.join(self) or 'no fields'}"
                )
            expected, array = self[name], as_read_only(array)
            if (tuple(array.shape), dtype_name(array)) != (
                tuple(expected.shape),
                dtype_name(expected),
            ):
                raise StateError(
                    f"{name!r} must be {tuple(expected.shape)} {dtype_name(expected)}, "
                    f"got {tuple(array.shape)} {dtype_name(array)}"
                )
        return State(
            {**self._arrays, **arrays},
            self._position if position is None else position,
            origin=self.origin,
        )

    # Where and as what the arrays live

    def detach(self) -> State:
        """The same values cut off from the gradient: the boundary of truncated BPTT."""
        if not is_torch(self._position):
            return self
        cut = object.__new__(State)  # unchecked: training comes by here at every chunk
        cut._arrays = {name: array.detach() for name, array in self._arrays.items()}
        cut._position, cut.origin = self._position.detach(), self.origin
        return cut

    def clone(self) -> State:
        """The same values in memory of their own."""
        return self.map(lambda array: array.clone() if is_torch(array) else array.copy())

    def to(self, *target: Any) -> State:
        """On another device or with another floating dtype: ``state.to("cuda")``,
        ``state.to(torch.float64)``, ``state.to("float64")``. Integer fields and the position keep
        their dtype.
        """
        moved = self
        for item in target:
            word = dtype_word(item)
            if word is None:
                moved = moved.map(partial(on_device, device=item))
            elif word in FLOATS:
                moved = moved.map(partial(as_float, word=word))
            else:
                raise StateError(
                    f"a state goes to a device or to one of {', '.join(FLOATS)}, got {item!r}"
                )
        return moved

    def numpy(self) -> State:
        """The same values as NumPy arrays, detached, on the CPU."""
        return self.map(to_numpy)

    def __copy__(self) -> State:
        return self

    def __deepcopy__(self, memo: object) -> State:
        return self.clone()

    def __reduce__(self) -> tuple[Any, ...]:
        origin = self.origin and (self.origin.architecture, self.origin.weights())
        detached = self.detach()
        return _restored, (dict(detached), detached.position, origin)

    def map(self, function: Callable[[Array], Array]) -> State:
        """The state with a function applied to every array and to the position."""
        arrays = {name: function(array) for name, array in self._arrays.items()}
        return State(arrays, function(self._position), origin=self.origin)

    # Comparing

    def allclose(self, other: State, rtol: float = 1e-5, atol: float = 1e-8) -> bool:
        """Whether both states hold the same fields, positions and integers and, within
        ``atol + rtol * |other|``, the same values. NaN equals NaN.
        """
        if not isinstance(other, State) or set(self) != set(other) or self.batch != other.batch:
            return False
        if not np.array_equal(to_numpy(self.position), to_numpy(other.position)):
            return False
        return all(is_close(self[name], other[name], rtol, atol) for name in self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and self.allclose(other, rtol=0.0, atol=0.0)

    __hash__ = None  # type: ignore[assignment]

    # Files

    def save(self, path: str | Path, *, extra: Mapping[str, str] | None = None) -> None:
        """Write the state as safetensors, with the fingerprints of its architecture and weights.

        The file appears whole or not at all. The format is specified in docs/formats.md.

        Arguments:
            path: where to.
            extra: further metadata, text by name.
        """
        write_state(path, self._arrays, self._position, self.origin, extra)

    @classmethod
    def load(cls, path: str | Path) -> State:
        """Read what `save` wrote, as NumPy arrays (as torch tensors where a field is bfloat16,
        which NumPy lacks). A model takes it either way.

        Raises:
            FileError: no state file, or one that is truncated or altered.
        """
        arrays, position, origin = read_state(path)
        return cls(arrays, position, origin=origin)

    def to_bytes(self, *, extra: Mapping[str, str] | None = None) -> bytes:
        """The bytes of the file that `save` writes: for a database, a queue, another process."""
        return dump_state(self._arrays, self._position, self.origin, extra)

    @classmethod
    def from_bytes(cls, data: bytes) -> State:
        """Read what `to_bytes` gave, or the bytes of a state file, as `load` reads a file.

        Raises:
            FileError: bytes that are no state, truncated or altered.
        """
        arrays, position, origin = load_state(data)
        return cls(arrays, position, origin=origin)


def _check_alike(a: State, b: State) -> None:
    """Raise unless rows of these two states may stand in one."""
    given: object = b
    if not isinstance(given, State):
        raise StateError(f"expected a statewise State, got {type(given).__name__}")
    if set(a) != set(b):
        raise StateError(
            f"states with different fields cannot be put together: {list(a)} and {list(b)}"
        )
    for name in ("position", *a):
        mine, its = (state.position if name == "position" else state[name] for state in (a, b))
        if describe_array(mine) != describe_array(its):
            raise StateError(
                f"these states cannot be put together: {name!r} is {describe_array(mine)} in one "
                f"and {describe_array(its)} in the other; bring them together with state.to(...) "
                "or state.numpy()"
            )
    check_same_model(a.origin, b.origin)


def _restored(
    arrays: dict[str, Array], position: Array, origin: tuple[str | None, str | None] | None
) -> State:
    return State(arrays, position, origin=origin and RecordedOrigin(*origin))
