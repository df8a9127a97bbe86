"""For pytest: a fixture that holds a model against what its state is meant to do"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def assert_state_facts(model: Any, expect: str | dict[str, Any], **options: Any) -> Any:
    """Run a model, and fail where it does otherwise than expected.

    Arguments:
        model: as for `statewise.check.run`, and so are `expect` and the options.

    Returns:
        The report.

    Raises:
        AssertionError: a line for each expectation that is not met.

    Example::

        def test_it_starts_anew(assert_state_facts):
            assert_state_facts(MyModel(), expect={"carry.*": "reset", "rows": "independent"})
    """
    from statewise.check import run

    report = run(model, expect=expect, **options)
    if not report.ok:
        raise AssertionError("\n".join(report.failures))
    return report


@pytest.fixture(name="assert_state_facts")
def _fixture() -> Callable[..., Any]:
    """See `assert_state_facts`."""
    return assert_state_facts
