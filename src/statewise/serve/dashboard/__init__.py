"""The page at ``/``: live sessions, rates, a state as it moves; its files and what feeds them."""

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
"""How many values of a field are shown; of a longer one, every second, third, ... is."""
FRAME = 0.1
"""Seconds between two looks at a session that is watched."""
LASTS = 2.0
"""Seconds after which the page must ask again to watch a session: a server that ends, and waits for
what it is asked, need not wait for pages that are open.
"""
SEARCHED = 10_000
"""How many sessions a search looks through."""


def dashboard_routes(api: Api) -> list[Route]:
    """The page, its files and its feeds.

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
        *(Route(path, static(name), include_in_schema=False) for path, name in named.items()),
        Route("/dashboard/figures", answered(feeds.figures), include_in_schema=False),
        Route("/dashboard/sessions", answered(feeds.sessions), include_in_schema=False),
        Route("/dashboard/watch", answered(feeds.watch), include_in_schema=False),
    ]


def static(name: str) -> Callable[[Request], Awaitable[Response]]:
    """A file of the page."""

    async def answer(_: Request) -> Response:
        return FileResponse(str(STATIC / name), headers=PAGE_HEADERS)

    return answer


def answered(
    feed: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """A feed with the server's errors as answers."""

    async def answer(request: Request) -> Response:
        try:
            return await feed(request)
        except ServeError as error:
            return json(error.body(), error.status)

    return answer


def json(body: Any, status: int = 200) -> Response:
    """An answer that no cache keeps."""
    return Response(
        msgspec.json.encode(body),
        status,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


class Feeds:
    """What the page asks for while it is open."""

    def __init__(self, api: Api) -> None:
        self.engine, self.guards = api.engine, api.guards

    def namespace(self, request: Request) -> str:
        """Whose sessions the page may show."""
        return self.guards.namespace(request.headers.get("authorization"))

    async def figures(self, request: Request) -> Response:
        """Counts since the server began, from which the page makes rates."""
        self.namespace(request)
        stats, models = self.engine.stats, self.engine.models()
        return json(
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
        """The first sessions whose id holds a text."""
        who = self.namespace(request)
        search = request.query_params.get("search", "").casefold()
        limit = whole(request, "limit", 50)
        found: list[Any] = []
        cursor: str | None = ""
        seen = 0
        while len(found) <= limit and seen < SEARCHED:
            page, cursor = await self.engine.list(who, cursor or "", 500 if search else limit + 1)
            found += [info for info in page if search in info.id.casefold()]
            seen += len(page)
            if cursor is None:
                break
        return json({"sessions": found[:limit], "more": len(found) > limit or cursor is not None})

    async def watch(self, request: Request) -> Response:
        """A session as it moves, for a while: a line of JSON for each step that is seen."""
        who, session = self.namespace(request), request.query_params.get("session", "")
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
                    fields = {name: thinned(array[0]) for name, array in state.items()}
                    event = {"step": int(state.position[0]), "fields": fields}
            except ServeError as error:
                yield msgspec.json.encode(error.body()) + b"\n"
                return
            if event:
                event["info"] = info
                shown = now
                yield msgspec.json.encode(event) + b"\n"
            await asyncio.sleep(FRAME)


def thinned(array: np.ndarray) -> dict[str, Any]:
    """A field as the page draws it: at most `ROWS` of its values, rounded."""
    values = np.asarray(array, dtype=np.float64).ravel()
    stride = -(-values.size // ROWS) or 1
    shown = np.nan_to_num(values[::stride])
    return {"size": values.size, "stride": stride, "values": [float(f"{v:.4g}") for v in shown]}


def whole(request: Request, name: str, default: int) -> int:
    """A whole number of the query, from 1 to 1000."""
    text = request.query_params.get(name, str(default))
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise BadInput(f"{name} must be a whole number from 1 to 1000, got {text!r}")
    return int(text)
