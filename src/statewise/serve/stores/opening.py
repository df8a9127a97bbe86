"""Stores by their description: ``memory``, ``sqlite:PATH``, ``redis://...``."""

from __future__ import annotations

from statewise.errors import InputError
from statewise.serve.stores.base import Store


def open_store(text: str) -> Store:
    """Open the store of a description.

    Raises:
        InputError: a description of no store.
        FileError: a store that cannot be used.
    """
    if text == "memory":
        from statewise.serve.stores.memory import MemoryStore

        return MemoryStore()
    if text.startswith("sqlite:") and text != "sqlite:":
        from statewise.serve.stores.sqlite import SqliteStore

        return SqliteStore(text.removeprefix("sqlite:"))
    if text.startswith(("redis://", "rediss://", "unix://")):
        from statewise.serve.stores.redis import RedisStore

        return RedisStore(text)
    raise InputError(f"a store is memory, sqlite:PATH or redis://HOST:PORT, got {text!r}")
