"""The servers that a user would write: FastAPI, a two-layer LSTM, a dict of states.

``python benchmarks/serve_peers.py torch|onnx MODEL PORT`` serves the weights of a statewise model
file. A request for many sessions stacks their states and steps them in one call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

Stepper = Callable[[np.ndarray, Sequence[Any]], tuple[np.ndarray, list[Any]]]


class One(BaseModel):
    inputs: list[float]


class Entry(One):
    session: str


class Many(BaseModel):
    steps: list[Entry]


def torch_stepper(arrays: dict[str, np.ndarray]) -> tuple[Stepper, Any]:
    """Steps of (N, F) inputs by torch's LSTM; a session's state is (h, c), each (2, 1, H)."""
    import torch

    torch.set_num_threads(1)
    units, features = arrays["0.R"].shape[1], arrays["0.W"].shape[1]
    lstm = torch.nn.LSTM(features, units, 2, batch_first=True)
    head = torch.nn.Linear(units, arrays["outputs.W"].shape[0])
    with torch.no_grad():
        for layer in (0, 1):
            for theirs, ours in (("weight_ih", "W"), ("weight_hh", "R"), ("bias_ih", "b")):
                getattr(lstm, f"{theirs}_l{layer}").copy_(torch.tensor(arrays[f"{layer}.{ours}"]))
            getattr(lstm, f"bias_hh_l{layer}").zero_()
        head.weight.copy_(torch.tensor(arrays["outputs.W"]))
        head.bias.copy_(torch.tensor(arrays["outputs.b"]))

    def step(x: np.ndarray, states: Sequence[Any]) -> tuple[np.ndarray, list[Any]]:
        with torch.inference_mode():
            if len(states) == 1:
                y, state = lstm(torch.from_numpy(x)[:, None], states[0])
                return head(y[:, 0]).numpy(), [state]
            h, c = (torch.cat([state[part] for state in states], dim=1) for part in (0, 1))
            y, (h, c) = lstm(torch.from_numpy(x)[:, None], (h, c))
            return head(y[:, 0]).numpy(), list(
                zip(h.split(1, dim=1), c.split(1, dim=1), strict=True)
            )

    return step, (torch.zeros(2, 1, units), torch.zeros(2, 1, units))


def onnx_stepper(arrays: dict[str, np.ndarray]) -> tuple[Stepper, Any]:
    """The same by onnxruntime; a session's state is (4, 1, H)."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    units, features = arrays["0.R"].shape[1], arrays["0.W"].shape[1]
    order = [0, 3, 1, 2]  # onnx keeps the gates as i o f c
    nodes, given, made, constants, x = [], [], [], [], "x"
    value = helper.make_tensor_value_info
    for layer in (0, 1):
        W, R, b = (
            arrays[f"{layer}.{name}"].reshape(4, units, -1)[order].reshape(4 * units, -1)
            for name in ("W", "R", "b")
        )
        bias = np.concatenate([b[:, 0], np.zeros_like(b[:, 0])])
        for name, array in (("W", W), ("R", R), ("B", bias)):
            constants.append(
                numpy_helper.from_array(np.ascontiguousarray(array)[None], f"{name}{layer}")
            )
        weights = [f"W{layer}", f"R{layer}", f"B{layer}"]
        state, ends = [f"h{layer}", f"c{layer}"], [f"h{layer}_end", f"c{layer}_end"]
        y = f"y{layer}"
        nodes.append(
            helper.make_node("LSTM", [x, *weights, "", *state], [y, *ends], hidden_size=units)
        )
        nodes.append(helper.make_node("Squeeze", [y, "direction"], [f"flat{layer}"]))
        x = f"flat{layer}"
        given += [value(name, TensorProto.FLOAT, [1, None, units]) for name in state]
        made += [value(name, TensorProto.FLOAT, None) for name in ends]
    constants += [
        numpy_helper.from_array(np.array([1], np.int64), "direction"),
        numpy_helper.from_array(np.ascontiguousarray(arrays["outputs.W"].T), "head"),
        numpy_helper.from_array(arrays["outputs.b"], "offset"),
    ]
    nodes.append(helper.make_node("MatMul", [x, "head"], ["product"]))
    nodes.append(helper.make_node("Add", ["product", "offset"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "stack",
        [value("x", TensorProto.FLOAT, [1, None, features]), *given],
        [value("y", TensorProto.FLOAT, None), *made],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    run = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    ).run
    names = ["h0", "c0", "h1", "c1"]

    def step(x: np.ndarray, states: Sequence[Any]) -> tuple[np.ndarray, list[Any]]:
        stacked = states[0] if len(states) == 1 else np.concatenate(states, axis=1)
        feed = {name: stacked[i : i + 1] for i, name in enumerate(names)}
        y, *ends = run(None, {"x": x[None], **feed})
        after = np.concatenate(ends)
        return y[0], [after[:, i : i + 1] for i in range(len(states))]

    return step, np.zeros((4, 1, units), np.float32)


def application(step: Stepper, initial: Any) -> FastAPI:
    """Two routes and a dict."""
    app = FastAPI()
    states: dict[str, Any] = {}

    @app.post("/sessions/{session}/step")
    async def one(session: str, body: One) -> dict[str, Any]:
        x = np.array([body.inputs], np.float32)
        y, after = step(x, [states.get(session, initial)])
        states[session] = after[0]
        return {"outputs": y[0].tolist()}

    @app.post("/step")
    async def many(body: Many) -> dict[str, Any]:
        x = np.array([entry.inputs for entry in body.steps], np.float32)
        y, after = step(x, [states.get(entry.session, initial) for entry in body.steps])
        for entry, state in zip(body.steps, after, strict=True):
            states[entry.session] = state
        return {"results": [{"outputs": row} for row in y.tolist()]}

    return app


def main() -> None:
    import uvicorn

    from statewise import load

    kind, model, port = sys.argv[1:]
    stepper = {"torch": torch_stepper, "onnx": onnx_stepper}[kind]
    app = application(*stepper(load(model).weights()))
    uvicorn.run(app, port=int(port), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
