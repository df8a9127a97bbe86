"""`create_app`: the engine over HTTP and WebSocket, as an ASGI application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

import statewise
from statewise.errors import StatewiseError
from statewise.serve import wire
from statewise.serve.dashboard import dashboard_routes
from statewise.serve.engine import Engine
from statewise.serve.errors import (
    BadInput,
    NotFound,
    ServeError,
    TimedOut,
    TooLarge,
    Unauthorized,
    Unprocessable,
)
from statewise.serve.guards import Guards
from statewise.serve.kserve import kserve_routes
from statewise.serve.metrics import render_metrics
from statewise.serve.models import ServedModel
from statewise.serve.routes import ROUTES, SESSION

_log = logging.getLogger("statewise.serve")


def create_app(
    engine: Engine, guards: Guards | None = None, routes: Iterable[BaseRoute] = ()
) -> FastAPI:
    """Create the application, for any ASGI server.

    Arguments:
        engine: started and closed with the application.
        guards: tokens and limits.
        routes: further routes, of other protocols or pages.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await engine.start()
        try:
            yield
        finally:
            await engine.close()

    api = Api(engine, guards or Guards())
    app = FastAPI(
        title="statewise sessions",
        version=statewise.__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.api = api
    app.openapi = lambda: wire.describe_routes(ROUTES, statewise.__version__)  # type: ignore[method-assign]
    for route in ROUTES:
        answer = api.make_endpoint(getattr(api, route.name), route.status)
        app.router.routes.append(Route(route.path, answer, methods=[route.method]))
    app.add_middleware(_StepsFirst, answer=api.make_endpoint(api.step))
    app.router.routes += [
        WebSocketRoute(f"{SESSION}/stream", api.stream),
        Route("/healthz", api.healthz),
        Route("/readyz", api.readyz),
        Route("/metrics", api.metrics),
        *kserve_routes(api),
        *dashboard_routes(api),
        *routes,
    ]
    app.add_exception_handler(HTTPException, _answer_router_error)
    return app


_BEFORE, _, _AFTER = f"{SESSION}/step".partition("{id}")


class _StepsFirst:
    """Answers steps of one session, which are most requests, without the router."""

    def __init__(self, app: ASGIApp, answer: Callable[[Request], Awaitable[Response]]) -> None:
        self.app, self.answer = app, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            path: str = scope["path"]
            name = path[len(_BEFORE) : -len(_AFTER)]
            if path == f"{_BEFORE}{name}{_AFTER}" and name and "/" not in name:
                scope["path_params"] = {"id": name}
                response = await self.answer(Request(scope, receive))
                await response(scope, receive, send)
                return
        await self.app(scope, receive, send)


class Api:
    """The answers to requests. Each method takes a request and a namespace.

    Arguments:
        engine: the sessions.
        guards: tokens and limits.
    """

    def __init__(self, engine: Engine, guards: Guards) -> None:
        self.engine, self.guards = engine, guards

    def make_endpoint(
        self, work: Callable[[Request, str], Awaitable[Any]], status: int = 200
    ) -> Callable[[Request], Awaitable[Response]]:
        """Make an endpoint: it checks the token, limits the time, and writes the result in a format
        that the client accepts, or the error in the shape of every error.
        """

        async def endpoint(request: Request) -> Response:
            packed = wants_pack(request)
            try:
                namespace = self.guards.find_namespace(request.headers.get("authorization"))
                async with asyncio.timeout(self.guards.timeout):
                    value = await work(request, namespace)
            except TimeoutError:
                late = TimedOut(f"the request took longer than {self.guards.timeout:g} s")
                return make_error_response(late, packed)
            except ServeError as error:
                return make_error_response(error, packed)
            except StatewiseError as error:
                return make_error_response(Unprocessable(str(error)), packed)
            except Exception:
                _log.exception("a request failed by an error in the server")
                return make_error_response(
                    ServeError("an error in the server; its log says more"), packed
                )
            return value if isinstance(value, Response) else make_response(value, packed, status)

        return endpoint

    async def read_body(self, request: Request) -> bytes:
        """Read the body of a request.

        Raises:
            TooLarge: more bytes than are allowed.
        """
        most = self.guards.body
        length = request.headers.get("content-length", "0")
        parts, size = [], 0
        if not length.isdecimal() or int(length) <= most:
            async for part in request.stream():
                size += len(part)
                parts.append(part)
                if size > most:
                    break
            else:
                return parts[0] if len(parts) == 1 else b"".join(parts)
        raise TooLarge(f"the body has more than {most} bytes, the limit of this server")

    async def _decode_body(self, request: Request, kind: type[wire.T]) -> wire.T:
        packed = "msgpack" in request.headers.get("content-type", "")
        return wire.decode(await self.read_body(request), packed, kind)

    # Models

    async def models(self, request: Request, namespace: str) -> Any:
        return wire.Models(self.engine.models())

    async def load_model(self, request: Request, namespace: str) -> Any:
        name, data = request.path_params["name"], await self.read_body(request)
        before = self.engine.model(name)

        def load() -> ServedModel:
            with TemporaryDirectory() as folder:
                path = Path(folder) / "model.safetensors"
                path.write_bytes(data)
                try:
                    return ServedModel.read(name, path, before.table.capacity)
                except StatewiseError as error:
                    message = str(error).replace(str(path), "the body")
                    raise BadInput(message) from None

        return self.engine.load_model(await asyncio.to_thread(load))

    # Stepping

    async def step(self, request: Request, namespace: str) -> Any:
        given = await self._decode_body(request, wire.StepBody)
        return wire.describe_result(
            await self.engine.step(
                namespace, request.path_params["id"], given.inputs, given.step, given.request_id
            )
        )

    async def step_many(self, request: Request, namespace: str) -> Any:
        given = await self._decode_body(request, wire.StepsBody)
        results = await self.engine.step_many(namespace, given.steps)
        return {"results": [wire.describe_result(result) for result in results]}

    async def stream(self, socket: WebSocket) -> None:
        """Answer steps of one session over a socket, in order: JSON as text, MessagePack as bytes,
        as they come.
        """
        try:
            namespace = self.guards.find_namespace(socket.headers.get("authorization"))
        except ServeError as error:
            await socket.close(4401, str(error))
            return
        await socket.accept()
        try:
            while True:
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                text, data = message.get("text"), message.get("bytes")
                packed = text is None
                answer = await self._answer_message(
                    data if text is None else text.encode(), packed, namespace, socket
                )
                encoded = wire.encode(answer, packed)
                await (socket.send_bytes(encoded) if packed else socket.send_text(encoded.decode()))
        except WebSocketDisconnect:
            return

    async def _answer_message(
        self, data: Any, packed: bool, namespace: str, socket: WebSocket
    ) -> Any:
        try:
            given = wire.decode(data or b"", packed, wire.StepBody)
            async with asyncio.timeout(self.guards.timeout):
                return wire.describe_result(
                    await self.engine.step(
                        namespace,
                        socket.path_params["id"],
                        given.inputs,
                        given.step,
                        given.request_id,
                    )
                )
        except TimeoutError:
            return TimedOut(f"the step took longer than {self.guards.timeout:g} s").body()
        except ServeError as error:
            return error.body()

    # Sessions

    async def create(self, request: Request, namespace: str) -> Any:
        given = await self._decode_body(request, wire.CreateBody)
        seed = wire.read_seed(given.seed)
        return await self.engine.create(
            namespace, given.model, given.id, seed, given.ttl, given.durability
        )

    async def list_sessions(self, request: Request, namespace: str) -> Any:
        limit = request.query_params.get("limit", "100")
        if not limit.isdecimal() or not int(limit):
            raise Unprocessable(f"limit must be a whole number of at least 1, got {limit!r}")
        cursor = request.query_params.get("cursor", "")
        return wire.Sessions(*await self.engine.list(namespace, cursor, int(limit)))

    async def info(self, request: Request, namespace: str) -> Any:
        return await self.engine.info(namespace, request.path_params["id"])

    async def delete(self, request: Request, namespace: str) -> Any:
        return wire.SnapshotAnswer(await self.engine.delete(namespace, request.path_params["id"]))

    async def read(self, request: Request, namespace: str) -> Any:
        state = await self.engine.read(namespace, request.path_params["id"])
        return Response(wire.dump_state(state), media_type=wire.SAFETENSORS)

    async def write(self, request: Request, namespace: str) -> Any:
        state = wire.load_state(await self.read_body(request))
        return await self.engine.write(namespace, request.path_params["id"], state)

    async def snapshot(self, request: Request, namespace: str) -> Any:
        name = await self.engine.snapshot(namespace, request.path_params["id"])
        return wire.SnapshotAnswer(name)

    async def fork(self, request: Request, namespace: str) -> Any:
        given = await self._decode_body(request, wire.ForkBody)
        of = request.path_params["id"]
        return await self.engine.fork(namespace, of, given.snapshot, given.id)

    async def rollback(self, request: Request, namespace: str) -> Any:
        given = await self._decode_body(request, wire.RollbackBody)
        return await self.engine.rollback(namespace, request.path_params["id"], given.snapshot)

    async def migrate(self, request: Request, namespace: str) -> Any:
        given = await self._decode_body(request, wire.MigrateBody)
        of = request.path_params["id"]
        return await self.engine.migrate(namespace, of, given.how, given.version)

    # The server itself

    async def healthz(self, request: Request) -> Response:
        return make_response({"status": "alive"}, False)

    async def readyz(self, request: Request) -> Response:
        ready = self.engine.ready
        return make_response(
            {"status": "ready" if ready else "not ready"}, False, 200 if ready else 503
        )

    async def metrics(self, request: Request) -> Response:
        text, kind = render_metrics(self.engine)
        return Response(text, media_type=kind)


def wants_pack(request: Request) -> bool:
    """Whether the answer is MessagePack: as accepted, else as the request."""
    accepted = request.headers.get("accept", "*/*")
    if "json" in accepted:
        return False
    return "msgpack" in accepted or "msgpack" in request.headers.get("content-type", "")


def make_response(value: Any, packed: bool, status: int = 200) -> Response:
    """Make a response."""
    kind = wire.MESSAGEPACK if packed else wire.JSON
    return Response(wire.encode(value, packed), status, media_type=kind)


def make_error_response(error: ServeError, packed: bool) -> Response:
    """Make the response of an error."""
    response = make_response(error.body(), packed, error.status)
    if "retry_after" in error.details:
        response.headers["Retry-After"] = str(error.details["retry_after"])
    if error.status == Unauthorized.status:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


async def _answer_router_error(request: Request, error: Exception) -> Response:
    """Answer what the router refuses: an unknown path, or another method."""
    assert isinstance(error, HTTPException)
    if error.status_code == NotFound.status:
        return make_error_response(NotFound(f"there is nothing at {request.url.path}"), False)
    body = {"error": {"code": "bad_request", "message": str(error.detail)}}
    response = make_response(body, False, error.status_code)
    response.headers.update(error.headers or {})
    return response
