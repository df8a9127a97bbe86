"""Looking inside: what a state remembers, and what a cell can learn to remember."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from statewise.inspect.backward import Gradients, gradients
    from statewise.inspect.cards import Card
    from statewise.inspect.dictionary import Features, features
    from statewise.inspect.editing import edit
    from statewise.inspect.explaining import explain_unit, explain_units
    from statewise.inspect.finding import Found, find
    from statewise.inspect.label_series import SERIES, series_labels
    from statewise.inspect.label_text import TEXT, text_labels
    from statewise.inspect.probing import Probe, probe
    from statewise.inspect.recording import names, record
    from statewise.inspect.remembering import Horizon, horizon
    from statewise.inspect.trace import Trace

_LAZY = {
    "SERIES": "label_series",
    "TEXT": "label_text",
    "Card": "cards",
    "Features": "dictionary",
    "Found": "finding",
    "Gradients": "backward",
    "Horizon": "remembering",
    "Probe": "probing",
    "Trace": "trace",
    "edit": "editing",
    "explain_unit": "explaining",
    "explain_units": "explaining",
    "features": "dictionary",
    "find": "finding",
    "gradients": "backward",
    "horizon": "remembering",
    "names": "recording",
    "probe": "probing",
    "record": "recording",
    "series_labels": "label_series",
    "text_labels": "label_text",
}


def __getattr__(name: str) -> Any:
    """Each part is imported when it is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module 'statewise.inspect' has no attribute {name!r}")
    return getattr(import_module(f"statewise.inspect.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "SERIES",
    "TEXT",
    "Card",
    "Features",
    "Found",
    "Gradients",
    "Horizon",
    "Probe",
    "Trace",
    "edit",
    "explain_unit",
    "explain_units",
    "features",
    "find",
    "gradients",
    "horizon",
    "names",
    "probe",
    "record",
    "series_labels",
    "text_labels",
]
