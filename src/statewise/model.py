"""`ModelBase`: what the models of torch and of NumPy have in common, for whoever builds on them."""

from __future__ import annotations

import math
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from statewise.architecture import Architecture
from statewise.origin import Origin
from statewise.program import Executor
from statewise.state import State

_LOCK = threading.Lock()
_OVERRIDES: ContextVar[tuple[tuple[ModelBase, Callable[[Executor], None]], ...]] = ContextVar(
    "overrides", default=()
)
_JOINED: ContextVar[object | None] = ContextVar("joined", default=None)


class ModelBase:
    """A model as the parts of statewise see it: what it computes in, whose states fit it, and how
    its calls may be altered for a while.
    """

    architecture: Architecture
    _override_count = 0

    @property
    @abstractmethod
    def dtype(self) -> Any:
        """What the model computes in, as a dtype of its library."""

    @property
    @abstractmethod
    def device(self) -> Any:
        """Where its arrays are: a torch device, or ``"cpu"``."""

    @property
    @abstractmethod
    def origin(self) -> Origin:
        """What its states say of where they come from."""

    @abstractmethod
    def _base_executor(self) -> Executor:
        """An executor of its own, not altered by `overridden`."""

    def make_executor(self) -> Executor:
        """An executor of the caller's own, to run layers or to be altered. Changing its attributes
        does not reach the model.
        """
        executor = self._base_executor()
        if self._override_count:
            for model, override in _OVERRIDES.get():
                if model is self:
                    override(executor)
        return executor

    @property
    def is_overridden(self) -> bool:
        """Whether calls are altered by `overridden`, here or in another thread."""
        return self._override_count > 0

    def validate_state(self, state: State, rows: int) -> State:
        """The state checked, and brought to the model's arrays if it holds NumPy's.

        Arguments:
            state: what was given as a state.
            rows: how many rows it must have.

        Raises:
            StateError: a state that does not fit.
        """
        return self._base_executor().admit_state(state, rows)

    def describe(self, how: str) -> str:
        """Describe the model, a part on a line.

        Arguments:
            how: what it computes in, and how.
        """
        count = sum(math.prod(one.shape) for one in self.architecture.parameters.values())
        parts = "".join(f"\n  {line}" for line in self.architecture.describe().splitlines())
        return f"Model({count:,} parameters, {how}){parts}"

    @contextmanager
    def overridden(self, override: Callable[[Executor], None]) -> Iterator[None]:
        """Within the block every call of this model runs on an executor that `override` altered.

        Calls from other threads, and from tasks that began before, are not altered. Blocks may be
        nested: the outer one alters first. Outside of any block it costs nothing.
        """
        with _LOCK:
            self._override_count += 1
            self._switch_fast_path()
        token = _OVERRIDES.set((*_OVERRIDES.get(), (self, override)))
        try:
            yield
        finally:
            _OVERRIDES.reset(token)
            with _LOCK:
                self._override_count -= 1
                self._switch_fast_path()
                if not self._override_count:
                    del self._override_count  # the class has the 0

    def _switch_fast_path(self) -> None:
        """Called when the first override begins and the last one ends."""


@contextmanager
def joined_calls(run: object | None = None) -> Iterator[None]:
    """Within the block, the calls of a model are one run: who counts steps goes on counting. In a
    block inside a block the outer one counts.

    Arguments:
        run: stands for the run; blocks with the same one go on counting.
    """
    token = _JOINED.set(_JOINED.get() or run or object())
    try:
        yield
    finally:
        _JOINED.reset(token)


def current_join() -> object | None:
    """What stands for the block of `joined_calls` that this call is in, None outside of one."""
    return _JOINED.get()
