"""A server that keeps the states of sessions."""

from typing import TYPE_CHECKING, Any

from statewise.extras import require

if TYPE_CHECKING:
    from statewise.serve.app import create_app
    from statewise.serve.client import AsyncClient, Client
    from statewise.serve.engine import Engine

_MODULES = {
    "AsyncClient": "statewise.serve.client",
    "Client": "statewise.serve.client",
    "Engine": "statewise.serve.engine",
    "create_app": "statewise.serve.app",
}


def __getattr__(name: str) -> Any:
    """Import on first use: the client needs no server, and the engine no web framework."""
    if name not in _MODULES:
        raise AttributeError(f"module 'statewise.serve' has no attribute {name!r}")
    return getattr(require(_MODULES[name], "serve", f"statewise.serve.{name}"), name)


__all__ = ["AsyncClient", "Client", "Engine", "create_app"]
