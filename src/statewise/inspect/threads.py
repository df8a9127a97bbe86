"""`limit_threads`: NumPy, scikit-learn and torch on one thread, where pieces of work are small"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from statewise.extras import is_installed


@contextmanager
def limit_threads() -> Iterator[None]:
    """Within the block, NumPy, scikit-learn and torch use one thread; afterwards as many as before.

    A product of small matrices takes microseconds. Threads that share it wait for each other at
    its end, and where other programs use the same cores they wait for milliseconds. The native
    kernels of statewise have threads of their own, which this leaves alone.

    NumPy and scikit-learn are limited by threadpoolctl, which scikit-learn installs; without it
    they stay as they are. torch is limited if it has been imported. What is imported within the
    block is not limited, so import it first. The settings are those of the whole process.

    Example::

        with limit_threads():
            found = [inspect.probe(trace, label) for label in labels]
    """
    with ExitStack() as settings:
        if is_installed("threadpoolctl"):
            from threadpoolctl import threadpool_limits

            settings.enter_context(threadpool_limits(1))
        torch = sys.modules.get("torch")
        if torch is not None:
            settings.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(1)
        yield
