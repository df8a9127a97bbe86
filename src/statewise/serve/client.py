"""`Client` and `AsyncClient`: the sessions of a server, from Python, without torch.

Every step carries a request id, so one that is sent again after a lost connection is applied once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from statewise.errors import MissingExtraError
from statewise.state import State

try:
    import httpx
    import msgspec  # noqa: F401
except ImportError as error:
    raise MissingExtraError(error.name or "httpx", "serve", "the client of a server") from None

from statewise.serve import calls
from statewise.serve.engine import SessionInfo
from statewise.serve.errors import ServeError
from statewise.serve.exchange import Call, Outcome, exchange
from statewise.serve.models import ModelInfo
from statewise.serve.session import StepRequest, StepResult
from statewise.serve.wire import MESSAGEPACK, SAFETENSORS

T = TypeVar("T")


def _settings(url: str, token: str | None, timeout: float) -> dict[str, Any]:
    headers = {"Accept": f"{MESSAGEPACK}, {SAFETENSORS}"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return {"base_url": url, "headers": headers, "timeout": timeout}


class Client:
    """A client of a server that waits for each answer.

    Arguments:
        url: where the server listens.
        token: what it asks for, where it was started with a token file.
        timeout: seconds to wait for an answer.
        retries: how often a call is sent again where the connection fails or the server is too busy
            or stopping; a ``Retry-After`` that it sends is honoured.
        transport: another way to reach the server, see httpx.

    Raises:
        MissingExtraError: httpx or msgspec is not installed.

    Every method raises the `ServeError` that the server answers, or `Unreachable` where none came.

    Example::

        with Client("http://127.0.0.1:8000") as client:
            session = client.create("sales").id
            result = client.step(session, [0.5])        # result.outputs (O,), result.step
            kept = client.snapshot(session)
            client.step(session, [[0.1], [0.2]])        # a chunk of time steps (T, F)
            client.rollback(session, kept)
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        timeout: float = 30.0,
        retries: int = 5,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(**_settings(url, token, timeout), transport=transport)
        self._retries = retries

    def _do(self, call: Call[T]) -> T:
        going = exchange(call, self._retries)
        wait, request = next(going)
        while True:
            time.sleep(wait)
            outcome: Outcome
            try:
                outcome = self._http.request(**request)
            except httpx.TransportError as error:
                outcome = error
            try:
                wait, request = going.send(outcome)
            except StopIteration as done:
                result: T = done.value
                return result

    def models(self) -> list[ModelInfo]:
        """List the models served."""
        return self._do(calls.models())

    def load_model(self, name: str, path: str | Path) -> ModelInfo:
        """Serve new weights, from a local model file, beside the old."""
        return self._do(calls.load_model(name, path))

    def create(
        self,
        model: str,
        *,
        id: str | None = None,
        seed: Mapping[str, Any] | None = None,
        ttl: float | None = None,
        durability: str | None = None,
    ) -> SessionInfo:
        """Create a session.

        Arguments:
            model: its name.
            id: how to call the session; one is made up if not given.
            seed: ``{"inputs": (T, F)}`` to consume first, ``{"state": State}``,
                ``{"snapshot": name}`` or ``{"series": id}``; the model's start if not given.
            ttl: seconds of rest after which it expires.
            durability: ``"step"``, ``"interval"`` or ``"none"``; the server's own if not given.
        """
        return self._do(calls.create(model, id, seed, ttl, durability))

    def step(
        self,
        session: str,
        inputs: Any,
        *,
        step: int | None = None,
        request_id: str | None = None,
    ) -> StepResult:
        """Step a session.

        Arguments:
            inputs: one time step, (F,) or a token; or a chunk, (T, F) or (T,).
            step: where the session is expected to stand.
            request_id: names this step, so that it is applied once however often it is sent, also
                by another program; made up if not given.
        """
        return self._do(calls.step(session, inputs, step, request_id))

    def step_many(self, requests: Sequence[StepRequest]) -> list[StepResult | ServeError]:
        """Step many sessions in one request; return a result or an error, not raised, for each."""
        return self._do(calls.step_many(requests))

    def info(self, session: str) -> SessionInfo:
        """Describe a session."""
        return self._do(calls.info(session))

    def sessions(self) -> Iterator[SessionInfo]:
        """List every session, page by page."""
        cursor = None
        while True:
            found, cursor = self._do(calls.page(cursor))
            yield from found
            if not cursor:
                return

    def read(self, session: str) -> State:
        """Read the state of a session, one row."""
        return self._do(calls.read(session))

    def write(self, session: str, state: State) -> SessionInfo:
        """Set a session to a state of one row, made with the same weights."""
        return self._do(calls.write(session, state))

    def snapshot(self, session: str) -> str:
        """Save the state as a snapshot; return its name."""
        return self._do(calls.snapshot(session))

    def fork(
        self, session: str, *, snapshot: str | None = None, id: str | None = None
    ) -> SessionInfo:
        """Create a session in the state of another, or of one of its snapshots."""
        return self._do(calls.fork(session, snapshot, id))

    def rollback(self, session: str, snapshot: str) -> SessionInfo:
        """Return a session to a snapshot."""
        return self._do(calls.rollback(session, snapshot))

    def migrate(
        self, session: str, how: Literal["keep", "replay"] = "keep", version: str | None = None
    ) -> SessionInfo:
        """Move a session to other weights of its model, the newest if none are named: with its
        state, or with that after the inputs that the server kept.
        """
        return self._do(calls.migrate(session, how, version))

    def delete(self, session: str) -> str:
        """Delete a session; return the name of the snapshot of its last state."""
        return self._do(calls.delete(session))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient:
    """A client of a server, for programs with an event loop. Arguments, methods and errors are
    those of `Client`, to be awaited.

    Example::

        async with AsyncClient() as client:
            session = (await client.create("sales")).id
            results = await asyncio.gather(*(client.step(session, x) for x in inputs))
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        timeout: float = 30.0,
        retries: int = 5,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(**_settings(url, token, timeout), transport=transport)
        self._retries = retries

    async def _do(self, call: Call[T]) -> T:
        going = exchange(call, self._retries)
        wait, request = next(going)
        while True:
            if wait:
                await asyncio.sleep(wait)
            outcome: Outcome
            try:
                outcome = await self._http.request(**request)
            except httpx.TransportError as error:
                outcome = error
            try:
                wait, request = going.send(outcome)
            except StopIteration as done:
                result: T = done.value
                return result

    async def models(self) -> list[ModelInfo]:
        """See `Client.models`."""
        return await self._do(calls.models())

    async def load_model(self, name: str, path: str | Path) -> ModelInfo:
        """See `Client.load_model`."""
        return await self._do(calls.load_model(name, path))

    async def create(
        self,
        model: str,
        *,
        id: str | None = None,
        seed: Mapping[str, Any] | None = None,
        ttl: float | None = None,
        durability: str | None = None,
    ) -> SessionInfo:
        """See `Client.create`."""
        return await self._do(calls.create(model, id, seed, ttl, durability))

    async def step(
        self,
        session: str,
        inputs: Any,
        *,
        step: int | None = None,
        request_id: str | None = None,
    ) -> StepResult:
        """See `Client.step`."""
        return await self._do(calls.step(session, inputs, step, request_id))

    async def step_many(self, requests: Sequence[StepRequest]) -> list[StepResult | ServeError]:
        """See `Client.step_many`."""
        return await self._do(calls.step_many(requests))

    async def info(self, session: str) -> SessionInfo:
        """See `Client.info`."""
        return await self._do(calls.info(session))

    async def sessions(self) -> AsyncIterator[SessionInfo]:
        """See `Client.sessions`."""
        cursor = None
        while True:
            found, cursor = await self._do(calls.page(cursor))
            for one in found:
                yield one
            if not cursor:
                return

    async def read(self, session: str) -> State:
        """See `Client.read`."""
        return await self._do(calls.read(session))

    async def write(self, session: str, state: State) -> SessionInfo:
        """See `Client.write`."""
        return await self._do(calls.write(session, state))

    async def snapshot(self, session: str) -> str:
        """See `Client.snapshot`."""
        return await self._do(calls.snapshot(session))

    async def fork(
        self, session: str, *, snapshot: str | None = None, id: str | None = None
    ) -> SessionInfo:
        """See `Client.fork`."""
        return await self._do(calls.fork(session, snapshot, id))

    async def rollback(self, session: str, snapshot: str) -> SessionInfo:
        """See `Client.rollback`."""
        return await self._do(calls.rollback(session, snapshot))

    async def migrate(
        self, session: str, how: Literal["keep", "replay"] = "keep", version: str | None = None
    ) -> SessionInfo:
        """See `Client.migrate`."""
        return await self._do(calls.migrate(session, how, version))

    async def delete(self, session: str) -> str:
        """See `Client.delete`."""
        return await self._do(calls.delete(session))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
