"""Looking inside: what a state remembers, and what a cell can learn to remember."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from statewise.inspect.backward import Gradients, gradients
    from statewise.inspect.cards import Card
    from statewise.inspect.editing import edit
    from statewise.inspect.finding import Found, find
    from statewise.inspect.recording import names, record
    from statewise.inspect.remembering import Horizon, horizon
    from statewise.inspect.trace import Trace

_LAZY = {
    "Card": "cards",
    "Found": "finding",
    "Gradients": "backward",
    "Horizon": "remembering",
    "Trace": "trace",
    "edit": "editing",
    "find": "finding",
    "gradients": "backward",
    "horizon": "remembering",
    "names": "recording",
    "record": "recording",
}


def __getattr__(name: str) -> Any:
    """Each part is imported when it is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module 'statewise.inspect' has no attribute {name!r}")
    return getattr(import_module(f"statewise.inspect.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "Card",
    "Found",
    "Gradients",
    "Horizon",
    "Trace",
    "edit",
    "find",
    "gradients",
    "horizon",
    "names",
    "record",
]
