"""The same layer in onnxruntime, where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

# where each gate of onnx (LSTM i o f c, GRU z r h) stands in a statewise stack
GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}


def version() -> str:
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError:
        return "not installed"
    return str(onnxruntime.__version__)


def session(
    cell: str, units: int, rows: int, steps: int, arrays: Mapping[str, np.ndarray]
) -> Callable[[np.ndarray], Any] | None:
    """Runs a layer over (T, B, F) from a state of zeros, with as many threads as torch has."""
    if version() == "not installed":
        return None
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    gates = GATES[cell]
    W, R, b = (_stacked(arrays[f"0.{name}"], gates, units) for name in ("W", "R", "b"))
    second = np.zeros_like(b)
    number = TensorProto.FLOAT
    state = ["h", "c"] if cell == "LSTM" else ["h"]
    ends = [f"{name}_end" for name in state]
    node = helper.make_node(
        cell,
        ["x", "W", "R", "b", "", *state],
        ["y", *ends],
        hidden_size=units,
        **({"linear_before_reset": 1} if cell == "GRU" else {}),
    )
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "layer",
        [
            value("x", number, [steps, rows, units]),
            *(value(n, number, [1, rows, units]) for n in state),
        ],
        [value("y", number, None), *(value(n, number, None) for n in ends)],
        [
            numpy_helper.from_array(array[None], name)
            for name, array in (("W", W), ("R", R), ("b", np.concatenate([b, second])))
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    made = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = {name: np.zeros((1, rows, units), np.float32) for name in state}
    return lambda x: made.run(None, {"x": x, **feed})


def _stacked(array: np.ndarray, gates: tuple[int, ...], units: int) -> np.ndarray:
    parts = array.reshape(len(gates), units, *array.shape[1:])
    return np.ascontiguousarray(parts[list(gates)].reshape(array.shape))


def text_step(hand: Any) -> Callable[[np.ndarray, list[np.ndarray]], list[np.ndarray]]:
    """One step of a model of text, as one graph: (token (1, 1), the h of each layer, and the c of
    LSTM layers) -> scores and the same again.
    """
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    arrays = {name: own.detach().numpy() for name, own in hand.state_dict().items()}
    units, layers, cell = hand.rnn.hidden_size, hand.rnn.num_layers, hand.rnn.mode
    held = {"E": arrays["table.weight"], "V": np.ascontiguousarray(arrays["linear.weight"].T)}
    held["v"] = arrays["linear.bias"]
    nodes = [helper.make_node("Gather", ["E", "token"], ["x0"])]
    ends = []
    for layer in range(layers):
        for name, own in (("W", "weight_ih"), ("R", "weight_hh")):
            array = arrays[f"rnn.{own}_l{layer}"]
            held[f"{name}{layer}"] = _stacked(array, GATES[cell], units)[None]
        biases = [
            _stacked(arrays[f"rnn.{own}_l{layer}"], GATES[cell], units)
            for own in ("bias_ih", "bias_hh")
        ]
        held[f"b{layer}"] = np.concatenate(biases)[None]
        own_ends = [f"{name}{layer}_end" for name in ("hc" if cell == "LSTM" else "h")]
        ends += own_ends
        parts = [f"{name}{layer}" for name in ("x", "W", "R", "b")]
        nodes += [
            helper.make_node(
                cell,
                [*parts, "", *(name.removesuffix("_end") for name in own_ends)],
                [f"y{layer}", *own_ends],
                hidden_size=units,
                **({"linear_before_reset": 1} if cell == "GRU" else {}),
            ),
            helper.make_node("Squeeze", [f"y{layer}", "axis"], [f"x{layer + 1}"]),
        ]
    held["axis"] = np.array([1])
    nodes += [
        helper.make_node("MatMul", [f"x{layers}", "V"], ["z"]),
        helper.make_node("Add", ["z", "v"], ["scores"]),
    ]
    value, number = helper.make_tensor_value_info, TensorProto.FLOAT
    begins = [name.removesuffix("_end") for name in ends]
    graph = helper.make_graph(
        nodes,
        "text",
        [
            value("token", TensorProto.INT64, [1, 1]),
            *(value(name, number, [1, 1, units]) for name in begins),
        ],
        [value("scores", number, None), *(value(name, number, None) for name in ends)],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    made = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda token, state: list(
        made.run(None, {"token": token, **dict(zip(begins, state, strict=True))})
    )
