"""Bodies of requests and answers in JSON or MessagePack, and the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from statewise.errors import StatewiseError
from statewise.serve.engine import SessionInfo
from statewise.serve.errors import BadInput, ServeError, Unprocessable
from statewise.serve.models import ModelInfo
from statewise.serve.session import StepRequest, StepResult
from statewise.state import State

JSON, MESSAGEPACK = "application/json", "application/x-msgpack"
SAFETENSORS = "application/octet-stream"
T = TypeVar("T")

Inputs = Any
"""One number for each feature, (features,); or a list of such lists for several steps, (T,
features).
"""


class StepBody(msgspec.Struct):
    """One time step or a chunk for one session."""

    inputs: Inputs
    step: int | None = None
    request_id: str | None = None


class StepsBody(msgspec.Struct):
    """Steps of many sessions."""

    steps: list[StepRequest]


class SeedBody(msgspec.Struct):
    """Where a session starts: one of these."""

    inputs: Inputs = None
    state: bytes | None = None
    snapshot: str | None = None
    series: str | int | None = None


class CreateBody(msgspec.Struct):
    """A session to create."""

    model: str
    id: str | None = None
    seed: SeedBody | None = None
    ttl: float | None = None
    durability: Literal["step", "interval", "none"] | None = None


class ForkBody(msgspec.Struct):
    """Where the fork starts, and its id."""

    snapshot: str | None = None
    id: str | None = None


class RollbackBody(msgspec.Struct):
    """The snapshot to return to."""

    snapshot: str


class MigrateBody(msgspec.Struct):
    """How to move a session to other weights."""

    how: Literal["keep", "replay"] = "keep"
    version: str | None = None


class StepAnswer(msgspec.Struct):
    """Outputs (O,) for a time step, (T, O) for a chunk; and the position of the session."""

    outputs: list[Any]
    step: int
    replayed: bool = False


class StepsAnswer(msgspec.Struct):
    """For each entry the answer of a step, or ``{"error": ...}``."""

    results: list[dict[str, Any]]


class Models(msgspec.Struct):
    """The models served."""

    models: list[ModelInfo]


class Sessions(msgspec.Struct):
    """A page of sessions; `cursor` asks for the next one."""

    sessions: list[SessionInfo]
    cursor: str | None


class SnapshotAnswer(msgspec.Struct):
    """The name of a snapshot."""

    snapshot: str


class ErrorBody(msgspec.Struct):
    """``code`` is for programs, ``message`` for people; some errors have further entries."""

    code: str
    message: str


class ErrorAnswer(msgspec.Struct):
    """The shape of every error."""

    error: ErrorBody


_to_json, _to_pack = msgspec.json.Encoder(), msgspec.msgpack.Encoder()
_decoders: dict[tuple[bool, Any], Any] = {}


def decode(body: bytes, packed: bool, kind: type[T]) -> T:
    """Read a body as one of the classes above.

    Raises:
        BadInput: the body is not JSON (or MessagePack).
        Unprocessable: it is, but not what was expected.
    """
    decoder = _decoders.get((packed, kind))
    if decoder is None:
        module = msgspec.msgpack if packed else msgspec.json
        decoder = _decoders[packed, kind] = module.Decoder(kind)
    try:
        value: T = decoder.decode(body)
        return value
    except msgspec.ValidationError as error:
        raise Unprocessable(f"the body is not what was expected: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        words = "MessagePack" if packed else "JSON"
        raise BadInput(f"the body is not {words}: {error}") from None


def encode(value: Any, packed: bool) -> bytes:
    """Write an answer as bytes."""
    return _to_pack.encode(value) if packed else _to_json.encode(value)


def describe_result(result: StepResult | ServeError) -> dict[str, Any]:
    """Describe the result of a step, or its error."""
    if isinstance(result, ServeError):
        return result.body()
    answer: dict[str, Any] = {"outputs": result.outputs.tolist(), "step": result.step}
    if result.replayed:
        answer["replayed"] = True
    return answer


def read_seed(seed: SeedBody | None) -> dict[str, Any]:
    """Read a seed for the engine."""
    if seed is None:
        return {}
    given = {
        name: value for name in seed.__struct_fields__ if (value := getattr(seed, name)) is not None
    }
    if "state" in given:
        given["state"] = load_state(given["state"])
    return given


def dump_state(state: State) -> bytes:
    """Write a state as the bytes of its file."""
    return state.to_bytes()


def load_state(data: bytes) -> State:
    """Read a state from the bytes of its file.

    Raises:
        BadInput: bytes that are no state.
    """
    try:
        return State.from_bytes(data)
    except StatewiseError as error:
        raise BadInput(f"the body is not a saved state: {error}") from None


def describe_routes(routes: list[Any], version: str) -> dict[str, Any]:
    """Write the OpenAPI document of a table of routes."""
    kinds = {kind for route in routes for kind in (route.takes, route.gives) if kind is not None}
    _, components = msgspec.json.schema_components(
        [*sorted(kinds, key=lambda kind: kind.__name__), ErrorAnswer],
        ref_template="#/components/schemas/{name}",
    )
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _describe_operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "statewise sessions",
            "version": version,
            "description": "Sessions that keep recurrent states: create, step exactly once, read, "
            "write, fork, roll back.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _describe_operation(route: Any) -> dict[str, Any]:
    error = {"$ref": "#/components/schemas/ErrorAnswer"}
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": route.name,
        "parameters": [
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": {"type": "string", "minLength": 1},
            }
            for name in route.names
        ]
        + [
            {"name": name, "in": "query", "required": False, "schema": schema}
            for name, schema in route.query.items()
        ],
        "responses": {
            str(route.status): {
                "description": "done",
                **_describe_content(route.gives, route.binary, None),
            },
            "default": {
                "description": "an error",
                "content": {JSON: {"schema": error}},
            },
        },
    }
    if route.takes is not None or route.upload:
        operation["requestBody"] = {
            "required": True,
            **_describe_content(route.takes, route.upload, route.example),
        }
    return operation


def _describe_content(kind: Any, binary: bool, example: Any) -> dict[str, Any]:
    if binary:
        schema = {"type": "string", "format": "binary"}
        return {"content": {SAFETENSORS: {"schema": schema}}}
    if kind is None:
        return {}
    entry: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}
    if example is not None:
        entry["example"] = example
    return {"content": {JSON: entry}}
