"""Checks of plain values that many functions take."""

from __future__ import annotations

from typing import Any

import numpy as np

from statewise.errors import InputError, StatewiseError


def is_whole_number(value: Any, at_least: int | None = None) -> bool:
    """Whether this is an integer of Python or NumPy, no bool, and not below `at_least`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        return False
    return at_least is None or bool(value >= at_least)


def is_number(value: Any) -> bool:
    """Whether this is an integer or float of Python or NumPy, no bool."""
    return isinstance(value, (float, np.floating)) or is_whole_number(value)


def check_whole_number(
    name: str, value: Any, at_least: int = 1, error: type[StatewiseError] = InputError
) -> int:
    """The value as an int.

    Arguments:
        name: what the message calls it.
        value: what was given.
        at_least: the least that is allowed.
        error: the class to raise.

    Raises:
        error: anything but a whole number of at least `at_least`.
    """
    if not is_whole_number(value, at_least):
        raise error(f"{name} must be a whole number of at least {at_least}, got {value!r}")
    return int(value)
