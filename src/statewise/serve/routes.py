"""The table of routes, and what the OpenAPI document says about each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from statewise.serve import wire
from statewise.serve.engine import SessionInfo
from statewise.serve.models import ModelInfo


@dataclass(frozen=True)
class RouteEntry:
    """A route: the method of `Api` that answers it, and its entry in the document."""

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
    RouteEntry("GET", "/v1/models", "models", "List the models served", gives=wire.Models),
    RouteEntry(
        "POST",
        "/v1/models/{name}/load",
        "load_model",
        "Serve new weights beside the old; the body is a model file",
        gives=ModelInfo,
        upload=True,
    ),
    RouteEntry(
        "POST",
        "/v1/sessions",
        "create",
        "Create a session",
        wire.CreateBody,
        SessionInfo,
        status=201,
        example={"model": "run", "id": "pump-7", "seed": {"inputs": [[0.5], [0.25]]}},
    ),
    RouteEntry(
        "GET",
        "/v1/sessions",
        "list_sessions",
        "List sessions, in the order of their ids",
        gives=wire.Sessions,
        query={"cursor": {"type": "string"}, "limit": {"type": "integer", "minimum": 1}},
    ),
    RouteEntry("GET", SESSION, "info", "Describe a session", gives=SessionInfo),
    RouteEntry(
        "DELETE",
        SESSION,
        "delete",
        "Delete a session; its last state stays as a snapshot",
        gives=wire.SnapshotAnswer,
    ),
    RouteEntry(
        "POST",
        f"{SESSION}/step",
        "step",
        "Step a session by one time step or a chunk, exactly once",
        wire.StepBody,
        wire.StepAnswer,
        example={"inputs": [0.5], "step": 0, "request_id": "a1"},
    ),
    RouteEntry(
        "POST",
        "/v1/step",
        "step_many",
        "Step many sessions; results or errors one by one",
        wire.StepsBody,
        wire.StepsAnswer,
        example={"steps": [{"session": "pump-7", "inputs": [0.5]}]},
    ),
    RouteEntry(
        "GET",
        f"{SESSION}/state",
        "read",
        "Read the state of a session, a safetensors file",
        binary=True,
    ),
    RouteEntry(
        "PUT",
        f"{SESSION}/state",
        "write",
        "Set the state of a session",
        gives=SessionInfo,
        upload=True,
    ),
    RouteEntry(
        "POST",
        f"{SESSION}/snapshots",
        "snapshot",
        "Save the state of a session as a snapshot",
        gives=wire.SnapshotAnswer,
        status=201,
    ),
    RouteEntry(
        "POST",
        f"{SESSION}/fork",
        "fork",
        "Create a session in the state of another, or of a snapshot",
        wire.ForkBody,
        SessionInfo,
        status=201,
        example={"id": "pump-7-if"},
    ),
    RouteEntry(
        "POST",
        f"{SESSION}/rollback",
        "rollback",
        "Return a session to a snapshot",
        wire.RollbackBody,
        SessionInfo,
    ),
    RouteEntry(
        "POST",
        f"{SESSION}/migrate",
        "migrate",
        "Move a session to other weights of its model",
        wire.MigrateBody,
        SessionInfo,
    ),
]
