"""The stock client of another server, unchanged, over sessions."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

import statewise as sw
from statewise.serve import Client
from tests.serve.running import application, listening

triton = pytest.importorskip("tritonclient.http")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "sales.safetensors"
    layers = [sw.LSTM(8), sw.GRU(5)]
    sw.nn.Model(sw.Architecture(sw.Vector(3), layers, sw.Linear(2)), seed=0).save(path)
    return path


@pytest.fixture(scope="module")
def url(model: Path) -> Iterator[str]:
    with listening(application(model)) as address:
        yield address


@pytest.fixture
def stock(url: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(url.removeprefix("http://")) as client:
        yield client


def tensor(x: np.ndarray, binary: bool = True) -> triton.InferInput:
    given = triton.InferInput("inputs", list(x.shape), "FP32")
    given.set_data_from_numpy(x, binary_data=binary)
    return given


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("names", [(1001, 1002), ("left", "right")])
def test_two_interleaved_sequences_equal_the_offline_run(
    stock: triton.InferenceServerClient, model: Path, binary: bool, names: tuple
) -> None:
    x = np.random.default_rng(0).standard_normal((2, 12, 3)).astype(np.float32)
    offline, _ = sw.load(model)(x)
    asked = [triton.InferRequestedOutput("outputs", binary_data=binary)]
    for t in range(12):
        for row, name in enumerate(names):
            result = stock.infer(
                "sales",
                [tensor(x[row : row + 1, t], binary)],
                outputs=asked,
                sequence_id=name,
                sequence_start=t == 0,
                sequence_end=t == 11,
            )
            np.testing.assert_allclose(result.as_numpy("outputs")[0], offline[row, t], atol=1e-6)


def test_chunks_equal_single_steps(stock: triton.InferenceServerClient, model: Path) -> None:
    x = np.random.default_rng(1).standard_normal((1, 10, 3)).astype(np.float32)
    offline, _ = sw.load(model)(x)
    first = stock.infer("sales", [tensor(x[:, :4])], sequence_id=5, sequence_start=True)
    rest = stock.infer("sales", [tensor(x[:, 4:])], sequence_id=5, sequence_end=True)
    chunks = [first.as_numpy("outputs"), rest.as_numpy("outputs")]
    np.testing.assert_allclose(np.concatenate(chunks, axis=1), offline, atol=1e-6)


def test_a_sequence_is_a_session_like_any_other(
    stock: triton.InferenceServerClient, url: str
) -> None:
    x = np.ones((1, 3), np.float32)
    stock.infer("sales", [tensor(x)], sequence_id="held", sequence_start=True)
    with Client(url) as client:
        assert client.info("sales:held").step == 1
        kept = client.snapshot("sales:held")
        once = stock.infer("sales", [tensor(x)], sequence_id="held").as_numpy("outputs")
        client.rollback("sales:held", kept)
    again = stock.infer("sales", [tensor(x)], sequence_id="held").as_numpy("outputs")
    assert np.array_equal(once, again)


def test_start_on_a_living_sequence_begins_it_again(stock: triton.InferenceServerClient) -> None:
    x = np.ones((1, 3), np.float32)
    first = stock.infer("sales", [tensor(x)], sequence_id=9, sequence_start=True)
    stock.infer("sales", [tensor(x)], sequence_id=9)
    again = stock.infer("sales", [tensor(x)], sequence_id=9, sequence_start=True)
    assert np.array_equal(first.as_numpy("outputs"), again.as_numpy("outputs"))
    assert again.get_response()["parameters"]["step"] == 1


def test_a_request_with_an_id_of_its_own_steps_once(stock: triton.InferenceServerClient) -> None:
    x = tensor(np.ones((1, 3), np.float32))

    def send(name: str, **flags: bool) -> triton.InferResult:
        own = {"request_id": name}
        return stock.infer("sales", [x], sequence_id="once", parameters=own, **flags)

    first, again = (send("a", sequence_start=True) for _ in range(2))
    assert np.array_equal(first.as_numpy("outputs"), again.as_numpy("outputs"))
    assert again.get_response()["parameters"]["replayed"] is True
    for _ in range(3):
        assert send("b").get_response()["parameters"]["step"] == 2


def test_a_wrong_position_is_refused(stock: triton.InferenceServerClient) -> None:
    x = tensor(np.ones((1, 3), np.float32))
    stock.infer("sales", [x], sequence_id="at", sequence_start=True)
    with pytest.raises(triton.InferenceServerException, match="409"):
        stock.infer("sales", [x], sequence_id="at", parameters={"step": 7})


def test_unknown_and_ended_sequences_have_errors_of_their_own(
    stock: triton.InferenceServerClient,
) -> None:
    x = tensor(np.ones((1, 3), np.float32))
    with pytest.raises(triton.InferenceServerException, match="must specify the START flag"):
        stock.infer("sales", [x], sequence_id="never")
    stock.infer("sales", [x], sequence_id="short", sequence_start=True, sequence_end=True)
    with pytest.raises(triton.InferenceServerException, match="is over"):
        stock.infer("sales", [x], sequence_id="short")
    with pytest.raises(triton.InferenceServerException, match="non-zero or non-empty"):
        stock.infer("sales", [x])


def test_metadata_and_health(stock: triton.InferenceServerClient, model: Path) -> None:
    version = sw.load(model).fingerprint()
    assert stock.is_server_live()
    assert stock.is_server_ready()
    assert stock.is_model_ready("sales")
    assert stock.is_model_ready("sales", version)
    assert not stock.is_model_ready("prices")
    assert "sequence" in stock.get_server_metadata()["extensions"]
    metadata = stock.get_model_metadata("sales")
    assert metadata["versions"] == [version]
    assert metadata["inputs"] == [{"name": "inputs", "datatype": "FP32", "shape": [1, -1, 3]}]
    assert stock.get_model_config("sales")["sequence_batching"]
    with pytest.raises(triton.InferenceServerException, match="version 9 is not found"):
        stock.get_model_metadata("sales", "9")


ONE = {"name": "inputs", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}
WRONG = {
    "no inputs": ({"inputs": []}, "expected 1 inputs but got 0"),
    "another name": ({"inputs": [{**ONE, "name": "x"}]}, "unexpected inference input 'x'"),
    "another dtype": ({"inputs": [{**ONE, "datatype": "FP64"}]}, "expects 'FP32'"),
    "another shape": ({"inputs": [{**ONE, "shape": [1, 4]}]}, r"Expected \[1,3\] or \[1,-1,3\]"),
    "no shape": ({"inputs": [{**ONE, "shape": "3"}]}, "unexpected shape"),
    "two rows": ({"inputs": [{**ONE, "shape": [2, 3], "data": [0] * 6}]}, "batch-size 1"),
    "too few": ({"inputs": [{**ONE, "data": [1, 2]}]}, "has 3, and 2 came"),
    "text": ({"inputs": [{**ONE, "data": ["a", "b", "c"]}]}, "must be numbers"),
    "another output": (
        {"inputs": [ONE], "outputs": [{"name": "y"}]},
        "unexpected inference output 'y'",
    ),
    "a list": ([], "failed to parse"),
    "no object": ({"inputs": 3}, "must be a list of tensors"),
    "an id that is none": (
        {"inputs": [ONE], "parameters": {"sequence_id": 1.5}},
        "sequence_id must be",
    ),
}


@pytest.mark.parametrize("body", WRONG, ids=lambda name: name)
def test_errors_are_of_the_protocols_shape(url: str, body: str) -> None:
    given, message = WRONG[body]
    came = httpx.post(f"{url}/v2/models/sales/infer", json=given)
    assert came.status_code == 400
    assert list(came.json()) == ["error"]
    assert re.search(message, came.json()["error"])


def test_a_header_length_beyond_the_body_is_refused(url: str) -> None:
    for length in ("9999", "-1", "x"):
        headers = {"Inference-Header-Content-Length": length}
        came = httpx.post(f"{url}/v2/models/sales/infer", content=b"{}", headers=headers)
        assert came.status_code == 400
        assert "within the body of 2 bytes" in came.json()["error"]


def test_not_a_number_is_refused_and_nothing_is_stepped(
    stock: triton.InferenceServerClient, url: str
) -> None:
    good, bad = np.ones((1, 3), np.float32), np.full((1, 3), np.nan, np.float32)
    stock.infer("sales", [tensor(good)], sequence_id="nan", sequence_start=True)
    with pytest.raises(triton.InferenceServerException, match="finite"):
        stock.infer("sales", [tensor(bad)], sequence_id="nan")
    with Client(url) as client:
        assert client.info("sales:nan").step == 1


def test_the_example_steps_two_sequences(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    sw.nn.Model(sw.Architecture(sw.Vector(1), [sw.LSTM(4)], sw.Linear(1)), seed=0).save(path)
    script = Path(__file__).parents[2] / "examples" / "triton_client.py"
    with listening(application(path)) as address:
        command = [sys.executable, str(script), address.removeprefix("http://")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["1001", "1002"] * 3
    y, _ = sw.load(path)(np.array([[[321.5], [330.0], [342.5]]], np.float32))
    shown = [line.rpartition(" ")[2] for line in lines[::2]]
    assert shown == [f"{value:.1f}" for value in y[0, :, 0]]


def test_the_documented_client_runs(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    sw.nn.Model(sw.Architecture(sw.Vector(1), [sw.LSTM(4)], sw.Linear(1)), seed=0).save(path)
    text = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    with listening(application(path)) as address:
        found: dict = {}
        exec(code.replace("http://127.0.0.1:8000", address), found)
    assert found["state"].position.tolist() == [1]
