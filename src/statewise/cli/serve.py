"""``statewise serve``: models in sessions, over HTTP."""

from __future__ import annotations

import gc
import json
import logging
import re
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from statewise.errors import FileError, InputError
from statewise.extras import require

if TYPE_CHECKING:
    from statewise.serve.models import ServedModel


def serve(
    models: Annotated[
        list[str],
        typer.Argument(help="model files or forecaster folders, as PATH or NAME=PATH"),
    ],
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on; 0: any free one")] = 8000,
    store: Annotated[
        str, typer.Option(help="where to save sessions: sqlite:PATH, redis://HOST:PORT or memory")
    ] = "sqlite:sessions.db",
    durability: Annotated[
        str, typer.Option(help="default durability of new sessions: step, interval or none")
    ] = "step",
    capacity: Annotated[
        int, typer.Option(help="how many sessions of a model fit in memory")
    ] = 10_000,
    ttl: Annotated[
        float | None,
        typer.Option(help="seconds without a request after which a session expires"),
    ] = None,
    max_batch: Annotated[
        int, typer.Option(help="how many sessions to step together at most")
    ] = 256,
    max_wait: Annotated[
        float, typer.Option(help="how long to wait to form a batch, in seconds")
    ] = 0.0,
    max_queue: Annotated[
        int, typer.Option(help="how many steps may wait; more are refused")
    ] = 20_000,
    max_sessions: Annotated[
        int | None, typer.Option(help="how many sessions a token may have")
    ] = None,
    max_body: Annotated[int, typer.Option(help="how many bytes a request may have")] = 64 * 2**20,
    timeout: Annotated[float, typer.Option(help="how many seconds a request may take")] = 30.0,
    lease: Annotated[
        float,
        typer.Option(
            help="seconds after which another server may take over a silent one's sessions"
        ),
    ] = 15.0,
    keep_inputs: Annotated[
        int, typer.Option(help="how many last inputs of a session to save, for replays")
    ] = 0,
    token_file: Annotated[
        str | None,
        typer.Option(
            help="file of tokens, a line 'NAMESPACE TOKEN' each; without it no token is needed"
        ),
    ] = None,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="write the log as lines of JSON")
    ] = False,
) -> None:
    """Serve models over HTTP, in sessions that keep their state and take each step exactly once."""
    for module in ("uvicorn", "statewise.serve.app"):
        require(module, "serve", "the server")
    from statewise.serve.app import create_app
    from statewise.serve.engine import Engine
    from statewise.serve.guards import Guards
    from statewise.serve.residence import Limits
    from statewise.serve.stores.opening import open_store

    if durability not in ("step", "interval", "none"):
        raise InputError(f"--durability must be step, interval or none, got {durability!r}")
    if not 0 <= port < 65536:
        raise InputError(f"--port must be a number from 0 to 65535, got {port}")
    counts = {
        "--capacity": capacity,
        "--max-batch": max_batch,
        "--max-queue": max_queue,
        "--max-body": max_body,
        "--max-sessions": max_sessions,
    }
    _check_at_least(1, counts)
    _check_at_least(0, {"--max-wait": max_wait, "--keep-inputs": keep_inputs})
    _check_above_zero({"--ttl": ttl, "--timeout": timeout, "--lease": lease})
    listening = _listen(host, port)
    tokens = {} if token_file is None else read_tokens(token_file)
    served = [_read_model(text, capacity) for text in models]
    limits = Limits(
        durability=durability,
        ttl=ttl,
        max_batch=max_batch,
        max_wait=max_wait,
        queue=max_queue,
        quota=max_sessions,
        lease=lease,
        keep_inputs=keep_inputs,
    )
    engine = Engine(served, open_store(store), limits)
    application = create_app(engine, Guards(tokens, max_body, timeout))
    _start_log(log_json)
    shown_host = f"[{host}]" if ":" in host else host
    address = f"http://{shown_host}:{listening.getsockname()[1]}"
    names = ", ".join(model.name for model in served)
    _run(application, listening, f"serving {names} at {address}", max_body)


def _run(application: Any, listening: socket.socket, announcement: str, max_body: int) -> None:
    """Run the server until a signal ends it, and print the announcement once it has started."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                gc.freeze()  # imported modules stay: the collector need not look at them again
                print(announcement, flush=True)

    config = uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=10,
        ws_max_size=max_body,
    )
    # uvicorn raises the signal again once all is saved; that must not end the process by a signal
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: None)
    Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """Open a socket that listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise InputError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another --host or --port"
        ) from None


def read_tokens(path: str | Path) -> dict[str, str]:
    """Read tokens and their namespaces, from lines of ``NAMESPACE TOKEN``; ``#`` begins a comment.

    Raises:
        FileError: no such file, or a line of another form.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"cannot read the tokens in {path}: {error}") from error
    tokens: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", words[0]):
            raise FileError(
                f"line {number} of {path} must be two words, NAMESPACE TOKEN; a namespace has "
                "letters, digits and . _ -"
            )
        if words[1] in tokens:
            raise FileError(f"line {number} of {path} repeats the token of an earlier line")
        tokens[words[1]] = words[0]
    if not tokens:
        raise FileError(
            f"{path} holds no tokens, so every request would be refused; add a line NAMESPACE TOKEN"
        )
    return tokens


def _check_at_least(least: int, options: Mapping[str, float | None]) -> None:
    """Raise unless each option is at least so much; None has no limit."""
    for name, value in options.items():
        if value is not None and not value >= least:
            raise InputError(f"{name} must be at least {least}, got {value:g}")


def _check_above_zero(options: Mapping[str, float | None]) -> None:
    """Raise unless each option is a number of seconds above 0; None has no limit."""
    for name, value in options.items():
        if value is not None and not value > 0:
            raise InputError(f"{name} must be a number of seconds above 0, got {value:g}")


def _read_model(text: str, capacity: int) -> ServedModel:
    """Read the model that an argument names: ``PATH`` or ``NAME=PATH``."""
    from statewise.serve.models import ServedModel

    name, _, path = text.rpartition("=")
    if name and not re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", name):
        name, path = "", text
    where = Path(path)
    if not where.exists():
        raise FileError(
            f"there is no model {path}; name a model file or the folder of a forecaster"
        )
    return ServedModel.read(
        name or (where.resolve().name if where.is_dir() else where.stem), where, capacity
    )


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _start_log(as_json: bool) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(
        _JsonLines() if as_json else logging.Formatter("%(levelname)s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO if as_json else logging.WARNING)
