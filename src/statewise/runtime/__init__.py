"""Saved models without torch."""

from statewise.runtime.model import Model, load
from statewise.runtime.slots import SlotTable

__all__ = ["Model", "SlotTable", "load"]
