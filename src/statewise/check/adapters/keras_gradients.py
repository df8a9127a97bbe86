"""Gradients through a Keras model, on each backend"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from statewise.check.adapters.keras_layers import to_tensor
from statewise.check.subject import UnavailableError


def compute_gradient(model: Any, x: np.ndarray, cut: int, whole: bool) -> np.ndarray:
    """See `Subject.compute_gradient`, on the backend that Keras runs on."""
    import keras

    backend = keras.backend.backend()
    if backend not in _GRADIENTS:
        raise UnavailableError(f"the check computes no gradients on the backend {backend}")
    return _GRADIENTS[backend](model, x, cut, whole)


def _weight_outputs(y: Any, steps: int) -> Any:
    """A sum of the outputs of the last steps, with fixed weights."""
    import keras

    part = y[:, -steps:] if len(y.shape) > 2 else y
    size = int(np.prod(part.shape))
    weights = np.linspace(-1, 1, size, dtype=np.float32).reshape(tuple(part.shape))
    return keras.ops.sum(part * to_tensor(weights))


def _compute_in_tensorflow(model: Any, x: np.ndarray, cut: int, whole: bool) -> np.ndarray:
    import tensorflow as tf

    before, after = tf.constant(x[:, :cut]), tf.constant(x[:, cut:])
    with tf.GradientTape() as tape:
        tape.watch(before)
        y = model(tf.concat([before, after], 1)) if whole else (model(before), model(after))[1]
        loss = _weight_outputs(y, after.shape[1])
    slope = tape.gradient(loss, before)
    return np.zeros_like(x[:, :cut]) if slope is None else np.asarray(slope)


def _compute_in_torch(model: Any, x: np.ndarray, cut: int, whole: bool) -> np.ndarray:
    from statewise.check.adapters import torch_tensors

    return torch_tensors.compute_gradient(lambda x, _: (model(x), None), x, cut, whole)


def _compute_in_jax(*_: Any) -> np.ndarray:
    raise UnavailableError(
        "on JAX no gradient goes through the state that a layer holds; stateless_call passes it"
    )


_GRADIENTS: dict[str, Callable[..., np.ndarray]] = {
    "tensorflow": _compute_in_tensorflow,
    "torch": _compute_in_torch,
    "jax": _compute_in_jax,
}
