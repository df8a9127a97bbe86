"""Keras on every backend, flax and ONNX; where CI asks for them, none may be missing."""

import os
from pathlib import Path

import numpy as np
import pytest

from statewise import check
from statewise.check import demo
from statewise.check.backends import compare_backends, run_python
from statewise.check.report import Report
from statewise.loading import load_model

DOCUMENT = Path(__file__).parents[2] / "docs" / "is-the-state-reset.md"


def needed(package):
    if os.environ.get("STATEWISE_REQUIRE_BRIDGES") == "1":
        return __import__(package)
    return pytest.importorskip(package)


def column(title):
    """A column of the document's table."""
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return [row[cells[0].index(title)] for row in cells[2:]]


def answers(report):
    """What the demo prints of a report, with every question."""
    asked = demo.Demo({"": report})
    marks = ["**" if asked.is_surprising("", fact) else "" for fact in demo.QUESTIONS]
    return [
        f"{mark}{asked.answer('', fact)}{mark}"
        for mark, fact in zip(marks, demo.QUESTIONS, strict=True)
    ]


@pytest.mark.parametrize("backend", ["tensorflow", "torch", "jax"])
def test_the_document_tells_what_keras_does(backend):
    for package in ("keras", backend):
        needed(package)
    (values,) = run_python(["-m", "statewise.check.demo", "stateful"], backend)
    assert answers(Report.from_json(values)) == column(f"Keras stateful, {backend}")


def test_the_document_tells_what_torch_and_statewise_do():
    makers = {"torch `nn.LSTM`": demo.make_torch_lstm, "statewise": demo.make_statewise_lstm}
    for title, make in makers.items():
        assert answers(check.run(make(), only=demo.PROBES)) == column(title)


def test_backends_that_disagree_are_named():
    one = check.run(demo.make_torch_lstm(), only=["repeat", "reset"])
    rows = [*(row for row in one if row.fact != "reset")]
    other = Report(
        one.target,
        "keras 3 on jax",
        one.layers,
        (*rows, type(rows[0])("reset", "?", "zeros", "zeros", "ok", "")),
        sample=tuple(value + 1 for value in one.sample),
    )
    report = compare_backends([one, other])
    assert report["backends"].answer == "differ"
    assert "zeros" in report["backends.reset"].seen


def test_a_row_of_length_0_in_flax_reads_the_padding():
    needed("jax")
    needed("flax")
    from flax import nnx

    model = nnx.RNN(nnx.GRUCell(3, 4, rngs=nnx.Rngs(0)))
    facts = check.run(model, only=["carry", "empty"]).facts
    assert facts == {
        "carry.call": "reset",
        "carry.jit": "reset",
        "empty.seq_lengths": "changed",
    }


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_a_graph_of_onnx(tmp_path, kind):
    for package in ("onnx", "onnxruntime"):
        needed(package)
    path = graph(tmp_path / "g.onnx", kind)
    report = check.run(load_model(path))
    assert report.found("wrong", "raised") == []
    assert report["empty.lengths"].answer == "kept"
    assert report["chunks"].answer == "same"
    assert report["layout"].answer == "elsewhere"


def test_a_tampered_graph_is_refused(tmp_path):
    from statewise import FileError

    for package in ("onnx", "onnxruntime"):
        needed(package)
    path = graph(tmp_path / "g.onnx", "GRU")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FileError, match="not a whole ONNX model"):
        load_model(path)


def graph(path, kind, features=3, units=4):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def value(name, shape, dtype=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, dtype, shape)

    gates = {"GRU": 3, "LSTM": 4}[kind] * units
    draw = np.random.default_rng(0).normal
    weights = [
        numpy_helper.from_array(draw(0, 0.5, (1, *shape)).astype("f4"), name)
        for name, shape in (("W", (gates, features)), ("R", (gates, units)), ("B", (2 * gates,)))
    ]
    state = [1, "B", units]
    inputs = [value("x", ["T", "B", features]), value("lengths", ["B"], TensorProto.INT32)]
    outputs = [value("y", ["T", 1, "B", units])]
    names = ["h", "c"] if kind == "LSTM" else ["h"]
    inputs += [value(f"{name}0", state) for name in names]
    outputs += [value(f"{name}n", state) for name in names]
    node = helper.make_node(
        kind,
        ["x", "W", "R", "B", "lengths", *(f"{name}0" for name in names)],
        ["y", *(f"{name}n" for name in names)],
        hidden_size=units,
    )
    made = helper.make_graph([node], "g", inputs, outputs, weights)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(made, opset_imports=opset, ir_version=9), str(path))
    return path
