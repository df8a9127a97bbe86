"""Activations by name, over any array API namespace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from statewise.errors import ArchitectureError
from statewise.types import Array, array_namespace


def sigmoid(x: Array) -> Array:
    """``1 / (1 + exp(-x))`` without overflow, and with the right gradient at zero."""
    xp = array_namespace(x)
    own = getattr(xp, "sigmoid", None)
    if own is not None:
        return own(x)
    return xp.exp(xp.minimum(x, xp.zeros_like(x))) / (1 + xp.exp(-xp.abs(x)))


def tanh(x: Array) -> Array:
    return array_namespace(x).tanh(x)


def relu(x: Array) -> Array:
    """``max(x, 0)``, with the gradient 0 at 0 that torch's kernels take; NaN stays NaN."""
    xp = array_namespace(x)
    return xp.where(x <= 0, xp.zeros_like(x), x)


def softsign(x: Array) -> Array:
    return x / (1 + array_namespace(x).abs(x))


def hard_sigmoid(x: Array) -> Array:
    """``clip(x / 6 + 1 / 2, 0, 1)``, as torch and Keras 3 define it."""
    return array_namespace(x).clip(x / 6 + 0.5, 0.0, 1.0)


def linear(x: Array) -> Array:
    return x


def softmax(x: Array) -> Array:
    """``exp(x) / sum(exp(x))`` over the last axis."""
    xp = array_namespace(x)
    powers = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    return powers / xp.sum(powers, axis=-1, keepdims=True)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    function.__name__: function
    for function in (tanh, sigmoid, relu, softsign, hard_sigmoid, linear, softmax)
}


def check_activation(spec: Any, *names: str) -> None:
    """Raise unless each of these hyperparameters names an activation."""
    for name in names:
        value = getattr(spec, name)
        if value not in ACTIVATIONS:
            raise ArchitectureError(
                f"{type(spec).__name__}: {name} must be one of {', '.join(ACTIVATIONS)}, "
                f"got {value!r}"
            )


def normalize(x: Array, epsilon: float = 1e-5) -> Array:
    """Zero mean and unit variance over the last axis."""
    xp = array_namespace(x)
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    variance = xp.mean(centred * centred, axis=-1, keepdims=True)
    return centred / xp.sqrt(variance + epsilon)
