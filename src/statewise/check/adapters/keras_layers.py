"""The recurrent layers of a Keras model, their states, and arrays in and out"""

from __future__ import annotations

from typing import Any

import numpy as np


def list_recurrent(model: Any) -> list[Any]:
    """The recurrent layers of a model, those of nested models included."""
    import keras

    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN)]


def flatten(states: Any) -> list[Any]:
    """The tensors of nested states, in order."""
    import keras

    return [] if states is None else list(keras.tree.flatten(states))


def list_states(layer: Any) -> list[Any]:
    """The variables in which a stateful layer holds its state."""
    return [v for v in flatten(getattr(layer, "states", None)) if v is not None]


def to_array(tensor: Any) -> np.ndarray:
    """Outputs as an array; of outputs with states, the outputs."""
    import keras

    if isinstance(tensor, (list, tuple)):
        tensor = tensor[0]  # outputs come before states
    return np.array(keras.ops.convert_to_numpy(tensor))


def to_tensor(x: np.ndarray) -> Any:
    """An array as a tensor of the backend."""
    import keras

    return keras.ops.convert_to_tensor(x)
