"""Nested state, as optimisers and schedules give it, as JSON with its arrays beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from statewise.errors import TrainingError
from statewise.types import Array

_MARK = "$"


def split(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """Turn a nested value into JSON; its tensors go to `arrays`.

    Arguments:
        value: dicts, lists, tuples, counters, numbers, strings, None and tensors, nested.
        name: its path; the tensors are named after it.
        arrays: takes the tensors by name.

    Raises:
        TrainingError: a value of another kind, which only code could restore.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.Tensor):
        arrays[name] = value
        return {_MARK: "tensor", "name": name}
    if isinstance(value, Mapping):
        kind = "counter" if isinstance(value, Counter) else "dict"
        items = [[key, split(item, f"{name}.{key}", arrays)] for key, item in value.items()]
        return {_MARK: kind, "items": items}
    if isinstance(value, (list, tuple)):
        items = [split(item, f"{name}.{index}", arrays) for index, item in enumerate(value)]
        return items if isinstance(value, list) else {_MARK: "tuple", "items": items}
    raise TrainingError(
        f"{name} holds a {type(value).__name__}, which cannot be written to a checkpoint; train "
        "without checkpoint=, or with an optimiser and a schedule whose state is numbers and "
        "tensors"
    )


def join(value: Any, arrays: Mapping[str, Array]) -> Any:
    """Put together what `split` took apart."""
    if isinstance(value, list):
        return [join(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if value[_MARK] == "tensor":
        return copy_to_torch(arrays[value["name"]])
    if value[_MARK] == "tuple":
        return tuple(join(item, arrays) for item in value["items"])
    items = {key: join(item, arrays) for key, item in value["items"]}
    return Counter(items) if value[_MARK] == "counter" else items


def copy_to_torch(array: Array) -> torch.Tensor:
    """Copy an array that was read from a file into memory that torch allocates: kernels may round
    differently where memory is aligned differently.
    """
    return array.clone() if isinstance(array, torch.Tensor) else torch.tensor(array)
