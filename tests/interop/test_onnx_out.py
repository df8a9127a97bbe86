"""Fact 19: exported graphs, run by other runtimes step by step, give the whole sequence."""

import numpy as np
import pytest

import statewise as sw
from statewise.interop import to_onnx

from ..conformance.facts import resets
from ..conformance.zoo import CAUSAL, ZOO, inputs, weights
from .conftest import need

ROWS, STEPS = 4, 7
FEW = ["stack", "tokens", "lstm everything", "inverse"]


def opened(name, dtype="float32"):
    return sw.runtime.Model(ZOO[name], weights(ZOO[name], dtype))


class Onnxruntime:
    def __init__(self, path):
        runtime = need("onnxruntime")
        self.session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def __call__(self, feed):
        names = [output.name for output in self.session.get_outputs()]
        taken = {given.name for given in self.session.get_inputs()}
        feed = {name: value for name, value in feed.items() if name in taken}
        return dict(zip(names, self.session.run(names, feed), strict=True))


class OpenVINO:
    def __init__(self, path):
        ov = need("openvino")
        hint = {"INFERENCE_PRECISION_HINT": "f32"}
        self.model = ov.Core().compile_model(str(path), "CPU", hint)

    def __call__(self, feed):
        taken = {name for given in self.model.inputs for name in given.names}
        done = self.model({name: value for name, value in feed.items() if name in taken})
        return {name: done[output] for output in self.model.outputs for name in output.names}


def feed(x, state, reset=None):
    given = {"x": x, **{name: np.array(value) for name, value in state.items()}}
    return given if reset is None else {**given, "reset": reset}


def incoming(model, x):
    return model(x[:, :3])[1] if model.architecture.layers else model.initial_state(ROWS)


def close(done, y, state, tolerance=1e-5):
    scale = max(1.0, np.abs(y).max())
    np.testing.assert_allclose(done["y"], y, atol=tolerance * scale, rtol=tolerance)
    for name, value in state.items():
        size = max(1.0, np.abs(value).max())
        np.testing.assert_allclose(done[f"{name}.next"], value, atol=tolerance * size, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(CAUSAL))
def test_steps_of_a_graph_equal_the_whole_sequence(name, tmp_path):
    """From a state that is not zero: fact 19."""
    need("onnx")
    model = opened(name)
    x = inputs(ZOO[name], ROWS, STEPS)
    state = incoming(model, x)
    to_onnx(model, tmp_path / "m.onnx")
    run = Onnxruntime(tmp_path / "m.onnx")
    y, end = model(x, state)
    close(run(feed(x, state)), y, end)
    held = dict(state)
    for t in range(STEPS):
        done = run(feed(x[:, t : t + 1], held))
        held = {name: done[f"{name}.next"] for name in held}
        np.testing.assert_allclose(done["y"][:, 0], y[:, t], atol=1e-5 * max(1, np.abs(y).max()))
    close({**done, "y": y}, y, end)


@pytest.mark.parametrize("name", [*FEW, "gru before", "zoneout lstm", "counter", "dropout"])
def test_resets_inside_a_graph(name, tmp_path):
    need("onnx")
    model = opened(name)
    x = inputs(ZOO[name], ROWS, STEPS)
    state, reset = incoming(model, x), resets(ROWS, STEPS)
    to_onnx(model, tmp_path / "m.onnx", reset=True)
    y, end = model(x, state, reset=reset)
    close(Onnxruntime(tmp_path / "m.onnx")(feed(x, state, reset)), y, end)


@pytest.mark.parametrize("name", [*FEW, "gru after", "gru before", "lstm", "bidirectional stack"])
def test_openvino_agrees(name, tmp_path):
    need("onnx")
    model = opened(name)
    x = inputs(ZOO[name], ROWS, STEPS)
    state = model.initial_state(ROWS) if name not in CAUSAL else incoming(model, x)
    to_onnx(model, tmp_path / "m.onnx")
    run = OpenVINO(tmp_path / "m.onnx")
    y, end = model(x, state)
    close(run(feed(x, state)), y, end, 1e-4)
    if name in CAUSAL:
        held = dict(state)
        for t in range(STEPS):
            done = run(feed(x[:, t : t + 1], held))
            held = {name: np.array(done[f"{name}.next"]) for name in held}
        close({**done, "y": y}, y, end, 1e-4)


@pytest.mark.parametrize("name", ["bidirectional", "bidirectional stack"])
def test_both_directions(name, tmp_path):
    need("onnx")
    model = opened(name)
    x = inputs(ZOO[name], ROWS, STEPS)
    to_onnx(model, tmp_path / "m.onnx")
    y, end = model(x)
    close(Onnxruntime(tmp_path / "m.onnx")(feed(x, model.initial_state(ROWS))), y, end)
    with pytest.raises(sw.ConversionError, match=r"layer 0 \(Bidirectional\)"):
        to_onnx(model, tmp_path / "r.onnx", reset=True)
    assert not (tmp_path / "r.onnx").exists()


def test_batch_and_time_are_dynamic_and_the_metadata_tell_the_model(tmp_path):
    onnx = need("onnx")
    model = opened("stack", "float64")
    to_onnx(model, tmp_path / "m.onnx")
    run = Onnxruntime(tmp_path / "m.onnx")
    for rows, steps in ((1, 1), (5, 3)):
        x = inputs(ZOO["stack"], rows, steps, "float64")
        y, end = model(x)
        close(run(feed(x, model.initial_state(rows))), y, end, 1e-12)
    read = onnx.load(tmp_path / "m.onnx")
    told = {prop.key: prop.value for prop in read.metadata_props}
    assert sw.Architecture.from_json(told["statewise.architecture"]) == model.architecture
    assert told["statewise.weights"] == model.fingerprint()
    names = {given.name for given in read.graph.input}
    assert names == {"x", *model.architecture.fields}
    assert {out.name for out in read.graph.output} == {
        "y",
        *(f"{name}.next" for name in model.architecture.fields),
    }
