"""ONNX's RNN, LSTM and GRU as cells: gate orders, biases, activations.

ONNX stacks the gates of an LSTM i, o, f, c and of a GRU z, r, h, directions first, and keeps the
biases of W and R side by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from statewise.cell import Cell
from statewise.cells import GRU, LSTM, Elman
from statewise.errors import ConversionError
from statewise.interop.onnx_chain import Link
from statewise.interop.parts import reorder
from statewise.types import Array

_DEFAULTS = {"RNN": ["Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
_NAMES = {"tanh", "sigmoid", "relu", "softsign"}
Direction = tuple[Cell, dict[str, Array]]


def convert_directions(link: Link) -> list[Direction]:
    """The cell and the parameters of each direction.

    Raises:
        ConversionError: an option that has no counterpart.
    """
    attributes, w = link.attributes, link.constants[1]
    direction = _decode(attributes.get("direction", b"forward"))
    if direction == "reverse":
        raise ConversionError("it reads from the end; only both directions together do so here")
    if attributes.get("clip"):
        raise ConversionError("clip has no counterpart")
    if 2 not in link.constants:
        raise ConversionError("its weights are computed as the graph runs")
    return [_convert_direction(link, index) for index in range(len(w))]


def _convert_direction(link: Link, index: int) -> Direction:
    units = int(link.attributes["hidden_size"])
    w, r = link.constants[1][index], link.constants[2][index]
    gates = len(w) // units
    held = link.constants.get(3)
    biases = np.zeros(2 * gates * units, w.dtype) if held is None else held[index]
    first, second = biases[: gates * units], biases[gates * units :]
    functions = _read_activations(link, index)
    match link.op:
        case "RNN":
            return Elman(units, activation=functions[0]), {"W": w, "R": r, "b": first + second}
        case "GRU":
            return _convert_gru(link, units, functions, (w, r, first, second))
        case _:
            return _convert_lstm(
                link, index, units, functions, {"W": w, "R": r, "b": first + second}
            )


def _convert_gru(
    link: Link, units: int, functions: list[str], arrays: tuple[Array, ...]
) -> Direction:
    w, r, first, second = (reorder(array, (1, 0, 2)) for array in arrays)
    gate, activation = functions
    if not link.attributes.get("linear_before_reset", 0):
        cell = GRU(units, "before", activation=activation, recurrent_activation=gate)
        return cell, {"W": w, "R": r, "b": first + second}
    cell = GRU(units, "after", activation=activation, recurrent_activation=gate)
    gates = np.concatenate([second[: 2 * units], np.zeros(units, second.dtype)])
    return cell, {"W": w, "R": r, "b": first + gates, "m": second[2 * units :].copy()}


def _convert_lstm(
    link: Link, index: int, units: int, functions: list[str], arrays: dict[str, Array]
) -> Direction:
    gate, activation, shown = functions
    if activation != shown:
        raise ConversionError(f"candidate and output have different activations: {functions}")
    arrays = {name: reorder(value, (0, 2, 3, 1)) for name, value in arrays.items()}
    peepholes = link.constants.get(7)
    if peepholes is not None:
        arrays["p"] = reorder(peepholes[index], (0, 2, 1)).reshape(3, units)
    coupled = bool(link.attributes.get("input_forget", 0))
    if coupled:
        arrays = _couple_gates(arrays, units, gate)
    return LSTM(
        units,
        peepholes=peepholes is not None,
        coupled=coupled,
        activation=activation,
        recurrent_activation=gate,
    ), arrays


def _couple_gates(arrays: dict[str, Array], units: int, gate: str) -> dict[str, Array]:
    """ONNX keeps the input gate and forgets ``1 - i``; statewise keeps the forget gate. For a gate
    with ``1 - g(a) = g(-a)``, that is the same with the sum's sign turned.
    """
    if gate not in ("sigmoid", "hard_sigmoid"):
        raise ConversionError(f"input_forget with the activation {gate} has no counterpart")
    turned = {}
    for name, value in arrays.items():
        size = 1 if name == "p" else units
        turned[name] = np.concatenate([-value[:size], value[2 * size :]])
    return turned


def _read_activations(link: Link, index: int) -> list[str]:
    """The activations of one direction, as statewise names them."""
    defaults = _DEFAULTS[link.op]
    given = [_decode(name) for name in link.attributes.get("activations", [])] or defaults * 2
    names = given[index * len(defaults) : (index + 1) * len(defaults)]
    return [_read_activation(link, name) for name in names]


def _read_activation(link: Link, name: str) -> str:
    word = name.lower()
    if word in _NAMES:
        return word
    if word == "hardsigmoid":
        alphas = np.asarray(link.attributes.get("activation_alpha", [0.2]))
        betas = np.asarray(link.attributes.get("activation_beta", [0.5]))
        if np.allclose(alphas, 1 / 6, atol=1e-6) and np.allclose(betas, 0.5, atol=1e-6):
            return "hard_sigmoid"
        raise ConversionError("HardSigmoid is carried over with alpha 1/6 and beta 1/2 alone")
    raise ConversionError(f"activation {name} has no counterpart")


def _decode(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
