"""Sessions: a server that keeps states alive."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from statewise.serve.app import create_app
    from statewise.serve.client import AsyncClient, Client
    from statewise.serve.engine import Engine

_WHERE = {
    "AsyncClient": "statewise.serve.client",
    "Client": "statewise.serve.client",
    "Engine": "statewise.serve.engine",
    "create_app": "statewise.serve.app",
}


def __getattr__(name: str) -> Any:
    """The client needs no server, and the engine no web framework: each is imported when used."""
    if name not in _WHERE:
        raise AttributeError(f"module 'statewise.serve' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


__all__ = ["AsyncClient", "Client", "Engine", "create_app"]
