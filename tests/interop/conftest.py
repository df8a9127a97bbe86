"""What the bridges need to be tested; with STATEWISE_REQUIRE_BRIDGES=1 nothing may be missing."""

import importlib
import os

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")


def need(package: str):
    """The module, or a skip where it is not installed, or a failure where it must be."""
    if os.environ.get("STATEWISE_REQUIRE_BRIDGES") == "1":
        return importlib.import_module(package)
    return pytest.importorskip(package)
