"""`State`: what a model remembers, as a value.

Named arrays, batch first, with the position of every row. A state is never changed: every method
returns a new one, so keeping a reference is a snapshot and using it twice is a fork.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import array_api_compat as compat
import numpy as np

from statewise import checkpoint
from statewise.architecture import Field
from statewise.errors import FileError, StateError, WeightsChangedWarning
from statewise.types import Array, dtype_name, is_torch

KIND = "statewise.state"


class Origin(Protocol):
    """Where a state comes from."""

    architecture: str | None

    def weights(self) -> str | None:
        """The fingerprint of the weights it was made with, None where that is no longer known."""


class Recorded:
    """An origin read from a file."""

    def __init__(self, architecture: str | None, weights: str | None) -> None:
        self.architecture = architecture
        self._weights = weights

    def weights(self) -> str | None:
        return self._weights


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
        held = {name: _sealed(array) for name, array in arrays.items()}
        position = _zero_position(held) if position is None else _whole(position)
        for name, array in {"position": position, **held}.items():
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
        self._position = _sealed(position)
        self.origin = origin

    @classmethod
    def _made(cls, arrays: dict[str, Array], position: Array, origin: Origin) -> State:
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
        if isinstance(index, (int, np.integer)):
            index = [int(index)]
        if isinstance(index, Sequence):
            index = np.asarray(index, dtype=None if index else np.int64)
        if not isinstance(index, slice) and not is_torch(index):
            index = np.asarray(index)
        if not isinstance(index, slice):
            self._check_index(index)
            if is_torch(self._position) and not is_torch(index):
                index = compat.array_namespace(self._position).asarray(
                    index, device=self._position.device
                )
        return self.map(lambda array: array[index])

    def _check_index(self, index: Array) -> None:
        name = dtype_name(index)
        if name == "bool":
            good = tuple(index.shape) == (self.batch,)
        else:
            good = index.ndim == 1 and name.startswith(("int", "uint"))
            good = good and all(-self.batch <= int(i) < self.batch for i in index)
        if not good:
            raise StateError(
                f"rows takes row numbers below {self.batch} or a mask of ({self.batch},) bool, "
                f"got {name} of shape {tuple(index.shape)}: {index!r}"
            )

    @staticmethod
    def cat(states: Iterable[State]) -> State:
        """The rows of several states of one model, one after the other."""
        parts = list(states)
        if not parts:
            raise StateError("cat needs at least one state")
        first = parts[0]
        for part in parts[1:]:
            if list(part) != list(first):
                raise StateError(
                    f"states with different fields cannot be put together: {list(first)} and "
                    f"{list(part)}"
                )
            _check_same_model(first, part)
        xp = compat.array_namespace(first.position)
        arrays = {name: xp.concat([part[name] for part in parts]) for name in first}
        position = xp.concat([part.position for part in parts])
        return State(arrays, position, origin=first.origin)

    def where(self, mask: Array, other: State) -> State:
        """These rows where the mask, (B,) bool, is true, and the other state's rows elsewhere."""
        if list(other) != list(self) or other.batch != self.batch:
            raise StateError(
                f"where needs two states of the same fields and batch, got {list(self)} of "
                f"{self.batch} rows and {list(other)} of {other.batch} rows"
            )
        _check_same_model(self, other)
        xp = compat.array_namespace(self._position)
        chosen = xp.asarray(mask, device=compat.device(self._position))
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
            expected = self[name]
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
        return self.map(lambda array: array.detach() if is_torch(array) else array)

    def clone(self) -> State:
        """The same values in memory of their own."""
        return self.map(lambda array: array.clone() if is_torch(array) else array.copy())

    def to(self, *target: Any) -> State:
        """On another device or with another floating dtype: ``state.to("cuda")``,
        ``state.to(torch.float64)``. Integer fields and the position keep their dtype.
        """

        def move(array: Array) -> Array:
            for item in target:
                is_dtype = not isinstance(item, str) and "device" not in type(item).__name__
                if not is_torch(array):
                    array = _to_in_numpy(array, item)
                elif not is_dtype or array.is_floating_point():
                    array = array.to(item)
            return array

        return self.map(move)

    def numpy(self) -> State:
        """The same values as NumPy arrays, detached, on the CPU."""
        return self.map(to_numpy)

    def map(self, function: Callable[[Array], Array]) -> State:
        """The state with a function applied to every array and to the position."""
        arrays = {name: function(array) for name, array in self._arrays.items()}
        return State(arrays, function(self._position), origin=self.origin)

    # Comparing

    def allclose(self, other: State, rtol: float = 1e-5, atol: float = 1e-8) -> bool:
        """Whether both states hold the same fields, positions and, within
        ``atol + rtol * |other|``, the same values. NaN equals NaN.
        """
        if not isinstance(other, State) or list(self) != list(other) or self.batch != other.batch:
            return False
        if not np.array_equal(to_numpy(self.position), to_numpy(other.position)):
            return False
        pairs = [(_wide(self[name]), _wide(other[name])) for name in self]
        return all(
            a.shape == b.shape and np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True)
            for a, b in pairs
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and self.allclose(other, rtol=0.0, atol=0.0)

    __hash__ = None  # type: ignore[assignment]

    # Files

    def save(self, path: str | Path) -> None:
        """Write the state as safetensors, with the fingerprints of its architecture and weights.

        The file appears whole or not at all. The format is specified in docs/formats.md.
        """
        origin = self.origin
        metadata = {
            "architecture": (origin and origin.architecture) or "",
            "weights": (origin and origin.weights()) or "",
        }
        checkpoint.write(path, KIND, {**self._arrays, "position": self._position}, metadata)

    @classmethod
    def load(cls, path: str | Path) -> State:
        """Read what `save` wrote, as NumPy arrays (as torch tensors where a field is bfloat16,
        which NumPy lacks). A model takes it either way.

        Raises:
            FileError: no state file, or one that is truncated or altered.
        """
        arrays, metadata = checkpoint.read(path, KIND)
        if "position" not in arrays:
            raise FileError(f"{path} holds no position; it is not a state file")
        position = arrays.pop("position")
        origin = Recorded(metadata.get("architecture") or None, metadata.get("weights") or None)
        return cls(arrays, position, origin=origin)


def check(
    state: object,
    fields: Mapping[str, Field],
    rows: int,
    dtype: str,
    origin: Origin,
) -> None:
    """Raise unless the state fits a model.

    Arguments:
        state: what was given as a state.
        fields: the model's state fields by full name.
        rows: the batch of the inputs.
        dtype: the dtype the model computes in, as a word.
        origin: the model's own origin; a state of other weights is flagged by a warning.
    """
    if not isinstance(state, State):
        raise StateError(
            f"expected a statewise State, got {type(state).__name__}; a tuple (h, c) as torch uses "
            "is (layers, batch, hidden): build sw.State({'0.h': h[0], '0.c': c[0]}) from it, each "
            "array (batch, hidden)"
        )
    theirs = state.origin.architecture if state.origin is not None else None
    if theirs is not None and theirs != origin.architecture:
        raise StateError(
            f"this state belongs to another architecture: expected fingerprint "
            f"{origin.architecture}, got {theirs}{_first_difference(state, fields)}; it came from "
            "another model, or the architecture has changed since. If the fields mean the same, "
            "drop its origin: sw.State(dict(state), state.position)"
        )
    if list(state) != list(fields) and set(state) != set(fields):
        raise StateError(
            f"the state does not fit this model{_first_difference(state, fields)}; "
            f"the model remembers {', '.join(fields) or 'nothing'}"
        )
    if state.batch != rows:
        raise StateError(
            f"the state has {state.batch} rows and the inputs have {rows}; choose rows with "
            "state.rows([...]), or put states together with State.cat"
        )
    for name, field in fields.items():
        array = state[name]
        expected, came = (rows, *field.shape), tuple(array.shape)
        if came != expected:
            raise StateError(
                f"{name!r} must have shape {expected}, got {came}; states are batch first, one "
                "array for each layer's field"
            )
        if dtype_name(array) != field.dtype(dtype):
            raise StateError(
                f"{name!r} must be {field.dtype(dtype)} in a model that computes in {dtype}, got "
                f"{dtype_name(array)}; convert it with state.to(...)"
            )
    _flag_other_weights(state, origin)


def _flag_other_weights(state: State, origin: Origin) -> None:
    if state.origin is None or state.origin == origin:
        return
    theirs = state.origin.weights()
    if theirs is not None and theirs != origin.weights():
        warnings.warn(
            f"this state was made with other weights (fingerprint {theirs}, the model's is "
            f"{origin.weights()}): what it remembers is in another model's terms. Seed a new state "
            "from the history, or go on if the weights were only trained further",
            WeightsChangedWarning,
            stacklevel=4,
        )


def _first_difference(state: State, fields: Mapping[str, Field]) -> str:
    missing = [name for name in fields if name not in state]
    extra = [name for name in state if name not in fields]
    if missing:
        return f" ({missing[0]!r} is missing)"
    if extra:
        return f" ({extra[0]!r} is not among its fields)"
    for name, field in fields.items():
        if tuple(state[name].shape[1:]) != field.shape:
            return f" ({name!r} is {tuple(state[name].shape[1:])}, expected {field.shape})"
    return ""


def _check_same_model(a: State, b: State) -> None:
    first, second = a.origin, b.origin
    if (
        first is not None
        and second is not None
        and first.architecture is not None
        and second.architecture is not None
        and first.architecture != second.architecture
    ):
        raise StateError(
            f"these states belong to different architectures: {first.architecture} and "
            f"{second.architecture}"
        )


def to_numpy(array: Array) -> Array:
    """The same values in NumPy, detached, on the CPU."""
    if not is_torch(array):
        return array
    if dtype_name(array) == "bfloat16":
        raise StateError("NumPy has no bfloat16; convert first: state.to(torch.float32)")
    return array.detach().cpu().numpy()


def _wide(array: Array) -> np.ndarray:
    if is_torch(array):
        array = array.detach().cpu().double().numpy()
    return np.asarray(array, dtype=np.float64)


def _sealed(array: Array) -> Array:
    if not compat.is_array_api_obj(array):
        raise StateError(f"a state holds NumPy arrays or torch tensors, got {type(array).__name__}")
    if isinstance(array, np.ndarray):
        array = array.view()
        array.flags.writeable = False
    return array


def _whole(position: Any) -> Array:
    return position if compat.is_array_api_obj(position) else np.asarray(position, dtype=np.int64)


def _zero_position(held: Mapping[str, Array]) -> Array:
    for array in held.values():
        if array.ndim:
            xp = compat.array_namespace(array)
            return xp.zeros(array.shape[0], dtype=xp.int64, device=compat.device(array))
    raise StateError("a state without fields needs a position, to say how many rows it has")


def _to_in_numpy(array: Array, item: Any) -> Array:
    if item == "cpu":
        return array
    try:
        dtype = np.dtype(item)
    except TypeError:
        raise StateError(
            f"this state holds NumPy arrays, which cannot go to {item!r}; give it to a torch model "
            "as it is, and it moves to the model's device"
        ) from None
    return array.astype(dtype) if array.dtype.kind == "f" else array
