import sys

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from statewise.inspect.threads import limit_threads

np.ones((2, 2)) @ np.ones((2, 2))


def counts():
    """How many threads NumPy's library and torch use."""
    blas = [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]
    return max(blas), torch.get_num_threads()


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpool_limits(2):
        yield
    torch.set_num_threads(before)


def test_one_thread_within_the_block_and_as_before_after_it():
    assert counts() == (2, 2)
    with limit_threads():
        assert counts() == (1, 1)
        with limit_threads():
            assert counts() == (1, 1)
        assert counts() == (1, 1)
    assert counts() == (2, 2)
    with pytest.raises(ZeroDivisionError), limit_threads():
        1 / 0  # noqa: B018
    assert counts() == (2, 2)


def test_it_needs_neither_torch_nor_threadpoolctl(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr("statewise.inspect.threads.is_installed", lambda module: False)
    with limit_threads():
        assert counts() == (2, 2)
