"""`from_keras`: a Keras model as a statewise model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from statewise.architecture import Vector
from statewise.cell import Cell
from statewise.cells import GRU, LSTM, Bidirectional, Dense, Dropout, Elman, LayerNorm
from statewise.cells.activations import ACTIVATIONS
from statewise.errors import ConversionError, ConversionWarning
from statewise.interop.parts import Draft, join_directions, reorder
from statewise.loading import describe_foreign, framework_of, load_keras, require_keras
from statewise.runtime import Model

RECURRENT = ("SimpleRNN", "LSTM", "GRU")


def from_keras(
    model: Any, *, custom: Mapping[str, Any] | None = None, unsafe: bool = False
) -> Model:
    """A statewise model that computes what a Keras model does.

    Arguments:
        model: a Keras model, or the path of a ``.keras`` or ``.h5`` file: a Sequential or a chain
            of Embedding, SimpleRNN, LSTM, GRU, Bidirectional, Dropout, LayerNormalization, Dense,
            TimeDistributed(Dense), Masking and activations.
        custom: classes of custom layers by name, for reading a file.
        unsafe: let a file run code, see `statewise.interop.load_keras`.

    Returns:
        what `statewise.load` gives: it runs without Keras and torch, serves step by step, and can
        be saved; to train it, ``sw.nn.Model(model.architecture, weights=model.weights())``. It
        returns every step, also where Keras returns the last alone. Where Keras masks padding,
        pass ``lengths``, see `statewise.interop.lengths`; outputs there are zero.

    Raises:
        ConversionError: names every layer that cannot be carried over, or no recurrent layer.
        FileError: a file that is no Keras model.

    Example::

        model = sw.interop.from_keras("model.keras")
        y, state = model(x)
        y_t, state = model.step(x_t, state)
    """
    if isinstance(model, (str, Path)):
        model = load_keras(model, custom=custom, unsafe=unsafe)
    require_keras("from_keras")
    if framework_of(model) != "keras":
        raise ConversionError(
            f"from_keras takes a Keras model or its path, got {describe_foreign(model)}"
        )
    draft = Draft(f"the Keras model {model.name!r}")
    for layer in list_layers(model, draft):
        where = f"{layer.name} ({type(layer).__name__})"
        try:
            _add(draft, where, layer)
        except _NoCounterpartError as reason:
            draft.refuse(where, str(reason))
    architecture, arrays = draft.finish()
    return Model(architecture, arrays)


class _NoCounterpartError(Exception):
    """Why a layer cannot be carried over."""


def list_layers(model: Any, draft: Draft) -> list[Any]:
    """The layers of a chain in order, also of nested models; what is no chain is refused."""
    keras = require_keras("from_keras")
    if isinstance(model, keras.Sequential):
        if not model.built:
            draft.refuse(model.name, "it has no weights yet; build it, or call it once")
        return [inner for layer in model.layers for inner in _open_nested(layer, draft)]
    if not isinstance(model, keras.Model):
        return [model]
    if len(getattr(model, "inputs", None) or ()) > 1:
        names = ", ".join(tensor.name for tensor in model.inputs)
        raise ConversionError(f"{draft.source} has several inputs ({names}); one is carried over")
    if not getattr(model, "outputs", None):
        draft.refuse(model.name, "a subclassed model does not say what it does; use its layers")
        return []
    return _follow_chain(model, draft)


def _follow_chain(model: Any, draft: Draft) -> list[Any]:
    """The layers in order, followed from the first output back to the input."""
    found: list[Any] = []
    tensor = model.outputs[0]
    while True:
        layer, index, output = tensor._keras_history
        node = layer._inbound_nodes[index]
        if output:
            draft.refuse(layer.name, "the model returns a state; a model of statewise always does")
        if not node.input_tensors:
            break
        given = node.arguments.args
        options = set(node.arguments.kwargs) - {"mask", "training"}
        if len(given) != 1 or isinstance(given[0], (list, tuple)) or options:
            draft.refuse(layer.name, "takes several inputs; only a chain is carried over")
            break
        found = [*_open_nested(layer, draft), *found]
        tensor = given[0]
    return found


def _open_nested(layer: Any, draft: Draft) -> list[Any]:
    keras = require_keras("from_keras")
    return list_layers(layer, draft) if isinstance(layer, keras.Model) else [layer]


def _add(draft: Draft, where: str, layer: Any) -> None:
    """One Keras layer as the next layers."""
    kind = type(layer).__name__
    if type(layer).__module__.partition(".")[0] != "keras":
        raise _NoCounterpartError("a custom layer has no counterpart")
    match kind:
        case "InputLayer" | "Masking" | "ActivityRegularization":
            pass
        case "Dropout" | "SpatialDropout1D":
            draft.add(Dropout(float(layer.rate)))
        case "Activation" | "ReLU" | "Softmax":
            draft.activate(where, _read_activation_layer(layer, kind))
        case "TimeDistributed":
            _add(draft, where, layer.layer)
        case _:
            _add_weighted(draft, where, layer)


def _add_weighted(draft: Draft, where: str, layer: Any) -> None:
    """One Keras layer that has weights."""
    kind = type(layer).__name__
    if not layer.built:
        raise _NoCounterpartError("it has no weights yet; build the model, or call it once")
    match kind:
        case "Embedding":
            if draft.inputs is not None:
                raise _NoCounterpartError("an embedding must come first")
            draft.tokens(_to_array(layer.embeddings))
        case "Dense":
            _add_dense(draft, layer)
        case "LayerNormalization":
            _add_layer_norm(draft, layer)
        case "Bidirectional":
            _add_bidirectional(draft, where, layer)
        case _ if kind in RECURRENT:
            _add_one_way(draft, where, layer)
        case _:
            raise _NoCounterpartError("no counterpart")


def _add_one_way(draft: Draft, where: str, layer: Any) -> None:
    if layer.go_backwards:
        raise _NoCounterpartError(
            "go_backwards reads from the end; only Bidirectional does so here"
        )
    cell, arrays = convert_recurrent(layer)
    _add_dropout(draft, where, layer)
    _set_inputs(draft, int(arrays["W"].shape[1]))
    draft.add(cell, arrays)


def _add_bidirectional(draft: Draft, where: str, layer: Any) -> None:
    ahead, behind = layer.forward_layer, layer.backward_layer
    if type(ahead).__name__ not in RECURRENT or type(behind).__name__ not in RECURRENT:
        raise _NoCounterpartError(f"no counterpart of {type(ahead).__name__} in both directions")
    if layer.merge_mode != "concat":
        raise _NoCounterpartError(f"merge_mode={layer.merge_mode!r}; only 'concat' is carried over")
    if not layer.return_sequences:
        raise _NoCounterpartError(
            "return_sequences=False joins the ends of both directions, which is no step's output"
        )
    if ahead.go_backwards or not behind.go_backwards:
        raise _NoCounterpartError("the forward layer must read forward and the other backward")
    (cell, arrays), (other, back) = convert_recurrent(ahead), convert_recurrent(behind)
    if cell != other:
        raise _NoCounterpartError(f"its directions differ: {cell} and {other}")
    _add_dropout(draft, where, ahead)
    _set_inputs(draft, int(arrays["W"].shape[1]))
    draft.add(Bidirectional(cell), join_directions(arrays, back))


def convert_recurrent(layer: Any) -> tuple[Cell, dict[str, np.ndarray]]:
    """The cell of a Keras SimpleRNN, LSTM or GRU, and its parameters."""
    units = int(layer.units)
    arrays = {"W": _to_array(layer.cell.kernel).T, "R": _to_array(layer.cell.recurrent_kernel).T}
    bias = _to_array(layer.cell.bias) if layer.use_bias else None
    act = _read_activation(layer.activation)
    match type(layer).__name__:
        case "SimpleRNN":
            cell: Cell = Elman(units, activation=act)
        case "LSTM":  # gates i, f, c, o: statewise's order
            gate = _read_activation(layer.recurrent_activation)
            cell = LSTM(units, activation=act, recurrent_activation=gate)
        case _:  # gates z, r, h
            gate = _read_activation(layer.recurrent_activation)
            after = bool(layer.reset_after)
            reset = "after" if after else "before"
            cell = GRU(units, reset, activation=act, recurrent_activation=gate)
            arrays = {name: reorder(value, (1, 0, 2)) for name, value in arrays.items()}
            if after:
                arrays["m"] = np.zeros(units, arrays["W"].dtype)
            if bias is not None:
                bias = reorder(bias.reshape(-1, 3, units).swapaxes(0, 1), (1, 0, 2)).swapaxes(0, 1)
                if after:
                    arrays["m"] = bias[1, 2]
                    bias = bias[0] + np.concatenate([bias[1, :2], 0 * bias[1, 2:]])
                bias = bias.reshape(-1)
    arrays["b"] = np.zeros(len(arrays["W"]), arrays["W"].dtype) if bias is None else bias
    return cell, {name: np.ascontiguousarray(value) for name, value in arrays.items()}


def _add_dense(draft: Draft, layer: Any) -> None:
    w = np.ascontiguousarray(_to_array(layer.kernel).T)
    b = _to_array(layer.bias) if layer.use_bias else np.zeros(len(w), w.dtype)
    _set_inputs(draft, w.shape[1])
    draft.add(Dense(int(layer.units), _read_activation(layer.activation)), {"W": w, "b": b})


def _add_layer_norm(draft: Draft, layer: Any) -> None:
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    if list(axes) not in ([-1], [2]):
        raise _NoCounterpartError(f"axis={layer.axis}; only the last axis is carried over")
    if getattr(layer, "rms_scaling", False):
        raise _NoCounterpartError("rms_scaling has no counterpart")
    if not (layer.scale or layer.center):
        raise _NoCounterpartError("scale=False with center=False has no weights to carry over")
    scale = _to_array(layer.gamma) if layer.scale else np.ones_like(_to_array(layer.beta))
    shift = _to_array(layer.beta) if layer.center else np.zeros_like(scale)
    _set_inputs(draft, len(scale))
    draft.add(LayerNorm(float(layer.epsilon)), {"scale": scale, "shift": shift})


def _set_inputs(draft: Draft, width: int) -> None:
    if draft.inputs is None:
        draft.inputs = Vector(width)


def _add_dropout(draft: Draft, where: str, layer: Any) -> None:
    """Dropout of the inputs is a layer of its own; that of the state acts in training alone."""
    if layer.dropout:
        draft.add(Dropout(float(layer.dropout)))
    if layer.recurrent_dropout:
        warnings.warn(
            f"{where}: recurrent_dropout acts in training alone and is left out",
            ConversionWarning,
            stacklevel=5,
        )


def _read_activation_layer(layer: Any, kind: str) -> str:
    if kind == "ReLU":
        if layer.max_value is not None or layer.negative_slope or layer.threshold:
            raise _NoCounterpartError("only the plain ReLU is carried over")
        return "relu"
    if kind == "Softmax":
        if layer.axis != -1:
            raise _NoCounterpartError(f"axis={layer.axis}; only the last axis is carried over")
        return "softmax"
    return _read_activation(layer.activation)


def _read_activation(function: Any) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    own = (getattr(function, "__module__", None) or "").partition(".")[0] == "keras"
    if name not in ACTIVATIONS or not own:
        raise _NoCounterpartError(f"activation {name}; there are {', '.join(ACTIVATIONS)}")
    return name


def _to_array(variable: Any) -> np.ndarray:
    """The value of a Keras variable, in NumPy."""
    keras = require_keras("from_keras")
    return np.array(keras.ops.convert_to_numpy(variable.value))
