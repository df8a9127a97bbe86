"""The server over HTTP: every route, every error in one shape, and whatever a fuzzer thinks of."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.core import NotSet
from starlette.testclient import TestClient

import statewise as sw
from statewise.cli.serve import read_tokens
from statewise.errors import FileError
from statewise.serve import wire
from statewise.serve.app import ROUTES, Guards, create_app
from statewise.serve.engine import Engine
from statewise.serve.models import ServedModel
from statewise.serve.stores.memory import MemoryStore
from tests.serve.conftest import model, series

PACK = {"Content-Type": "application/x-msgpack"}


def client_of(guards: Guards | None = None) -> TestClient:
    engine = Engine([ServedModel("m", model(), 8)], MemoryStore())
    return TestClient(create_app(engine, guards), raise_server_exceptions=False)


@pytest.fixture
def client() -> Iterator[TestClient]:
    with client_of() as opened:
        yield opened


def error(response, status: int, code: str) -> dict:
    assert response.status_code == status, response.text
    body = response.json()["error"]
    assert body["code"] == code
    assert len(body["message"]) > 10
    return body


def test_a_session_from_birth_to_death(client: TestClient) -> None:
    x = series(5)[0]
    want = model()(x[None])[0][0]
    made = client.post("/v1/sessions", json={"model": "m", "id": "a", "ttl": 60})
    assert made.status_code == 201
    assert made.json()["step"] == 0
    assert made.json()["expires"] > made.json()["used"]
    one = client.post("/v1/sessions/a/step", json={"inputs": x[0].tolist()}).json()
    np.testing.assert_allclose(one["outputs"], want[0], atol=1e-6)
    two = client.post("/v1/sessions/a/step", json={"inputs": x[1:3].tolist(), "step": 1}).json()
    np.testing.assert_allclose(two["outputs"], want[1:3], atol=1e-6)
    assert two["step"] == 3
    kept = client.post("/v1/sessions/a/snapshots")
    assert kept.status_code == 201
    fork = client.post("/v1/sessions/a/fork", json={"id": "b"})
    assert fork.status_code == 201
    many = client.post(
        "/v1/step",
        json={"steps": [{"session": name, "inputs": x[3].tolist()} for name in ("a", "b", "no")]},
    ).json()["results"]
    np.testing.assert_allclose(many[0]["outputs"], want[3], atol=1e-6)
    assert many[0] == many[1]
    assert many[2]["error"]["code"] == "not_found"
    back = client.post("/v1/sessions/a/rollback", json=kept.json()).json()
    assert back["step"] == 3
    listed = client.get("/v1/sessions", params={"limit": 1}).json()
    assert [one["id"] for one in listed["sessions"]] == ["a"]
    rest = client.get("/v1/sessions", params={"cursor": listed["cursor"]}).json()
    assert [one["id"] for one in rest["sessions"]] == ["b"]
    assert client.get("/v1/sessions/a").json()["snapshots"] == [kept.json()["snapshot"]]
    last = client.delete("/v1/sessions/a").json()["snapshot"]
    assert error(client.get("/v1/sessions/a"), 410, "gone")["snapshot"] == last


def test_messagepack_says_the_same(client: TestClient) -> None:
    client.post("/v1/sessions", json={"model": "m", "id": "a"})
    body = msgspec.msgpack.encode({"inputs": [0.5, 1.0], "request_id": "r"})
    packed = client.post("/v1/sessions/a/step", content=body, headers=PACK)
    assert packed.headers["content-type"] == "application/x-msgpack"
    again = client.post("/v1/sessions/a/step", json={"inputs": [0.5, 1.0], "request_id": "r"})
    assert {**msgspec.msgpack.decode(packed.content), "replayed": True} == again.json()
    mixed = client.post(
        "/v1/sessions/a/step", content=body, headers={**PACK, "Accept": "application/json"}
    )
    assert mixed.json()["step"] == 1


def test_states_travel_as_files(client: TestClient, tmp_path: Path) -> None:
    x = series(4)[0]
    client.post("/v1/sessions", json={"model": "m", "id": "a", "seed": {"inputs": x.tolist()}})
    data = client.get("/v1/sessions/a/state").content
    (tmp_path / "s.safetensors").write_bytes(data)
    state = sw.State.load(tmp_path / "s.safetensors")
    np.testing.assert_allclose(state["0.c"], model()(x[None])[1]["0.c"], atol=1e-6)
    seed = {"state": base64.b64encode(data).decode()}
    made = client.post("/v1/sessions", json={"model": "m", "id": "b", "seed": seed})
    assert made.json()["step"] == 4
    client.post("/v1/sessions", json={"model": "m", "id": "c"})
    assert client.put("/v1/sessions/c/state", content=data).json()["step"] == 4
    broken = bytes([*data[:-1], data[-1] ^ 1])
    assert (
        "altered"
        in error(client.put("/v1/sessions/c/state", content=broken), 400, "bad_input")["message"]
    )
    error(client.put("/v1/sessions/c/state", content=b"nothing"), 400, "bad_input")


def test_new_weights_come_as_a_file(client: TestClient, tmp_path: Path) -> None:
    model(seed=1).save(tmp_path / "new.safetensors")
    data = (tmp_path / "new.safetensors").read_bytes()
    client.post("/v1/sessions", json={"model": "m", "id": "a"})
    loaded = client.post("/v1/models/m/load", content=data).json()
    assert len(client.get("/v1/models").json()["models"]) == 2
    assert client.get("/v1/sessions/a").json()["version"] != loaded["version"]
    moved = client.post("/v1/sessions/a/migrate", json={}).json()
    assert moved["version"] == loaded["version"]
    error(client.post("/v1/models/other/load", content=data), 404, "not_found")
    message = error(client.post("/v1/models/m/load", content=b"x"), 400, "bad_input")["message"]
    assert "/" not in message, "no path of the server is told"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/sessions/a/step", b"{", 400, "bad_input"),
        ("POST", "/v1/sessions/a/step", b'{"inputs": [NaN, 1]}', 400, "bad_input"),
        ("POST", "/v1/sessions/a/step", b'{"inputs": [1]}', 400, "bad_input"),
        ("POST", "/v1/sessions/a/step", b'{"inputs": [1, 2], "step": "x"}', 422, "unprocessable"),
        ("POST", "/v1/sessions/a/step", b"[]", 422, "unprocessable"),
        ("POST", "/v1/sessions/a/step", b'{"inputs": [1, 2], "step": 9}', 409, "wrong_position"),
        ("POST", "/v1/sessions/none/step", b'{"inputs": [1, 2]}', 404, "not_found"),
        ("POST", "/v1/sessions", b'{"model": "m", "id": "a"}', 409, "exists"),
        ("POST", "/v1/sessions", b'{"model": "none"}', 404, "not_found"),
        ("POST", "/v1/sessions", b"{}", 422, "unprocessable"),
        ("POST", "/v1/sessions", b'{"model": "m", "durability": "x"}', 422, "unprocessable"),
        ("GET", "/v1/sessions?limit=x", b"", 422, "unprocessable"),
        ("GET", "/v1/nothing", b"", 404, "not_found"),
        ("PATCH", "/v1/sessions", b"", 405, "bad_request"),
        ("POST", "/v1/sessions/a/step", b'{"inputs": ' + b"[" * 100_000, 400, "bad_input"),
    ],
)
def test_errors_have_one_shape(
    client: TestClient, method: str, path: str, body: bytes, status: int, code: str
) -> None:
    client.post("/v1/sessions", json={"model": "m", "id": "a"})
    error(client.request(method, path, content=body), status, code)
    assert client.get("/v1/sessions/a").json()["step"] == 0


def test_a_body_over_the_limit_is_refused() -> None:
    with client_of(Guards(body=1000)) as client:
        client.post("/v1/sessions", json={"model": "m", "id": "a"})
        error(client.post("/v1/sessions/a/step", content=b" " * 1001), 413, "too_large")

        def parts() -> Iterator[bytes]:
            yield from [b" " * 600] * 2

        error(client.post("/v1/sessions/a/step", content=parts()), 413, "too_large")


def test_tokens_have_namespaces_of_their_own() -> None:
    with client_of(Guards({"one": "n1", "two": "n2"})) as client:
        first = {"Authorization": "Bearer one"}
        second = {"Authorization": "Bearer two"}
        for headers in ({}, {"Authorization": "Bearer three"}, {"Authorization": "Basic one"}):
            response = client.get("/v1/models", headers=headers)
            error(response, 401, "unauthorized")
            assert response.headers["www-authenticate"] == "Bearer"
        made = {"model": "m", "id": "a"}
        assert client.post("/v1/sessions", json=made, headers=first).status_code == 201
        error(client.get("/v1/sessions/a", headers=second), 404, "not_found")
        assert client.post("/v1/sessions", json=made, headers=second).status_code == 201
        assert client.get("/healthz").status_code == 200


def test_files_of_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("# who\nteam-a s3cret  # theirs\n\nteam-b other\n")
    assert read_tokens(path) == {"s3cret": "team-a", "other": "team-b"}
    for text in ("", "one\n", "a/b token\n", "a t\nb t\n"):
        path.write_text(text)
        with pytest.raises(FileError, match=r"token|TOKEN"):
            read_tokens(path)
    with pytest.raises(FileError, match="cannot read"):
        read_tokens(tmp_path / "none")


def test_a_stream_over_a_socket(client: TestClient) -> None:
    x = series(3)[0]
    want = model()(x[None])[0][0]
    client.post("/v1/sessions", json={"model": "m", "id": "a"})
    with client.websocket_connect("/v1/sessions/a/stream") as socket:
        for t in range(3):
            if t == 1:
                socket.send_bytes(msgspec.msgpack.encode({"inputs": x[t].tolist()}))
                answer = msgspec.msgpack.decode(socket.receive_bytes())
            else:
                socket.send_text(json.dumps({"inputs": x[t].tolist(), "step": t}))
                answer = json.loads(socket.receive_text())
            np.testing.assert_allclose(answer["outputs"], want[t], atol=1e-6)
        socket.send_text("{")
        assert json.loads(socket.receive_text())["error"]["code"] == "bad_input"
        socket.send_text(json.dumps({"inputs": [1, 2], "step": 7}))
        assert json.loads(socket.receive_text())["error"]["step"] == 3


def test_the_server_tells_of_itself(client: TestClient) -> None:
    client.post("/v1/sessions", json={"model": "m", "id": "a"})
    client.post("/v1/sessions/a/step", json={"inputs": [1, 2]})
    text = client.get("/metrics").text
    assert "statewise_steps_total 1.0" in text
    assert 'statewise_batch_sessions_bucket{le="1.0"} 1.0' in text
    assert 'statewise_resident_sessions{model="m"' in text
    assert client.get("/readyz").json() == {"status": "ready"}
    document = client.get("/openapi.json").json()
    assert document["paths"]["/v1/step"]["post"]["requestBody"]["content"]


schema = schemathesis.openapi.from_dict(wire.describe_routes(ROUTES, "1"))


@schema.parametrize()
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_a_fuzzer_sends_is_the_servers_fault(case, client: TestClient) -> None:
    client.post("/v1/sessions", json={"model": "m", "id": "a"})
    body = case.body
    if isinstance(body, NotSet):
        body = b""
    elif not isinstance(body, bytes):
        body = json.dumps(body, default=str).encode()
    headers = {name: str(value) for name, value in (case.headers or {}).items()}
    path = case.formatted_path if case.path_parameters else case.path
    response = client.request(
        case.method, path, params=case.query or None, headers=headers, content=body
    )
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert set(response.json()) == {"error"}
