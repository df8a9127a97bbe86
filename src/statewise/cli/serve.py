"""``statewise serve``: models in sessions, over HTTP."""

from __future__ import annotations

import gc
import json
import logging
import re
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from statewise.errors import FileError, InputError, MissingExtraError

if TYPE_CHECKING:
    from statewise.serve.models import Served


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    models: list[str]
    host: str
    port: int
    store: str
    durability: str
    capacity: int
    ttl: float | None
    max_batch: int
    max_wait: float
    max_queue: int
    max_sessions: int | None
    max_body: int
    timeout: float
    lease: float
    keep_inputs: int
    token_file: str | None
    log_json: bool


def run(options: Options) -> None:
    """The command."""
    try:
        import uvicorn

        from statewise.serve.app import create_app
        from statewise.serve.engine import Engine
        from statewise.serve.guards import Guards
        from statewise.serve.residence import Limits
        from statewise.serve.stores.opening import open_store
    except ImportError as error:
        raise MissingExtraError(error.name or "fastapi", "serve", "the server") from None
    _check(options)
    listening = _listening(options.host, options.port)
    tokens = {} if options.token_file is None else read_tokens(options.token_file)
    models = [_served(text, options.capacity) for text in options.models]
    limits = Limits(
        durability=options.durability,
        ttl=options.ttl,
        max_batch=options.max_batch,
        max_wait=options.max_wait,
        queue=options.max_queue,
        quota=options.max_sessions,
        lease=options.lease,
        keep_inputs=options.keep_inputs,
    )
    engine = Engine(models, open_store(options.store), limits)
    app = create_app(engine, Guards(tokens, options.max_body, options.timeout))
    _start_log(options.log_json)

    port = listening.getsockname()[1]

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                gc.freeze()  # what was imported lives on: the collector need not look at it again
                named = ", ".join(served.name for served in models)
                host = f"[{options.host}]" if ":" in options.host else options.host
                print(f"serving {named} at http://{host}:{port}", flush=True)

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=10,
        ws_max_size=options.max_body,
    )
    # What uvicorn raises again once all is saved must not end the process by a signal.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: None)
    Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise InputError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another --host or --port"
        ) from None


def read_tokens(path: str | Path) -> dict[str, str]:
    """Tokens and their namespaces, from lines of ``NAMESPACE TOKEN``; ``#`` begins a comment.

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
                f"line {number} of {path} is not NAMESPACE TOKEN, two words; a namespace has "
                "letters, digits and . _ -"
            )
        if words[1] in tokens:
            raise FileError(f"line {number} of {path} gives a token a second time")
        tokens[words[1]] = words[0]
    if not tokens:
        raise FileError(f"{path} has no tokens; nobody could ask for anything")
    return tokens


def _check(options: Options) -> None:
    if options.durability not in ("step", "interval", "none"):
        raise InputError(f"--durability is step, interval or none, got {options.durability!r}")
    if not 0 <= options.port < 65536:
        raise InputError(f"--port is a number from 0 to 65535, got {options.port}")
    least = {
        "--capacity": options.capacity,
        "--max-batch": options.max_batch,
        "--max-queue": options.max_queue,
        "--max-body": options.max_body,
        "--max-sessions": 1 if options.max_sessions is None else options.max_sessions,
    }
    for name, value in least.items():
        if value < 1:
            raise InputError(f"{name} is at least 1, got {value}")
    above = {
        "--ttl": 1.0 if options.ttl is None else options.ttl,
        "--timeout": options.timeout,
        "--lease": options.lease,
    }
    for name, seconds in above.items():
        if not seconds > 0:
            raise InputError(f"{name} is a number of seconds above 0, got {seconds:g}")
    if options.max_wait < 0 or options.keep_inputs < 0:
        raise InputError("--max-wait and --keep-inputs are 0 or more")


def _served(text: str, capacity: int) -> Served:
    from statewise.serve.models import Served

    name, _, path = text.rpartition("=")
    if name and not re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", name):
        name, path = "", text
    where = Path(path)
    if not where.exists():
        raise FileError(f"there is no model {path}; give a model file or a forecaster's folder")
    return Served.read(
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
