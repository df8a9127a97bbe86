"""A server in a thread, for clients that are not in its event loop."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from statewise.serve import Engine, create_app
from statewise.serve.guards import Guards
from statewise.serve.models import ServedModel
from statewise.serve.stores.memory import MemoryStore


def application(model: Path, tokens: dict[str, str] | None = None) -> Any:
    """The server of a model file."""
    engine = Engine([ServedModel.read(model.stem, model, 100)], MemoryStore())
    return create_app(engine, Guards(tokens or {}))


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """The address of an application while the block lasts."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="error", ws="websockets-sansio")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
        thread.start()
        for _ in range(1000):
            if server.started:
                break
            time.sleep(0.01)
        assert server.started
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
