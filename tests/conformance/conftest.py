import functools

import pytest

import statewise as sw

from .executors import EXECUTORS
from .zoo import PAIRS, ZOO, weights


@pytest.fixture(scope="session")
def opened(tmp_path_factory):
    """Opens an architecture of the zoo in an executor and a dtype, each of them once."""
    folder = tmp_path_factory.mktemp("models")

    @functools.cache
    def open_(name, executor, dtype):
        path = folder / f"{name} {dtype}.safetensors"
        if not path.exists():
            arch = (ZOO | PAIRS)[name]
            sw.runtime.Model(arch, weights(arch, dtype)).save(path)
        subject = EXECUTORS[executor](path)
        subject.name, subject.dtype = name, dtype
        subject.path, subject.open = path, EXECUTORS[executor]
        return subject

    return open_


@pytest.fixture
def subject(request, opened):
    """The model that a test marked with `over` is run on."""
    return opened(*request.param)
