"""Each request of the server's interface, as data: its path, its body, how its answer is read."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np

from statewise.serve.engine import SessionInfo
from statewise.serve.errors import Exists, Gone, ServeError
from statewise.serve.exchange import Call, make_error, to_lists
from statewise.serve.models import ModelInfo
from statewise.serve.session import StepRequest, StepResult
from statewise.serve.wire import dump_state, load_state
from statewise.state import State


def models() -> Call[list[ModelInfo]]:
    return Call("GET", "/v1/models", _models)


def load_model(name: str, path: str | Path) -> Call[ModelInfo]:
    data = Path(path).read_bytes()
    return Call("POST", f"/v1/models/{_safe(name)}/load", _model, data)


def create(
    model: str,
    id: str | None,
    seed: Mapping[str, Any] | None,
    ttl: float | None,
    durability: str | None,
) -> Call[SessionInfo]:
    """The id is chosen here if the caller has none, so that a repeated request finds what the
    first has made.
    """
    own = id or uuid.uuid4().hex
    body = {"model": model, "id": own, "seed": _seed(seed), "ttl": ttl, "durability": durability}
    body = {name: value for name, value in body.items() if value is not None}
    again = None if id else (Exists, f"/v1/sessions/{own}")
    return Call("POST", "/v1/sessions", _session, body, done_already=again)


def step(
    session: str, inputs: Any, expected: int | None, request_id: str | None
) -> Call[StepResult]:
    body = {
        "inputs": to_lists(inputs),
        "step": expected,
        "request_id": request_id or uuid.uuid4().hex,
    }
    return Call("POST", f"{_at(session)}/step", _result, body)


def step_many(requests: Sequence[StepRequest]) -> Call[list[StepResult | ServeError]]:
    steps = [
        {
            "session": one.session,
            "inputs": to_lists(one.inputs),
            "step": one.step,
            "request_id": one.request_id or uuid.uuid4().hex,
        }
        for one in requests
    ]
    return Call("POST", "/v1/step", _results, {"steps": steps})


def info(session: str) -> Call[SessionInfo]:
    return Call("GET", _at(session), _session)


def page(cursor: str | None) -> Call[tuple[list[SessionInfo], str | None]]:
    return Call("GET", "/v1/sessions", _page, query={"cursor": cursor} if cursor else {})


def read(session: str) -> Call[State]:
    return Call("GET", f"{_at(session)}/state", load_state)


def write(session: str, state: State) -> Call[SessionInfo]:
    return Call("PUT", f"{_at(session)}/state", _session, dump_state(state))


def snapshot(session: str) -> Call[str]:
    return Call("POST", f"{_at(session)}/snapshots", _snapshot, {})


def fork(session: str, snapshot: str | None, id: str | None) -> Call[SessionInfo]:
    own = id or uuid.uuid4().hex
    body = {"id": own} if snapshot is None else {"id": own, "snapshot": snapshot}
    again = None if id else (Exists, f"/v1/sessions/{own}")
    return Call("POST", f"{_at(session)}/fork", _session, body, done_already=again)


def rollback(session: str, snapshot: str) -> Call[SessionInfo]:
    return Call("POST", f"{_at(session)}/rollback", _session, {"snapshot": snapshot})


def migrate(session: str, how: str, version: str | None) -> Call[SessionInfo]:
    body = {"how": how} if version is None else {"how": how, "version": version}
    return Call("POST", f"{_at(session)}/migrate", _session, body)


def delete(session: str) -> Call[str]:
    return Call("DELETE", _at(session), _snapshot, done_already=(Gone, None))


def _safe(text: str) -> str:
    return quote(text, safe="")


def _at(session: str) -> str:
    return f"/v1/sessions/{_safe(session)}"


def _seed(seed: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if seed is None:
        return None
    given = dict(seed)
    if "inputs" in given:
        given["inputs"] = to_lists(given["inputs"])
    if isinstance(given.get("state"), State):
        given["state"] = dump_state(given["state"])
    return given


def _session(body: Any) -> SessionInfo:
    return msgspec.convert(body, SessionInfo)


def _model(body: Any) -> ModelInfo:
    return msgspec.convert(body, ModelInfo)


def _models(body: Any) -> list[ModelInfo]:
    return msgspec.convert(body["models"], list[ModelInfo])


def _page(body: Any) -> tuple[list[SessionInfo], str | None]:
    return msgspec.convert(body["sessions"], list[SessionInfo]), body.get("cursor")


def _snapshot(body: Any) -> str:
    return str(body["snapshot"])


def _result(body: Any) -> StepResult:
    return StepResult(np.asarray(body["outputs"]), int(body["step"]), bool(body.get("replayed")))


def _results(body: Any) -> list[StepResult | ServeError]:
    return [_error(one["error"]) if "error" in one else _result(one) for one in body["results"]]


def _error(body: dict[str, Any]) -> ServeError:
    details = dict(body)
    return make_error(str(details.pop("code")), str(details.pop("message")), details)
