"""The page at ``/``: sessions, rates, and a state as it changes; its files and its data."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from statewise.serve.errors import BadInput, ServeError

if TYPE_CHECKING:
    from statewise.serve.app import Api

STATIC = files(__name__) / "static"
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
ROWS = 128
"""How many values of a field are shown; of a longer one every second, third, ... value is."""
FRAME = 0.1
"""Seconds between two readings of a session that is watched."""
LASTS = 2.0
"""Seconds after which the page must ask again to watch a session, so that open pages do not delay
the end of the server.
"""
SEARCHED = 10_000
"""How many sessions a search looks through."""


def dashboard_routes(api: Api) -> list[Route]:
    """List the routes of the page, its files and its data.

    Arguments:
        api: the server's engine and guards.
    """
    feeds = Feeds(api)
    named = {
        "/": "index.html",
        **{
            f"/dashboard/{file.name}": file.name
            for file in STATIC.iterdir()
            if file.name.endswith((".js", ".css"))
        },
    }
    return [
        *(Route(path, serve_file(name), include_in_schema=False) for path, name in named.items()),
        Route("/dashboard/figures", answer_errors(feeds.figures), include_in_schema=False),
        Route("/dashboard/sessions", answer_errors(feeds.sessions), include_in_schema=False),
        Route("/dashboard/watch", answer_errors(feeds.watch), include_in_schema=False),
    ]


def serve_file(name: str) -> Callable[[Request], Awaitable[Response]]:
    """Make an endpoint for a file of the page."""

    async def answer(_: Request) -> Response:
        return FileResponse(str(STATIC / name), headers=PAGE_HEADERS)

    return answer


def answer_errors(
    feed: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Make an endpoint of a feed, with the server's errors as answers."""

    async def answer(request: Request) -> Response:
        try:
            return await feed(request)
        except ServeError as error:
            return make_json_response(error.body(), error.status)

    return answer


def make_json_response(body: Any, status: int = 200) -> Response:
    """Make a JSON response that is not cached."""
    return Response(
        msgspec.json.encode(body),
        status,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


class Feeds:
    """The data that an open page requests."""

    def __init__(self, api: Api) -> None:
        self.engine, self.guards = api.engine, api.guards

    def find_namespace(self, request: Request) -> str:
        """Find the namespace whose sessions the page may show."""
        return self.guards.find_namespace(request.headers.get("authorization"))

    async def figures(self, request: Request) -> Response:
        """Answer the counts since the server started, from which the page computes rates."""
        self.find_namespace(request)
        stats, models = self.engine.stats, self.engine.models()
        return make_json_response(
            {
                "time": time.time(),
                "models": models,
                "held": sum(model.sessions for model in models),
                "steps": stats.steps,
                "batches": sum(stats.batches.counts),
                "stepped": stats.batches.total,
                "spills": stats.spills,
                "seconds": stats.latency.bounds,
                "latency": stats.latency.counts,
            }
        )

    async def sessions(self, request: Request) -> Response:
        """Answer the first sessions whose id contains a text."""
        who = self.find_namespace(request)
        search = request.query_params.get("search", "").casefold()
        limit = read_whole_number(request, "limit", 50)
        found: list[Any] = []
        cursor: str | None = ""
        seen = 0
        while len(found) <= limit and seen < SEARCHED:
            page, cursor = await self.engine.list(who, cursor or "", 500 if search else limit + 1)
            found += [info for info in page if search in info.id.casefold()]
            seen += len(page)
            if cursor is None:
                break
        return make_json_response(
            {"sessions": found[:limit], "more": len(found) > limit or cursor is not None}
        )

    async def watch(self, request: Request) -> Response:
        """Answer a session as it changes, for a while: a line of JSON for each position."""
        who, session = self.find_namespace(request), request.query_params.get("session", "")
        await self.engine.info(who, session)
        return StreamingResponse(
            self._lines(who, session),
            media_type="application/x-ndjson",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def _lines(self, who: str, session: str) -> AsyncIterator[bytes]:
        shown: Any = None
        until = time.monotonic() + LASTS
        while time.monotonic() < until:
            event: dict[str, Any] = {}
            try:
                info = await self.engine.info(who, session)
                now = (info.step, info.used, info.version)
                if now != shown:
                    state = await self.engine.read(who, session)
                    fields = {name: thin(array[0]) for name, array in state.items()}
                    event = {"step": int(state.position[0]), "fields": fields}
            except ServeError as error:
                yield msgspec.json.encode(error.body()) + b"\n"
                return
            if event:
                event["info"] = info
                shown = now
                yield msgspec.json.encode(event) + b"\n"
            await asyncio.sleep(FRAME)


def thin(array: np.ndarray) -> dict[str, Any]:
    """Thin a field for drawing: at most `ROWS` of its values, rounded."""
    values = np.asarray(array, dtype=np.float64).ravel()
    stride = -(-values.size // ROWS) or 1
    shown = np.nan_to_num(values[::stride])
    return {"size": values.size, "stride": stride, "values": [float(f"{v:.4g}") for v in shown]}


def read_whole_number(request: Request, name: str, default: int) -> int:
    """Read a whole number of the query, from 1 to 1000."""
    text = request.query_params.get(name, str(default))
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise BadInput(f"{name} must be a whole number from 1 to 1000, got {text!r}")
    return int(text)
