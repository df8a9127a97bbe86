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
    """The JSON form of a nested value; its tensors go to `arrays`.

    Arguments:
        value: dicts, lists, tuples, counters, numbers, strings, None and tensors, nested.
        name: where it stands; the tensors are called after it.
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


def joined(value: Any, arrays: Mapping[str, Array]) -> Any:
    """What `split` took apart."""
    if isinstance(value, list):
        return [joined(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if value[_MARK] == "tensor":
        return owned(arrays[value["name"]])
    if value[_MARK] == "tuple":
        return tuple(joined(item, arrays) for item in value["items"])
    items = {key: joined(item, arrays) for key, item in value["items"]}
    return Counter(items) if value[_MARK] == "counter" else items


def owned(array: Array) -> torch.Tensor:
    """An array read from a file in memory that torch allocated: kernels may round otherwise where
    memory is aligned otherwise.
    """
    return array.clone() if isinstance(array, torch.Tensor) else torch.tensor(array)
