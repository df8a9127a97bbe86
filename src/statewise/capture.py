"""`Capture`: takes down the values inside a step, and may change them on the way."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeAlias

from statewise.types import Array, Intermediates

Edit: TypeAlias = Callable[[str, Array], Array]
"""Gives the value to go on with, for a name and the value that was computed."""


class Capture:
    """What a step calls with each value inside it: ``h = capture("h", h)``.

    The value is taken down under its name, and returned: a step that goes on with what came back
    can be edited in the middle.

    Arguments:
        edit: changes values on the way; None changes none.

    Example::

        capture = Capture()
        y, after, _ = cell.step(p, x, s, capture)
        capture.values["f"]
    """

    def __init__(self, edit: Edit | None = None) -> None:
        self.values: Intermediates = {}
        self._edit = edit

    def __call__(self, name: str, value: Array) -> Array:
        if self._edit is not None:
            value = self._edit(name, value)
        self.values[name] = value
        return value

    def record(self, values: Intermediates) -> None:
        """Take down values that can no longer be changed."""
        self.values.update(values)

    def excluding(self, names: Collection[str]) -> Capture:
        """For a cell inside this one: leaves out these names, which the outer cell gives itself."""
        return _Excluding(self, names)

    def after(self, edit: Edit) -> Capture:
        """A capture that changes each value first, then passes it to this one."""
        return _After(self, edit)


class _Excluding(Capture):
    def __init__(self, outer: Capture, names: Collection[str]) -> None:
        self.values, self._outer, self._names = outer.values, outer, names

    def __call__(self, name: str, value: Array) -> Array:
        return value if name in self._names else self._outer(name, value)

    def record(self, values: Intermediates) -> None:
        self._outer.record({k: value for k, value in values.items() if k not in self._names})


class _After(Capture):
    def __init__(self, outer: Capture, edit: Edit) -> None:
        self.values, self._outer, self._first = outer.values, outer, edit

    def __call__(self, name: str, value: Array) -> Array:
        return self._outer(name, self._first(name, value))

    def record(self, values: Intermediates) -> None:
        self._outer.record(values)
