"""Optional dependencies: imported where they are used, with an error that names the extra."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from statewise.errors import MissingExtraError


def require(module: str, extra: str, purpose: str) -> Any:
    """Import an optional module.

    Arguments:
        module: its name, such as ``"onnx"`` or ``"matplotlib.figure"``.
        extra: the extra of statewise that installs it.
        purpose: what it is needed for, as the message says it.

    Raises:
        MissingExtraError: it, or a module that it imports, is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or module, extra, purpose) from error


def is_installed(module: str) -> bool:
    """Whether a top-level module can be found, told without importing it."""
    return find_spec(module) is not None
