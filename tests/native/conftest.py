"""Native tests run on every instruction set that the machine has.

Without kernels they are skipped, unless STATEWISE_REQUIRE_NATIVE is set, as it is where a pure
installation would be an accident.
"""

from __future__ import annotations

import os

import pytest

from statewise import kernels

ISAS = kernels.list_isas() or ["none"]


@pytest.fixture(autouse=True)
def _needs_kernels(request):
    if kernels.is_available() or request.node.get_closest_marker("pure"):
        return
    assert not os.environ.get("STATEWISE_REQUIRE_NATIVE"), kernels.describe()["reason"]
    pytest.skip("built without native kernels")


@pytest.fixture(params=ISAS)
def isa(request):
    """Each instruction set in turn."""
    before = kernels.get_isa()
    kernels.select_isa(request.param)
    yield request.param
    kernels.select_isa(before)


@pytest.fixture(params=[1, 2])
def threads(request):
    kernels.set_threads(request.param)
    yield request.param
    kernels.set_threads(0)
