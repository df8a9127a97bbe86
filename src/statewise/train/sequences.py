"""The sequences behind streams: checked once, read a few steps at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from statewise.errors import InputError
from statewise.types import dtype_name


class Sequences:
    """Arrays of any length along their first axis, never copied whole.

    Arguments:
        arrays: one array, or one for each sequence: (T, F) numbers or (T,) integers, of NumPy
            (memory-mapped ones included) or torch.
        name: what errors call them.

    Raises:
        InputError: something that is no array, or arrays whose steps differ in shape.
    """

    def __init__(self, arrays: Any, name: str) -> None:
        self.name = name
        self.arrays = [_to_numpy(array, name) for array in _list_arrays(arrays, name)]
        if not self.arrays:
            raise InputError(f"{name} is empty; give one array for each sequence")
        for index, array in enumerate(self.arrays):
            _check(array, self._name_of(index))
        self.shape: tuple[int, ...] = self.arrays[0].shape[1:]
        self.tokens = not self.shape
        for index, array in enumerate(self.arrays):
            if array.shape[1:] != self.shape:
                raise InputError(
                    f"every sequence needs steps of the same shape: {self._name_of(0)} has shape "
                    f"{self.arrays[0].shape} and {self._name_of(index)} {array.shape}"
                )

    def __len__(self) -> int:
        return len(self.arrays)

    @property
    def lengths(self) -> list[int]:
        """The steps of each sequence."""
        return [len(array) for array in self.arrays]

    def check_finite(self, sequence: int, start: int, stop: int, dtype: torch.dtype) -> None:
        """Raise if these steps hold a value that is not finite, or would not be in `dtype`."""
        values = self.arrays[sequence][start:stop]
        bad = np.argwhere(~torch.tensor(values).to(dtype).isfinite().numpy())
        if not len(bad):
            return
        step, *place = bad[0].tolist()
        value = values[tuple(bad[0])]
        what = (
            f"too large for {str(dtype).removeprefix('torch.')}; scale the data"
            if np.isfinite(value)
            else "not finite, and would spread to every loss after it; fill the gap, or cut the "
            "sequence there"
        )
        raise InputError(
            f"{self._name_of(sequence)} holds {value} at step {start + step}, place "
            f"{', '.join(map(str, place))}, which is {what}"
        )

    def _name_of(self, index: int) -> str:
        return self.name if len(self.arrays) == 1 else f"{self.name}[{index}]"


def _list_arrays(arrays: Any, name: str) -> list[Any]:
    if isinstance(arrays, (np.ndarray, torch.Tensor)):
        if arrays.ndim > 2 and name == "sequences":
            raise InputError(
                f"one array is one sequence, (T, F) or (T,) tokens, got {tuple(arrays.shape)}; "
                "write list(x) where the first axis counts sequences"
            )
        return [arrays]
    if isinstance(arrays, Iterable) and not isinstance(arrays, (str, bytes, dict)):
        return list(arrays)
    raise InputError(
        f"{name} must be a list of arrays, one for each sequence, got {type(arrays).__name__}"
    )


def _to_numpy(array: Any, name: str) -> np.ndarray:
    """The array as NumPy's, sharing its memory; a memory map stays one, without its slow class."""
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu()
        return np.asarray(array.float() if array.dtype == torch.bfloat16 else array)
    if not isinstance(array, np.ndarray):
        raise InputError(
            f"{name} must hold NumPy arrays or torch tensors, got {type(array).__name__}; convert "
            "each sequence with np.asarray"
        )
    return np.asarray(array)


def _check(array: np.ndarray, called: str) -> None:
    if array.dtype.kind not in "fiub":
        raise InputError(f"{called} must hold numbers, got {dtype_name(array)}")
    if array.ndim == 0:
        raise InputError(f"{called} is a single number; a sequence has an axis of time")
    if 0 in array.shape[1:]:
        raise InputError(f"{called} has shape {array.shape}: its steps hold nothing")
    if array.ndim == 1 and array.dtype.kind == "f":
        raise InputError(
            f"{called} has shape {array.shape} {dtype_name(array)}; a series of numbers is "
            "(T, F), add the axis of features: x[:, None]. Tokens are integers"
        )
