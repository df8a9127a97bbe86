"""Models of Keras, on the backend that is in use"""

from __future__ import annotations

from typing import Any

import numpy as np

from statewise.check.adapters.keras_layers import list_recurrent, to_tensor
from statewise.check.adapters.keras_subject import KerasSubject
from statewise.check.subject import Inputs
from statewise.errors import InputError

SNIPPETS = {
    "reset": "for layer in model.layers: getattr(layer, 'reset_state', int)()",
    "padding": "model(x, mask=mask)",
    "held": "[np.array(v) for v in layer.states]",
    "explicit": "y, h, c = keras.layers.LSTM(units, return_state=True)(x, initial_state=[h, c])",
    "precision": "keras.layers.LSTM(units, dtype='float32')",
}
NO_DROPOUT = {"dropout": 0.0, "recurrent_dropout": 0.0, "rate": 0.0}


def make_subject(model: Any, inputs: tuple[int | None, ...] | None = None) -> KerasSubject:
    """A copy of the model, without dropout, as the probes see it.

    Raises:
        InputError: no recurrent layer, several inputs, or a shape that is not known.
    """
    import keras

    recurrent = list_recurrent(model)
    if not recurrent:
        raise InputError("the model has no recurrent layer: none is a keras.layers.RNN")
    taken = _find_inputs(model, inputs)
    copy = _copy_model(model, taken)
    copy(to_tensor(taken.draw()))  # some layers are built by their first call
    if copy is not model:
        copy.set_weights(model.get_weights())
    subject = KerasSubject(
        f"keras {keras.__version__} on {keras.backend.backend()}",
        tuple(f"{layer.name}: {type(layer).__name__}" for layer in recurrent),
        taken,
        snippets=SNIPPETS,
        model=copy,
    )
    subject.reset_all()
    subject.initial_values = [
        np.array(keras.ops.convert_to_numpy(variable)) for variable in subject.list_variables()
    ]
    return subject


def _find_inputs(model: Any, shape: tuple[int | None, ...] | None) -> Inputs:
    import keras

    parts = getattr(model, "inputs", None)
    if parts is not None and len(parts) > 1:
        names = ", ".join(part.name for part in parts)
        raise InputError(
            f"the model takes several inputs ({names}); check a model of one sequence input"
        )
    tokens = next(
        (one for one in model._flatten_layers() if isinstance(one, keras.layers.Embedding)), None
    )
    if shape is None:
        if parts:
            shape = tuple(parts[0].shape)
        elif getattr(model, "input_spec", None) is not None and model.built:
            shape = tuple(model.input_spec[0].shape)
        elif isinstance(model, keras.layers.RNN):
            shape = (None, None, 3)
        else:
            raise InputError(
                "the model is not built; give the shape of its inputs: inputs='rows,steps,features'"
            )
    if len(shape) not in (2, 3):
        raise InputError(f"the model takes inputs {shape}; the check takes (rows, steps, features)")
    features = shape[2] if len(shape) == 3 else None
    return Inputs(features, tokens.input_dim if tokens else 2, shape[0], shape[1])


def _copy_model(model: Any, taken: Inputs) -> Any:
    """A functional copy without dropout; the model itself where Keras cannot copy it."""
    import keras

    def copy_without_dropout(layer: Any) -> Any:
        config = layer.get_config()
        return type(layer).from_config(
            {**config, **{k: NO_DROPOUT[k] for k in NO_DROPOUT if k in config}}
        )

    if isinstance(model, (keras.Sequential, keras.src.models.functional.Functional)):
        copy = keras.models.clone_model(model, clone_function=copy_without_dropout)
        return keras.Model(copy.inputs, copy.outputs[0]) if len(copy.outputs) > 1 else copy
    if isinstance(model, keras.Model):
        return model
    shape = (taken.rows, taken.steps, taken.features)
    inputs = keras.Input(batch_shape=shape)
    layer = copy_without_dropout(model)
    out = layer(inputs)
    if model.built:
        layer.set_weights(model.get_weights())
    else:
        model.build(shape)
    return keras.Model(inputs, out[0] if isinstance(out, (list, tuple)) else out)
