"""For pytest: a fixture that compares what a model does with its state with expectations"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def assert_state_facts(model: Any, expect: str | dict[str, Any], **options: Any) -> Any:
    """Run a model, and fail unless it does what is expected.

    Arguments:
        model, expect: as for `statewise.check.run`, and so are the options.

    Returns:
        The report.

    Raises:
        AssertionError: a line for each expectation that is not met.

    Example::

        def test_it_carries_nothing(assert_state_facts):
            assert_state_facts(MyModel(), expect={"carry.*": "reset", "rows": "independent"})
    """
    from statewise.check import run

    report = run(model, expect=expect, **options)
    if not report.ok:
        raise AssertionError("\n".join(report.failures))
    return report


@pytest.fixture(name="assert_state_facts")
def _assert_state_facts_fixture() -> Callable[..., Any]:
    """See `assert_state_facts`."""
    return assert_state_facts
