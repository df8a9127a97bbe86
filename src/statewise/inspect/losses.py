"""The loss at every step of a model that predicts its own next input"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from statewise.architecture import Architecture, Tokens
from statewise.errors import InputError
from statewise.types import Array, array_namespace

Loss: TypeAlias = Callable[[Any, Any], Any]
"""Inputs (B, T, ...) and outputs (B, T, O) -> the loss at each step, (B, up to T)."""


def get_next_loss(architecture: Architecture) -> tuple[str, Loss] | None:
    """The loss of a model that predicts its own next input: its unit of measure, and the loss at
    every step but the last, (B, T - 1); None for any other model.

    The loss works on torch tensors, under autograd, and on NumPy arrays.
    """
    if architecture.outputs is None:
        return None
    if isinstance(architecture.inputs, Tokens):
        return ("bits", _bits) if architecture.width == architecture.inputs.size else None
    same = architecture.width == architecture.inputs.features
    return ("squared error", _squared) if same else None


def require_next_loss(architecture: Architecture) -> Loss:
    """The loss of `get_next_loss`.

    Raises:
        InputError: the model does not predict its own next input.
    """
    found = get_next_loss(architecture)
    if found is None:
        raise InputError(
            "this model does not predict its own next input, so it has no loss of its own; give "
            "loss=, a function of inputs and outputs that returns the loss at each step"
        )
    return found[1]


def _bits(x: Array, y: Array) -> Array:
    xp = array_namespace(y)
    scores, wanted = y[:, :-1], xp.astype(x[:, 1:], xp.int64)
    top = xp.max(scores, axis=-1, keepdims=True)
    total = xp.log(xp.sum(xp.exp(scores - top), axis=-1, keepdims=True)) + top
    return (total - xp.take_along_axis(scores, wanted[..., None], axis=-1))[..., 0] / math.log(2)


def _squared(x: Array, y: Array) -> Array:
    xp = array_namespace(y)
    return xp.mean((y[:, :-1] - x[:, 1:]) ** 2, axis=-1)
