"""Environments in which some modules are not installed, and what needs Keras."""

import os
from importlib.util import find_spec

import pytest

REQUIRED = os.environ.get("STATEWISE_REQUIRE_BRIDGES") == "1"
has_keras = pytest.mark.skipif(
    not REQUIRED and find_spec("keras") is None, reason="Keras is not installed"
)


def block(folder, *modules):
    """Environment variables under which these modules cannot be imported, in children too."""
    site = folder / "blocked"
    site.mkdir(exist_ok=True)
    lines = [f"sys.modules[{module!r}] = None" for module in modules]
    (site / "sitecustomize.py").write_text("\n".join(["import sys", *lines]))
    rest = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(site), *([rest] if rest else [])])}
