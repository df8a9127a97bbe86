"""The KServe v2 protocol with Triton's sequence extension: every sequence is a session.

A stock client that names a sequence (`sequence_id`, `sequence_start`, `sequence_end`) steps a
session called ``MODEL:SEQUENCE``, which is a session like any other: it is stored,
listed, forked and rolled back under that id. Requests may have two parameters beyond
Triton's: ``step``, the position at which the sequence is expected, and ``request_id``. With either
of them a request that is sent twice steps once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from statewise.serve.errors import BadInput, Exists, Gone, NotFound, ServeError, WrongPosition
from statewise.serve.tensors import INPUT, OUTPUT, Infer, datatype, read_request, row, write_answer

if TYPE_CHECKING:
    from statewise.serve.app import Api
    from statewise.serve.models import ModelInfo
    from statewise.serve.session import StepResult

Handler = Callable[[Request], Awaitable[Response]]
EXTENSIONS = ["sequence", "sequence(string_id)", "binary_tensor_data", "model_configuration"]


def kserve_routes(api: Api) -> list[Route]:
    """List the routes under ``/v2``.

    Arguments:
        api: the server's engine and guards.
    """
    protocol = Protocol(api)
    one = "/v2/models/{model}"
    version = one + "/versions/{version}"
    routes: list[tuple[str, str, Handler]] = [
        ("/v2", "GET", protocol.server),
        ("/v2/health/live", "GET", protocol.live),
        ("/v2/health/ready", "GET", protocol.ready),
    ]
    for path in (one, version):
        routes += [
            (path, "GET", protocol.metadata),
            (f"{path}/ready", "GET", protocol.model_ready),
            (f"{path}/config", "GET", protocol.config),
            (f"{path}/infer", "POST", protocol.infer),
        ]
    return [
        Route(
            path,
            make_endpoint(handler, api.guards.timeout),
            methods=[method],
            include_in_schema=False,
        )
        for path, method, handler in routes
    ]


def make_endpoint(handler: Handler, seconds: float) -> Handler:
    """Make an endpoint with a time limit; its errors have the shape ``{"error": "..."}``."""

    async def answer(request: Request) -> Response:
        try:
            async with asyncio.timeout(seconds):
                return await handler(request)
        except TimeoutError:
            return JSONResponse({"error": f"the request took longer than {seconds:g} s"}, 504)
        except ServeError as error:
            headers = {}
            if "retry_after" in error.details:
                headers["Retry-After"] = str(error.details["retry_after"])
            return JSONResponse({"error": error.message}, error.status, headers)

    return answer


class Protocol:
    """The answer to each route."""

    def __init__(self, api: Api) -> None:
        self.api, self.engine = api, api.engine

    async def live(self, request: Request) -> Response:
        return Response()

    async def ready(self, request: Request) -> Response:
        return Response(status_code=200 if self.engine.ready else 503)

    async def server(self, request: Request) -> Response:
        from statewise import __version__

        body = {"name": "statewise", "version": __version__, "extensions": EXTENSIONS}
        return JSONResponse(body)

    async def model_ready(self, request: Request) -> Response:
        self._find_model(request)
        return await self.ready(request)

    async def metadata(self, request: Request) -> Response:
        model = self._find_model(request)
        return JSONResponse(
            {
                "name": model.name,
                "versions": [info.version for info in self._find_versions(model.name)],
                "platform": "statewise",
                "inputs": [
                    {"name": INPUT, "datatype": datatype(model), "shape": [1, *row(model, -1)]}
                ],
                "outputs": [
                    {
                        "name": OUTPUT,
                        "datatype": datatype(model, output=True),
                        "shape": [1, -1, model.outputs],
                    }
                ],
            }
        )

    async def config(self, request: Request) -> Response:
        model = self._find_model(request)
        given, made = (f"TYPE_{datatype(model, output)}" for output in (False, True))
        return JSONResponse(
            {
                "name": model.name,
                "platform": "statewise",
                "backend": "statewise",
                "max_batch_size": 1,
                "input": [{"name": INPUT, "data_type": given, "dims": row(model, -1)}],
                "output": [{"name": OUTPUT, "data_type": made, "dims": [-1, model.outputs]}],
                "sequence_batching": {"oldest": {}, "control_input": []},
                "parameters": {"version": {"string_value": model.version}},
            }
        )

    async def infer(self, request: Request) -> Response:
        model = self._find_model(request)
        length = request.headers.get("inference-header-content-length")
        if request.headers.get("content-encoding", "identity") != "identity":
            raise BadInput("compressed requests are not supported; send the body uncompressed")
        asked = read_request(await self.api.read_body(request), length, model)
        if asked.sequence is None:
            raise BadInput(
                f"inference request to model '{model.name}' must specify a non-zero or non-empty "
                "correlation ID (sequence_id); every request steps a sequence"
            )
        who = self.api.guards.find_namespace(request.headers.get("authorization"))
        session = f"{model.name}:{asked.sequence}"
        result = await self._step(who, session, model, asked)
        if asked.end:
            with suppress(NotFound, Gone):
                await self.engine.delete(who, session)
        content, header = write_answer(asked, model, result)
        headers = {} if header is None else {"Inference-Header-Content-Length": str(header)}
        kind = "application/json" if header is None else "application/octet-stream"
        return Response(content, headers=headers, media_type=kind)

    async def _step(self, who: str, session: str, model: ModelInfo, asked: Infer) -> StepResult:
        try:
            if asked.start:
                again = await self._start_sequence(who, session, model, asked)
                if again is not None:
                    return again
            return await self.engine.step(who, session, asked.inputs, asked.step, asked.request_id)
        except NotFound:
            raise NotFound(
                f"inference request for sequence {asked.sequence} to model '{model.name}' must "
                "specify the START flag on the first request of the sequence; no sequence of this "
                "id has started"
            ) from None
        except Gone as error:
            raise Gone(
                f"sequence {asked.sequence} of model '{model.name}' is over: {error.message}; "
                "start it again with the START flag",
                **error.details,
            ) from None

    async def _start_sequence(
        self, who: str, session: str, model: ModelInfo, asked: Infer
    ) -> StepResult | None:
        """Create the session, in place of an existing one: START means to begin again. Return the
        first answer if this very request has started the sequence before.
        """
        try:
            await self.engine.create(who, f"{model.name}@{model.version}", id=session)
        except Exists:
            if asked.request_id is not None:
                try:  # a repeated request gets its answer; one at another position is not stepped
                    return await self.engine.step(who, session, asked.inputs, 0, asked.request_id)
                except WrongPosition as error:
                    if error.details.get("applied"):
                        raise
            with suppress(NotFound, Gone):
                await self.engine.delete(who, session)
            await self.engine.create(who, f"{model.name}@{model.version}", id=session)
        return None

    def _find_versions(self, name: str) -> list[ModelInfo]:
        return [info for info in self.engine.models() if info.name == name]

    def _find_model(self, request: Request) -> ModelInfo:
        """Find the model of the path; without a version, the one of new sequences."""
        name, version = request.path_params["model"], request.path_params.get("version")
        found = self._find_versions(name)
        if not found:
            known = ", ".join(sorted({info.name for info in self.engine.models()}))
            raise NotFound(
                f"Request for unknown model: '{name}' is not found; the server has {known}"
            )
        if version is None:
            return found[-1]
        for info in found:
            if info.version == version:
                return info
        raise NotFound(
            f"Request for unknown model: '{name}' version {version} is not found; the server has "
            f"{', '.join(info.version for info in found)}"
        )
