"""Keras and its backends: which is installed, which one runs."""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from statewise.errors import InputError, MissingExtraError, StatewiseWarning
from statewise.extras import is_installed, require

INSTALL = {
    "tensorflow": "pip install tensorflow",
    "torch": "pip install 'statewise[train]'",
    "jax": "pip install 'statewise[jax]'",
}
"""The backends of Keras, in its own order, with what installs each."""


def installed_backends() -> list[str]:
    """The backends of Keras that can be imported here."""
    return [name for name in INSTALL if is_installed(name)]


def require_keras(purpose: str) -> Any:
    """Import Keras, on a backend that is installed.

    Keras runs on the backend that KERAS_BACKEND or its configuration file names, TensorFlow where
    neither does. If that one is not installed and KERAS_BACKEND is not set, another is chosen, with
    a warning that says which.

    Arguments:
        purpose: what it is needed for, as the message says it.

    Raises:
        MissingExtraError: Keras or every backend is missing.
        InputError: KERAS_BACKEND names a backend that is not installed.
    """
    if "keras" not in sys.modules and is_installed("keras"):
        _choose_backend(purpose)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return require("keras", "keras", purpose)


def _choose_backend(purpose: str) -> None:
    given = os.environ.get("KERAS_BACKEND")
    wanted = given or _configured_backend()
    if wanted not in INSTALL or is_installed(wanted):
        return
    found = installed_backends()
    if not found:
        names = ", ".join(INSTALL)
        raise MissingExtraError(f"a backend of Keras (one of {names})", "train", purpose)
    if given:
        raise InputError(
            f"{purpose} needs {given}, the backend of Keras that KERAS_BACKEND names, which is not "
            f"installed; {INSTALL[given]}, or set KERAS_BACKEND to {' or '.join(found)}"
        )
    os.environ["KERAS_BACKEND"] = found[0]
    warnings.warn(
        f"Keras runs on {found[0]} here, because its default backend, {wanted}, is not installed; "
        "set KERAS_BACKEND to choose one",
        StatewiseWarning,
        stacklevel=3,
    )


def _configured_backend() -> str:
    """The backend that Keras takes where KERAS_BACKEND is not set."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        return str(json.loads((home / "keras.json").read_text()).get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError):
        return "tensorflow"
