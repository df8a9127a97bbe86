"""What goes over the wire: bodies in JSON or MessagePack, and the document that describes them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
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
"""A number a feature, (features,); or a list of them for several time steps, (T, features)."""


class StepBody(msgspec.Struct):
    """One time step or a chunk for one session."""

    inputs: Inputs
    step: int | None = None
    request_id: str | None = None


class StepsBody(msgspec.Struct):
    """Steps of many sessions."""

    steps: list[StepRequest]


class SeedBody(msgspec.Struct):
    """Where a session starts; one of them."""

    inputs: Inputs = None
    state: bytes | None = None
    snapshot: str | None = None
    series: str | int | None = None


class CreateBody(msgspec.Struct):
    """A session to be."""

    model: str
    id: str | None = None
    seed: SeedBody | None = None
    ttl: float | None = None
    durability: Literal["step", "interval", "none"] | None = None


class ForkBody(msgspec.Struct):
    """Where the branch begins, and its name."""

    snapshot: str | None = None
    id: str | None = None


class RollbackBody(msgspec.Struct):
    """Where to return to."""

    snapshot: str


class MigrateBody(msgspec.Struct):
    """How a session moves to other weights."""

    how: Literal["keep", "replay"] = "keep"
    version: str | None = None


class StepAnswer(msgspec.Struct):
    """Outputs (O,) for a time step, (T, O) for a chunk; and where the session stands."""

    outputs: list[Any]
    step: int
    replayed: bool = False


class StepsAnswer(msgspec.Struct):
    """For each entry a step's answer, or ``{"error": ...}``."""

    results: list[dict[str, Any]]


class Models(msgspec.Struct):
    """What is served."""

    models: list[ModelInfo]


class Sessions(msgspec.Struct):
    """A page of sessions; `cursor` asks for the next one."""

    sessions: list[SessionInfo]
    cursor: str | None


class SnapshotAnswer(msgspec.Struct):
    """The name of a snapshot."""

    snapshot: str


class ErrorBody(msgspec.Struct):
    """``code`` is for programs, ``message`` for people; some errors say more."""

    code: str
    message: str


class ErrorAnswer(msgspec.Struct):
    """The one shape of errors."""

    error: ErrorBody


_to_json, _to_pack = msgspec.json.Encoder(), msgspec.msgpack.Encoder()
_decoders: dict[tuple[bool, Any], Any] = {}


def decode(body: bytes, packed: bool, kind: type[T]) -> T:
    """A body as one of the classes above.

    Raises:
        BadInput: not JSON (or MessagePack) at all.
        Unprocessable: it is, and something else than expected.
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
    """An answer as bytes."""
    return _to_pack.encode(value) if packed else _to_json.encode(value)


def answered(result: StepResult | ServeError) -> dict[str, Any]:
    """A step's result, or what went wrong with it."""
    if isinstance(result, ServeError):
        return result.body()
    answer: dict[str, Any] = {"outputs": result.outputs.tolist(), "step": result.step}
    if result.replayed:
        answer["replayed"] = True
    return answer


def seeded(seed: SeedBody | None) -> dict[str, Any]:
    """A seed as the engine takes it."""
    if seed is None:
        return {}
    given = {
        name: value for name in seed.__struct_fields__ if (value := getattr(seed, name)) is not None
    }
    if "state" in given:
        given["state"] = opened(given["state"])
    return given


def saved(state: State) -> bytes:
    """A state as the bytes of its file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "state.safetensors"
        state.save(path)
        return path.read_bytes()


def opened(data: bytes) -> State:
    """A state from the bytes of its file.

    Raises:
        BadInput: they are not.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "state.safetensors"
        path.write_bytes(data)
        try:
            return State.load(path)
        except StatewiseError as error:
            message = str(error).replace(str(path), "the body")
            raise BadInput(f"this is not a saved state: {message}") from None


def document(routes: list[Any], version: str) -> dict[str, Any]:
    """The OpenAPI document of a table of routes."""
    kinds = {kind for route in routes for kind in (route.takes, route.gives) if kind is not None}
    _, components = msgspec.json.schema_components(
        [*sorted(kinds, key=lambda kind: kind.__name__), ErrorAnswer],
        ref_template="#/components/schemas/{name}",
    )
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "statewise sessions",
            "version": version,
            "description": "Recurrent states that are kept alive: create, step exactly once, read, "
            "write, fork, roll back.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(route: Any) -> dict[str, Any]:
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
            str(route.status): {"description": "done", **_content(route.gives, route.binary, None)},
            "default": {
                "description": "an error",
                "content": {JSON: {"schema": error}},
            },
        },
    }
    if route.takes is not None or route.upload:
        operation["requestBody"] = {
            "required": True,
            **_content(route.takes, route.upload, route.example),
        }
    return operation


def _content(kind: Any, binary: bool, example: Any) -> dict[str, Any]:
    if binary:
        schema = {"type": "string", "format": "binary"}
        return {"content": {SAFETENSORS: {"schema": schema}}}
    if kind is None:
        return {}
    entry: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}
    if example is not None:
        entry["example"] = example
    return {"content": {JSON: entry}}
