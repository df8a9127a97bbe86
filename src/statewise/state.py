"""`State`: what a model remembers, as a value.

Named arrays, batch first, with the position of every row. A state is never changed: every method
returns a new one, so keeping a reference is a snapshot and using it twice is a fork.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import array_api_compat as compat
import numpy as np

from statewise import checkpoint
from statewise.architecture import Field
from statewise.errors import FileError, StateError, WeightsChangedWarning
from statewise.types import Array, dtype_name, is_torch

KIND = "statewise.state"

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_OURS = ("numpy.", "statewise.", "torch.")


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
        if "position" in arrays:
            raise StateError(
                "position is not a field: write sw.State(arrays, position), or leave it out of the "
                "arrays"
            )
        held = {name: _sealed(array) for name, array in arrays.items()}
        position = _zero_position(held) if position is None else _whole(position, held)
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
        if isinstance(index, slice) and (index.step is None or index.step > 0):
            return self.map(lambda array: array[index])
        chosen = self._alongside(self._row_numbers(index))
        return self.map(lambda array: array[chosen])

    def _row_numbers(self, index: Any) -> np.ndarray:
        """What was given as an index, as int64 row numbers or a mask, on the host."""
        if isinstance(index, slice):
            index = range(self.batch)[index]
        if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
            index = [index]
        try:
            host = np.asarray(to_numpy(index))
        except ValueError:  # a list of unequal lists
            host = np.asarray(None)
        if host.size == 0 and host.ndim == 1:
            host = host.astype(bool if host.dtype == np.bool_ else np.int64)
        if host.dtype == np.bool_ and host.shape == (self.batch,):
            return host
        if host.ndim == 1 and host.dtype.kind in "iu":
            numbers = host.astype(np.int64)
            if ((numbers >= -self.batch) & (numbers < self.batch)).all():
                return numbers
        raise StateError(
            f"rows takes row numbers below {self.batch} or a mask of ({self.batch},) bool, "
            f"got {index!r}"
        )

    def _alongside(self, host: np.ndarray) -> Array:
        """A host array where this state's arrays are."""
        if not is_torch(self._position):
            return host
        xp = compat.array_namespace(self._position)
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
        xp = compat.array_namespace(first.position)
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
        xp = compat.array_namespace(self._position)
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
            expected, array = self[name], _sealed(array)
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
        ``state.to(torch.float64)``, ``state.to("float64")``. Integer fields and the position keep
        their dtype.
        """
        moved = self
        for item in target:
            word = _dtype_word(item)
            if word is None:
                moved = moved.map(partial(_on_device, device=item))
            elif word in _FLOATS:
                moved = moved.map(partial(_as_float, word=word))
            else:
                raise StateError(
                    f"a state goes to a device or to one of {', '.join(_FLOATS)}, got {item!r}"
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
        return all(_close(_wide(self[name]), _wide(other[name]), rtol, atol) for name in self)

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
        origin = self.origin
        metadata = {
            **(extra or {}),
            "architecture": (origin and origin.architecture) or "",
            "weights": (origin and origin.weights()) or "",
            "fields": json.dumps(list(self)),
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
        names = _fields_in(metadata.get("fields", ""))
        if names is None or sorted(names) != sorted(arrays):
            raise FileError(f"{path} says it has the fields {names}, and has {sorted(arrays)}")
        arrays = {name: arrays[name] for name in names}
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
                f"{dtype_name(array)}; convert it: sw.State({{**state, {name!r}: ...}}, "
                "state.position), or every field with state.to(...)"
            )
    _flag_other_weights(state, origin)


def _flag_other_weights(state: State, origin: Origin) -> None:
    theirs = _other_weights(state.origin, origin)
    if theirs is not None:
        warnings.warn(
            f"this state was made with other weights (fingerprint {theirs[0]}, the model's is "
            f"{theirs[1]}): what it remembers is in another model's terms. Seed a new state "
            "from the history, or go on if the weights were only trained further",
            WeightsChangedWarning,
            stacklevel=_callers_level(),
        )


def _other_weights(a: Origin | None, b: Origin | None) -> tuple[str, str] | None:
    """The fingerprints of two origins where they are known and differ."""
    if a is None or b is None or a == b:
        return None
    mine, its = a.weights(), b.weights()
    return None if mine is None or its is None or mine == its else (mine, its)


def _callers_level() -> int:
    """The stacklevel of the first frame outside statewise and torch: where the call was made."""
    frame, level = sys._getframe(1), 0
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_OURS):
        frame, level = frame.f_back, level + 1  # type: ignore[assignment]
    return level + 1


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
        if _kind(mine) != _kind(its):
            raise StateError(
                f"these states cannot be put together: {name!r} is {_kind(mine)} in one and "
                f"{_kind(its)} in the other; bring them together with state.to(...) or "
                "state.numpy()"
            )
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
    weights = _other_weights(first, second)
    if weights is not None:
        warnings.warn(
            f"these states were made with different weights (fingerprints {weights[0]} and "
            f"{weights[1]}); together they pass for the first one's",
            WeightsChangedWarning,
            stacklevel=_callers_level(),
        )


def _kind(array: Array) -> str:
    """One row's shape, the dtype and the place of an array, in words."""
    library = f"torch on {array.device}" if is_torch(array) else "numpy"
    return f"{tuple(array.shape[1:])} {dtype_name(array)}, {library}"


def to_numpy(array: Array) -> Array:
    """The same values in NumPy, detached, on the CPU."""
    if not is_torch(array):
        return array
    if dtype_name(array) == "bfloat16":
        raise StateError("NumPy has no bfloat16; convert first: state.to(torch.float32)")
    return array.detach().cpu().numpy()


def _wide(array: Array) -> np.ndarray:
    """On the host, floats as float64, which holds every one of them."""
    if is_torch(array):
        array = array.detach().cpu()
        array = (array.double() if array.is_floating_point() else array).numpy()
    host = np.asarray(array)
    return host.astype(np.float64) if host.dtype.kind == "f" else host


def _close(a: np.ndarray, b: np.ndarray, rtol: float, atol: float) -> bool:
    if a.shape != b.shape:
        return False
    if a.dtype.kind != "f" or b.dtype.kind != "f":
        return np.array_equal(a, b)
    return np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True)


def _sealed(array: Array) -> Array:
    if is_torch(array):
        return array
    if not compat.is_array_api_obj(array):
        raise StateError(f"a state holds NumPy arrays or torch tensors, got {type(array).__name__}")
    if isinstance(array, np.ndarray):
        array = array.view()
        array.flags.writeable = False
    return array


def _whole(position: Any, held: Mapping[str, Array]) -> Array:
    """A position as an array; a list becomes one beside the fields."""
    if compat.is_array_api_obj(position):
        return position
    host = np.asarray(position)
    if host.dtype.kind in "iu" or not host.size:
        host = host.astype(np.int64)
    beside = next(filter(is_torch, held.values()), None)
    if beside is None:
        return host
    return compat.array_namespace(beside).asarray(host, device=beside.device)


def _restored(
    arrays: dict[str, Array], position: Array, origin: tuple[str | None, str | None] | None
) -> State:
    return State(arrays, position, origin=origin and Recorded(*origin))


def _fields_in(text: str) -> list[str] | None:
    """The names of a file's fields in order, None where the text is no list of names."""
    try:
        names = json.loads(text)
    except ValueError:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return names


def _zero_position(held: Mapping[str, Array]) -> Array:
    for array in held.values():
        if array.ndim:
            xp = compat.array_namespace(array)
            return xp.zeros(array.shape[0], dtype=xp.int64, device=compat.device(array))
    raise StateError("a state without fields needs a position, to say how many rows it has")


def _dtype_word(item: Any) -> str | None:
    """The name of a dtype of NumPy or torch, or of one given by name; None for a device."""
    if isinstance(item, str) and item in _FLOATS:
        return item
    if type(item).__module__ == "torch":
        return str(item).removeprefix("torch.") if type(item).__name__ == "dtype" else None
    if isinstance(item, (type, np.dtype)):
        return np.dtype(item).name
    return None


def _as_float(array: Array, word: str) -> Array:
    if is_torch(array):
        namespace = compat.array_namespace(array)
        return array.to(getattr(namespace, word)) if array.is_floating_point() else array
    if word == "bfloat16":
        raise StateError("NumPy has no bfloat16; give the state to a torch model first")
    return array.astype(word) if array.dtype.kind == "f" else array


def _on_device(array: Array, device: Any) -> Array:
    if is_torch(array):
        return array.to(device)
    if str(device) == "cpu":
        return array
    raise StateError(
        f"this state holds NumPy arrays, which cannot go to {device!r}; give it to a torch model "
        "as it is, and it moves to the model's device"
    )
