"""`to_keras`: a statewise model as a Keras model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from statewise.architecture import Tokens
from statewise.arrays import to_numpy
from statewise.cell import Cell
from statewise.cells import GRU, LSTM, Bidirectional, Dense, Dropout, Elman, LayerNorm
from statewise.interop.parts import Weighted, list_own_options, raise_all, reorder, select_prefix
from statewise.loading import require_keras


def to_keras(model: Weighted, *, stateful: int | None = None) -> Any:
    """A Keras model with the weights of a statewise model.

    Arguments:
        model: a `statewise.nn.Model` or what `statewise.load` gives.
        stateful: the batch size of a Keras model that keeps its state between calls; None for one
            that starts each call from the initial state.

    Returns:
        a ``keras.Sequential`` that returns every step, (B, T, O), on the backend Keras is set to.
        Dropout becomes SpatialDropout1D, which keeps a mask along a sequence as statewise does.

    Raises:
        ConversionError: names every layer for which Keras has none.

    Example::

        sw.interop.to_keras(model).save("model.keras")
    """
    keras = require_keras("to_keras")
    architecture = model.architecture
    problems = [
        f"layer {index} ({type(cell).__name__}): {why}"
        for index, cell in enumerate(architecture.layers)
        if (why := _find_obstacle(cell)) is not None
    ]
    outputs = architecture.outputs
    if outputs is not None and (outputs.inverse or outputs.remember):
        problems.append("outputs: Keras has no counterpart of inverse or remember")
    raise_all("the model", problems)
    arrays = {name: np.asarray(to_numpy(value)) for name, value in model.weights().items()}
    dtype = str(next(iter(arrays.values())).dtype)
    layers: list[tuple[Any, list[np.ndarray]]] = []
    inputs = architecture.inputs
    if isinstance(inputs, Tokens):
        entry = keras.Input((None,), batch_size=stateful, dtype="int32")
        table = keras.layers.Embedding(inputs.size, inputs.width, dtype=dtype)
        layers.append((table, [arrays["inputs.E"]]))
    else:
        entry = keras.Input((None, inputs.features), batch_size=stateful, dtype=dtype)
    for index, cell in enumerate(architecture.layers):
        options = {"dtype": dtype, "stateful": stateful is not None}
        layers.append(_make_layer(keras, cell, select_prefix(arrays, str(index)), options))
    if outputs is not None:
        linear = keras.layers.Dense(outputs.units, dtype=dtype)
        layers.append((linear, [arrays["outputs.W"].T, arrays["outputs.b"]]))
    whole = keras.Sequential([entry, *(layer for layer, _ in layers)])
    for layer, weights in layers:
        if weights:
            layer.set_weights(weights)
    return whole


def _find_obstacle(cell: Cell) -> str | None:
    inner = cell.inner if isinstance(cell, Bidirectional) else cell
    if not isinstance(inner, (LSTM, GRU, Elman, Dense, Dropout, LayerNorm)):
        return "Keras has no counterpart"
    extras = list_own_options(inner)
    if getattr(inner, "projection", None):
        extras.append("projection")
    return f"Keras has no {', '.join(extras)}" if extras else None


def _make_layer(
    keras: Any, cell: Cell, p: Mapping[str, np.ndarray], options: Mapping[str, Any]
) -> tuple[Any, list[np.ndarray]]:
    """A Keras layer, and its weights in Keras's order."""
    plain = {"dtype": options["dtype"]}
    match cell:
        case Dense():
            layer = keras.layers.Dense(cell.units, activation=cell.activation, **plain)
            return layer, [p["W"].T, p["b"]]
        case Dropout():
            return keras.layers.SpatialDropout1D(cell.rate, **plain), []
        case LayerNorm():
            layer = keras.layers.LayerNormalization(epsilon=cell.epsilon, **plain)
            return layer, [p["scale"], p["shift"]]
        case Bidirectional():
            inner = _make_recurrent(keras, cell.inner, options)
            ahead, behind = select_prefix(p, "forward"), select_prefix(p, "backward")
            weights = [*_order_weights(cell.inner, ahead), *_order_weights(cell.inner, behind)]
            return keras.layers.Bidirectional(inner, **plain), weights
        case _:
            return _make_recurrent(keras, cell, options), _order_weights(cell, p)


def _make_recurrent(keras: Any, cell: Any, options: Mapping[str, Any]) -> Any:
    common = {**options, "activation": cell.activation, "return_sequences": True}
    if isinstance(cell, Elman):
        return keras.layers.SimpleRNN(cell.units, **common)
    common["recurrent_activation"] = cell.recurrent_activation
    if isinstance(cell, LSTM):
        return keras.layers.LSTM(cell.units, **common)
    return keras.layers.GRU(cell.units, reset_after=cell.reset == "after", **common)


def _order_weights(cell: Cell, p: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    if not isinstance(cell, GRU):
        return [p["W"].T, p["R"].T, p["b"]]
    w, r, b = (reorder(p[name], (1, 0, 2)) for name in ("W", "R", "b"))
    if "m" in p:
        b = np.stack([b, np.concatenate([np.zeros(2 * cell.units, b.dtype), p["m"]])])
    return [w.T, r.T, b]
