"""Type aliases, and what to ask an array, shared by every layer.

Arrays are anything that follows the Python array API standard (NumPy arrays, torch tensors),
so ``Array`` is not a class: the code that uses it asks for the arrays' own namespace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import array_api_compat
import numpy as np

Array: TypeAlias = Any
Fields: TypeAlias = dict[str, Array]
"""State arrays of one layer by field name, each (B, ...)."""
Parameters: TypeAlias = Mapping[str, Array]
"""Parameter arrays of one layer by name."""
Intermediates: TypeAlias = dict[str, Array]
"""Values inside a step (gates, candidates) by name, each (B, ...)."""
Seen: TypeAlias = Intermediates
"""The name of `Intermediates` in version 0.1, for cells that were written for it."""
Integers: TypeAlias = Callable[[tuple[int, ...]], Array]
"""Draws random int64 values in [1, 2**32) of a given shape."""


def array_namespace(*arrays: Array) -> Any:
    """The array API of these arrays: NumPy itself, and what wraps the others' namespace.

    `array_api_compat` has a wrapper for NumPy too, whose import takes longer than NumPy's own.
    """
    if len(arrays) != 1:
        known = all(isinstance(array, (np.ndarray, np.generic)) for array in arrays)
        return np if known else array_api_compat.array_namespace(*arrays)
    kind = type(arrays[0])
    if kind not in _NAMESPACES:
        numpy = issubclass(kind, (np.ndarray, np.generic))
        own = getattr(arrays[0], "__array_namespace__", None)
        found = own() if own else array_api_compat.array_namespace(*arrays)
        _NAMESPACES[kind] = np if numpy else found
    return _NAMESPACES[kind]


_NAMESPACES: dict[type, Any] = {}


def dtype_name(array: Array) -> str:
    """The dtype of an array as a plain word: ``float32`` for NumPy and torch alike."""
    return _word(array.dtype)


def is_torch(array: Any) -> bool:
    """Whether this is a torch tensor, told without importing torch."""
    return _is_tensor(type(array))  # type: ignore[arg-type]  # mypy: a metaclass may not hash


# both are asked many times in every call, of a handful of dtypes and classes


@lru_cache
def _word(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


@lru_cache
def _is_tensor(kind: type) -> bool:
    return any(base.__module__ == "torch" and base.__name__ == "Tensor" for base in kind.__mro__)
