"""What a state does with its arrays, NumPy's and torch's alike: seal, move, convert, compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import array_api_compat as compat
import numpy as np

from statewise.errors import StateError
from statewise.types import Array, array_namespace, dtype_name, is_torch

FLOATS = ("float16", "bfloat16", "float32", "float64")


def as_read_only(array: Array) -> Array:
    """The array as a state holds it: a NumPy array can no longer be written to through it."""
    if is_torch(array):
        return array
    if not compat.is_array_api_obj(array):
        raise StateError(f"a state holds NumPy arrays or torch tensors, got {type(array).__name__}")
    if isinstance(array, np.ndarray):
        array = array.view()
        array.flags.writeable = False
    return array


def to_numpy(array: Array) -> Array:
    """The same values in NumPy, detached, on the CPU."""
    if not is_torch(array):
        return array
    if dtype_name(array) == "bfloat16":
        raise StateError("NumPy has no bfloat16; convert first: state.to(torch.float32)")
    return array.detach().cpu().numpy()


def dtype_word(item: Any) -> str | None:
    """The name of a dtype of NumPy or torch, or of one given by name; None for a device."""
    if isinstance(item, str) and item in FLOATS:
        return item
    if type(item).__module__ == "torch":
        return str(item).removeprefix("torch.") if type(item).__name__ == "dtype" else None
    if isinstance(item, (type, np.dtype)):
        return np.dtype(item).name
    return None


def as_float(array: Array, word: str) -> Array:
    """A floating array in the dtype of this name; others as they are."""
    if is_torch(array):
        namespace = array_namespace(array)
        return array.to(getattr(namespace, word)) if array.is_floating_point() else array
    if word == "bfloat16":
        raise StateError("NumPy has no bfloat16; give the state to a torch model first")
    return array.astype(word) if array.dtype.kind == "f" else array


def on_device(array: Array, device: Any) -> Array:
    """The array on another device."""
    if is_torch(array):
        return array.to(device)
    if str(device) == "cpu":
        return array
    raise StateError(
        f"this state holds NumPy arrays, which cannot go to {device!r}; give it to a torch model "
        "as it is, and it moves to the model's device"
    )


def _wide(array: Array) -> np.ndarray:
    """On the host, floats as float64, which holds every one of them."""
    if is_torch(array):
        array = array.detach().cpu()
        array = (array.double() if array.is_floating_point() else array).numpy()
    host = np.asarray(array)
    return host.astype(np.float64) if host.dtype.kind == "f" else host


def is_close(one: Array, other: Array, rtol: float, atol: float) -> bool:
    """Whether two arrays hold the same values: integers exactly, floats within
    ``atol + rtol * |other|``, NaN equal to NaN.
    """
    a, b = _wide(one), _wide(other)
    if a.shape != b.shape:
        return False
    if a.dtype.kind != "f" or b.dtype.kind != "f":
        return np.array_equal(a, b)
    return np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True)


def describe_array(array: Array) -> str:
    """One row's shape, the dtype and the place of an array, in words."""
    library = f"torch on {array.device}" if is_torch(array) else "numpy"
    return f"{tuple(array.shape[1:])} {dtype_name(array)}, {library}"


def row_numbers(index: Any, batch: int) -> np.ndarray:
    """What was given as an index, as int64 row numbers or a mask, on the host."""
    if isinstance(index, slice):
        index = range(batch)[index]
    if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
        index = [index]
    try:
        host = np.asarray(to_numpy(index))
    except ValueError:  # a list of unequal lists
        host = np.asarray(None)
    if host.size == 0 and host.ndim == 1:
        host = host.astype(bool if host.dtype == np.bool_ else np.int64)
    if host.dtype == np.bool_ and host.shape == (batch,):
        return host
    if host.ndim == 1 and host.dtype.kind in "iu":
        numbers = host.astype(np.int64)
        if ((numbers >= -batch) & (numbers < batch)).all():
            return numbers
    raise StateError(
        f"rows takes row numbers below {batch} or a mask of ({batch},) bool, got {index!r}"
    )


def as_position(position: Any, held: Mapping[str, Array]) -> Array:
    """A position as an array; a list becomes one beside the fields."""
    if compat.is_array_api_obj(position):
        return position
    host = np.asarray(position)
    if host.dtype.kind in "iu" or not host.size:
        host = host.astype(np.int64)
    beside = next(filter(is_torch, held.values()), None)
    if beside is None:
        return host
    return array_namespace(beside).asarray(host, device=beside.device)


def zero_position(held: Mapping[str, Array]) -> Array:
    """The position of rows in their initial state."""
    for array in held.values():
        if array.ndim:
            xp = array_namespace(array)
            return xp.zeros(array.shape[0], dtype=xp.int64, device=array.device)
    raise StateError("a state without fields needs a position, to say how many rows it has")
