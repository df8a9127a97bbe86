"""The table of routes: what is asked for where, and what the document says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from statewise.serve import wire
from statewise.serve.engine import SessionInfo
from statewise.serve.models import ModelInfo


@dataclass(frozen=True)
class Offered:
    """A row of the table of routes: what a request is answered by, and what its document says."""

    method: str
    path: str
    name: str
    summary: str
    takes: Any = None
    gives: Any = None
    status: int = 200
    upload: bool = False
    binary: bool = False
    example: Any = None
    query: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]


SESSION = "/v1/sessions/{id}"
ROUTES = [
    Offered("GET", "/v1/models", "models", "What is served", gives=wire.Models),
    Offered(
        "POST",
        "/v1/models/{name}/load",
        "load_model",
        "Serve new weights beside the old; the body is a model file",
        gives=ModelInfo,
        upload=True,
    ),
    Offered(
        "POST",
        "/v1/sessions",
        "create",
        "A new session",
        wire.CreateBody,
        SessionInfo,
        status=201,
        example={"model": "run", "id": "pump-7", "seed": {"inputs": [[0.5], [0.25]]}},
    ),
    Offered(
        "GET",
        "/v1/sessions",
        "list_sessions",
        "Living sessions, in the order of their ids",
        gives=wire.Sessions,
        query={"cursor": {"type": "string"}, "limit": {"type": "integer", "minimum": 1}},
    ),
    Offered("GET", SESSION, "info", "What is known of a session", gives=SessionInfo),
    Offered("DELETE", SESSION, "delete", "End it", gives=wire.SnapshotAnswer),
    Offered(
        "POST",
        f"{SESSION}/step",
        "step",
        "One time step or a chunk, exactly once",
        wire.StepBody,
        wire.StepAnswer,
        example={"inputs": [0.5], "step": 0, "request_id": "a1"},
    ),
    Offered(
        "POST",
        "/v1/step",
        "step_many",
        "Steps of many sessions, results or errors one by one",
        wire.StepsBody,
        wire.StepsAnswer,
        example={"steps": [{"session": "pump-7", "inputs": [0.5]}]},
    ),
    Offered("GET", f"{SESSION}/state", "read", "Its state, a safetensors file", binary=True),
    Offered("PUT", f"{SESSION}/state", "write", "Set its state", gives=SessionInfo, upload=True),
    Offered(
        "POST",
        f"{SESSION}/snapshots",
        "snapshot",
        "Keep its state",
        gives=wire.SnapshotAnswer,
        status=201,
    ),
    Offered(
        "POST",
        f"{SESSION}/fork",
        "fork",
        "A new session in its state, or in a snapshot's",
        wire.ForkBody,
        SessionInfo,
        status=201,
        example={"id": "pump-7-if"},
    ),
    Offered(
        "POST",
        f"{SESSION}/rollback",
        "rollback",
        "Return to a snapshot",
        wire.RollbackBody,
        SessionInfo,
    ),
    Offered(
        "POST",
        f"{SESSION}/migrate",
        "migrate",
        "Move it to other weights of its model",
        wire.MigrateBody,
        SessionInfo,
    ),
]
