"""Fact 20: ONNX graphs taken in: what ONNX's own operators give, the model gives."""

from pathlib import Path

import numpy as np
import pytest

import statewise as sw
from statewise.interop import convert, from_onnx, to_onnx

from ..conformance.zoo import ZOO, inputs, weights
from .conftest import need

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
F, H = 3, 4


@pytest.fixture(scope="module")
def onnx():
    return need("onnx")


def written(onnx, path, op, *, both=False, peepholes=False, lengths=False, state=False, **options):
    """A graph of one recurrent node, then a linear layer; time first, as ONNX has it."""
    helper, kind = onnx.helper, onnx.TensorProto
    rng = np.random.default_rng(0)
    ways, gates = 1 + both, GATES[op]
    arrays = {
        "W": rng.normal(0, 0.5, (ways, gates * H, F)),
        "R": rng.normal(0, 0.5, (ways, gates * H, H)),
        "B": rng.normal(0, 0.5, (ways, 2 * gates * H)),
        "P": rng.normal(0, 0.5, (ways, 3 * H)),
        "V": rng.normal(0, 0.5, (ways * H, 2)),
        "v": rng.normal(0, 0.5, 2),
        "shape": np.array([0, 0, ways * H]),
    }
    if not peepholes:
        del arrays["P"]
    held = [
        onnx.numpy_helper.from_array(v.astype(np.int64 if k == "shape" else np.float32), k)
        for k, v in arrays.items()
    ]
    given = [helper.make_tensor_value_info("x", kind.FLOAT, ["T", "B", F])]
    names = ["x", "W", "R", "B"]
    names.append("n" if lengths else "")
    if lengths:
        given.append(helper.make_tensor_value_info("n", kind.INT32, ["B"]))
    for name in ("h", "c") if op == "LSTM" else ("h",):
        names.append(name if state else "")
        if state:
            given.append(helper.make_tensor_value_info(name, kind.FLOAT, [ways, "B", H]))
    if peepholes:
        names.append("P")
    direction = "bidirectional" if both else "forward"
    nodes = [
        helper.make_node(op, names, ["Y", "Yh"], hidden_size=H, direction=direction, **options),
        helper.make_node("Transpose", ["Y"], ["Yt"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["Yt", "shape"], ["z"]),
        helper.make_node("MatMul", ["z", "V"], ["a"]),
        helper.make_node("Add", ["a", "v"], ["y"]),
    ]
    outputs = [helper.make_tensor_value_info("y", kind.FLOAT, ["T", "B", 2])]
    graph = helper.make_graph(nodes, "g", given, outputs, held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(made)
    onnx.save(made, path)
    return made


def run(path, feed):
    runtime = need("onnxruntime")
    return runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feed)


def x_of(steps=6, rows=3):
    return np.random.default_rng(1).normal(size=(steps, rows, F)).astype(np.float32)


CASES = [
    ("RNN", {}),
    ("RNN", {"activations": ["Relu"]}),
    ("GRU", {}),
    ("GRU", {"linear_before_reset": 1}),
    ("GRU", {"activations": ["Sigmoid", "Softsign"]}),
    ("LSTM", {}),
    ("LSTM", {"peepholes": True}),
    ("LSTM", {"input_forget": 1}),
    ("LSTM", {"input_forget": 1, "peepholes": True}),
]


@pytest.mark.parametrize("both", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize(("op", "options"), CASES, ids=[f"{op} {' '.join(o)}" for op, o in CASES])
def test_a_graph_goes_in(onnx, op, options, both, tmp_path):
    path = tmp_path / "m.onnx"
    twice = {k: v * 2 if both and isinstance(v, list) else v for k, v in options.items()}
    written(onnx, path, op, both=both, **twice)
    x = x_of()
    model = from_onnx(path)
    expected = run(path, {"x": x})[0]
    y, _ = model(np.ascontiguousarray(x.swapaxes(0, 1)))
    np.testing.assert_allclose(y, expected.swapaxes(0, 1), atol=1e-5)
    assert model.architecture.outputs == sw.Linear(2)


@pytest.mark.parametrize("op", GATES)
def test_states_and_lengths_are_what_a_call_takes(onnx, op, tmp_path):
    path = tmp_path / "m.onnx"
    written(onnx, path, op, lengths=True, state=True)
    model = from_onnx(path)
    rng = np.random.default_rng(2)
    names = ("h", "c") if op == "LSTM" else ("h",)
    start = {name: rng.normal(size=(1, 3, H)).astype(np.float32) for name in names}
    x, n = x_of(), np.array([6, 2, 4], np.int32)
    expected = run(path, {"x": x, "n": n, **start})[0].swapaxes(0, 1)
    state = sw.State({f"0.{name}": value[0] for name, value in start.items()})
    y, _ = model(np.ascontiguousarray(x.swapaxes(0, 1)), state, lengths=n)
    for row, steps in enumerate(n):
        np.testing.assert_allclose(y[row, :steps], expected[row, :steps], atol=1e-5)


@pytest.mark.parametrize("op", GATES)
def test_layout_1_is_batch_first(onnx, op, tmp_path):
    helper, kind, path = onnx.helper, onnx.TensorProto, tmp_path / "m.onnx"
    made = written(onnx, path, op)
    nodes = [n for n in made.graph.node if n.op_type == op]
    nodes[0].attribute.append(helper.make_attribute("layout", 1))
    given = [helper.make_tensor_value_info("x", kind.FLOAT, ["B", "T", F])]
    outputs = [helper.make_tensor_value_info("Y", kind.FLOAT, ["B", "T", 1, H])]
    held = [t for t in made.graph.initializer if t.name in "WRB"]
    graph = helper.make_graph(nodes, "g", given, outputs, held)
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    written(onnx, tmp_path / "time.onnx", op)
    other, x = from_onnx(tmp_path / "time.onnx"), x_of().swapaxes(0, 1).copy()
    model = from_onnx(path)
    arrays = {k: v for k, v in other.weights().items() if k.startswith("0.")}
    twin = sw.runtime.Model(model.architecture, arrays)
    np.testing.assert_array_equal(model(x)[0], twin(x)[0])


@pytest.mark.parametrize("name", ["stack", "tokens", "lstm everything", "inverse", "bidirectional"])
def test_there_and_back_keeps_every_bit(onnx, name, tmp_path):
    model = sw.runtime.Model(ZOO[name], weights(ZOO[name]))
    for reset in [False] if name == "bidirectional" else [False, True]:
        to_onnx(model, tmp_path / "m.onnx", reset=reset)
        back = from_onnx(tmp_path / "m.onnx")
        assert back.architecture == model.architecture
        assert back.fingerprint() == model.fingerprint()
        x = inputs(ZOO[name], 2, 3)
        np.testing.assert_array_equal(back(x)[0], model(x)[0])


def test_a_tampered_graph_is_refused(onnx, tmp_path):
    path = tmp_path / "m.onnx"
    to_onnx(sw.runtime.Model(ZOO["stack"], weights(ZOO["stack"])), path)
    whole = path.read_bytes()

    def altered(change):
        made = onnx.load_from_string(whole)
        change(made)
        path.write_bytes(made.SerializeToString())
        with pytest.raises(sw.StatewiseError) as raised:
            from_onnx(path)
        return str(raised.value)

    def weight(made):
        tensor = next(t for t in made.graph.initializer if t.name == "0.W")
        values = onnx.numpy_helper.to_array(tensor) + 1
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, "0.W"))

    def node(made):
        next(n for n in made.graph.node if n.op_type == "Add").op_type = "Sub"

    def gone(made):
        del made.graph.initializer[0]

    assert "altered" in altered(weight)
    assert "altered" in altered(node)
    assert altered(gone)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(sw.FileError, match="not a whole ONNX model"):
        from_onnx(path)
    path.write_bytes(b"\x00junk")
    with pytest.raises(sw.FileError, match="not a whole ONNX model"):
        from_onnx(path)
    with pytest.raises(sw.FileError, match="does not exist"):
        from_onnx(tmp_path / "none.onnx")


REFUSED = [
    ("LSTM", {"clip": 1.0}, "clip"),
    ("GRU", {"activations": ["Sigmoid", "Elu"]}, "activation Elu"),
    ("LSTM", {"activations": ["HardSigmoid", "Tanh", "Tanh"]}, "alpha 1/6"),
    ("LSTM", {"activations": ["Sigmoid", "Tanh", "Relu"]}, "different activations"),
]


@pytest.mark.parametrize(("op", "options", "why"), REFUSED, ids=[why for _, _, why in REFUSED])
def test_options_without_a_counterpart_are_named(onnx, op, options, why, tmp_path):
    written(onnx, tmp_path / "m.onnx", op, **options)
    with pytest.raises(sw.ConversionError, match=why):
        from_onnx(tmp_path / "m.onnx")


def test_graphs_that_are_no_chain_are_refused(onnx, tmp_path):
    helper, kind, path = onnx.helper, onnx.TensorProto, tmp_path / "m.onnx"

    def saved(nodes, names):
        given = [helper.make_tensor_value_info(name, kind.FLOAT, ["B", "T", F]) for name in names]
        outputs = [helper.make_tensor_value_info("y", kind.FLOAT, ["B", "T", F])]
        graph = helper.make_graph(nodes, "g", given, outputs)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)

    saved([helper.make_node("Add", ["a", "b"], ["y"])], "ab")
    with pytest.raises(sw.ConversionError, match=r"2 inputs .*\(a, b\)"):
        from_onnx(path)
    saved([helper.make_node("Erf", ["a"], ["y"])], "a")
    with pytest.raises(sw.ConversionError, match=r"\(Erf\): no counterpart"):
        from_onnx(path)
    saved([helper.make_node("Identity", ["a"], ["y"])], "a")
    with pytest.raises(sw.ConversionError, match="no recurrent node"):
        from_onnx(path)


def test_a_graph_may_turn_its_input(onnx, tmp_path):
    path = tmp_path / "m.onnx"
    made = written(onnx, path, "GRU")
    moved = onnx.helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0, 2])
    made.graph.node.insert(0, moved)
    gru = next(node for node in made.graph.node if node.op_type == "GRU")
    gru.input[0] = "turned"
    onnx.save(made, path)
    x = x_of()
    y, _ = from_onnx(path)(x)  # batch first, now
    np.testing.assert_allclose(y, run(path, {"x": x})[0].swapaxes(0, 1), atol=1e-5)


def test_a_graph_that_does_more_than_its_nodes_in_order_is_found_out(onnx, tmp_path):
    made = written(onnx, tmp_path / "m.onnx", "GRU")
    for name, value in (("from", 1), ("to", 0), ("axes", 2)):
        made.graph.initializer.append(onnx.numpy_helper.from_array(np.array([value]), name))
    made.graph.node[-1].output[0] = "whole"
    made.graph.node.append(
        onnx.helper.make_node("Slice", ["whole", "to", "from", "axes"], ["y"], name="cut")
    )
    made.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 1
    onnx.save(made, tmp_path / "m.onnx")
    with pytest.raises(sw.ConversionError, match="more than one after the other"):
        from_onnx(tmp_path / "m.onnx")


GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.onnx"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_graph_of_an_earlier_version_opens(onnx, path, tmp_path):
    parity = convert(path, tmp_path / "m.safetensors")
    assert parity.largest < 1e-5


def test_the_order_and_the_names_of_nodes_do_not_count(onnx, tmp_path):
    path = tmp_path / "m.onnx"
    to_onnx(sw.runtime.Model(ZOO["stack"], weights(ZOO["stack"])), path)
    made = onnx.load(path)
    scan = next(node for node in made.graph.node if node.op_type == "Scan")
    body = next(one.g for one in scan.attribute if one.name == "body")
    gates = [i for i, node in enumerate(body.node) if node.op_type == "Sigmoid"][:2]
    nodes = list(body.node)
    nodes[gates[0]], nodes[gates[1]] = nodes[gates[1]], nodes[gates[0]]
    for node in nodes:
        node.name = f"renamed_{node.name}"
    del body.node[:]
    body.node.extend(nodes)
    onnx.checker.check_model(made)
    assert from_onnx(made).architecture == ZOO["stack"]


def test_weights_beside_a_graph_are_read_and_no_others(onnx, tmp_path):
    inside = tmp_path / "model"
    inside.mkdir()
    made = written(onnx, inside / "m.onnx", "GRU")
    onnx.save(
        made, inside / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0
    )
    x = x_of()
    y, _ = from_onnx(inside / "m.onnx")(np.ascontiguousarray(x.swapaxes(0, 1)))
    assert np.isfinite(y).all()
    (inside / "m.data").rename(tmp_path / "m.data")
    made = onnx.load(inside / "m.onnx", load_external_data=False)
    for tensor in made.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../m.data" if entry.key == "location" else entry.value
    (inside / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(sw.FileError, match="not a whole ONNX model"):
        from_onnx(inside / "m.onnx")
