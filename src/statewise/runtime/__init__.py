"""Saved models without torch."""

from statewise.runtime.model import Model, load

__all__ = ["Model", "load"]
