"""Calls of a model inside `torch.compile` and `torch.export`.

Dynamo puts such a call into its graph as a whole, without reading the Python code of it. The
operators are then recorded by running it on tensors whose shapes are known and whose values are
not. That goes for masks too: any row may be reset or end at any step, so each step is a segment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Protocol, TypeVar, cast

import torch
import torch._dynamo
from torch import Tensor

from statewise.errors import CarryError, InputError
from statewise.inputs import check_layout
from statewise.program import Executor
from statewise.state import State
from statewise.timeline import Segment, Timeline

F = TypeVar("F", bound=Callable[..., Any])


_CAN_TRACE = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 13)
"""Whether Dynamo takes a function of a module as a node."""


class Model(Protocol):
    """What a call needs of a model of torch."""

    training: bool

    @property
    def is_overridden(self) -> bool: ...

    def make_executor(self) -> Executor: ...

    def make_traced_executor(self, training: bool) -> Executor: ...


def _put_in_graph(function: F) -> F:
    """Make a function a node of Dynamo's graph. Where Dynamo gives up, it runs as it is."""
    dynamo: Any = torch._dynamo
    function = dynamo.disable(function)
    return cast("F", dynamo.nonstrict_trace(function) if _CAN_TRACE else function)


def _leave_out_of_graph(function: F) -> F:
    """Make Dynamo end its graph before a function, and begin another after it."""
    dynamo: Any = torch._dynamo
    return cast("F", dynamo.disable(function))


def trace_call(
    model: Model,
    x: Tensor,
    state: State | None,
    reset: Any,
    lengths: Any,
    initial: State | None,
) -> tuple[Tensor, State]:
    """Run a call as a node of the graph, see `Model.forward`."""
    if model.is_overridden:
        return _run_overridden(model, x, state, reset, lengths, initial)
    given: dict[str, Any] = {} if state is None else {"state": state}
    if reset is not None:
        given["reset"] = torch.as_tensor(reset)
    if lengths is not None:
        given["lengths"] = torch.as_tensor(lengths)
    if initial is not None:
        given["initial"] = initial
    return _run(model, x, given, model.training)


def trace_step(model: Model, x: Tensor, state: State | None) -> tuple[Tensor, State]:
    """Run one step as a node of the graph, see `Model.step`."""
    if model.is_overridden:
        return _step_overridden(model, x, state)
    return _step(model, x, {} if state is None else {"state": state}, model.training)


@_put_in_graph
def _run(model: Model, x: Tensor, given: dict[str, Any], training: bool) -> tuple[Tensor, State]:
    with _without_onednn():
        call = {"state": None, **given}
        y, after, _ = model.make_traced_executor(training).unroll(x, **call)
    return y, after


@_put_in_graph
def _step(model: Model, x: Tensor, given: dict[str, Any], training: bool) -> tuple[Tensor, State]:
    with _without_onednn():
        return model.make_traced_executor(training).step(x, given.get("state"))


@_leave_out_of_graph
def _run_overridden(model: Model, *call: Any) -> tuple[Tensor, State]:
    y, after, _ = model.make_executor().unroll(*call)
    return y, after


@_leave_out_of_graph
def _step_overridden(model: Model, *call: Any) -> tuple[Tensor, State]:
    return model.make_executor().step(*call)


@contextmanager
def _without_onednn() -> Iterator[None]:
    """Record torch's LSTM on the CPU as matrix products: oneDNN's cannot be differentiated here."""
    mkldnn: Any = torch.backends.mkldnn
    before, mkldnn.enabled = mkldnn.enabled, False
    try:
        yield
    finally:
        mkldnn.enabled = before


class TracedExecutor(Executor):
    """Runs a call of which shapes and dtypes are known, and no values."""

    def read_call(self, x: Tensor, reset: Any, lengths: Any) -> Timeline:
        check_layout(x, self.architecture.inputs, self.like, steps=True)
        rows, steps = x.shape[:2]
        if reset is None and lengths is None:
            return Timeline(rows, steps, None, None, self.like)
        if reset is not None and (reset.shape != (rows, steps) or reset.dtype != torch.bool):
            raise InputError(
                f"reset must be ({rows}, {steps}) bool, got {tuple(reset.shape)} {reset.dtype}"
            )
        if lengths is not None and lengths.shape != (rows,):
            raise InputError(f"lengths must be ({rows},) whole numbers, got {tuple(lengths.shape)}")
        return TracedTimeline(rows, steps, reset, lengths, self.like)

    def check_inputs(self, x: Tensor, steps: bool) -> None:
        check_layout(x, self.architecture.inputs, self.like, steps)

    def admit_state(self, state: State, rows: int) -> State:
        if not self.program.causal:
            raise CarryError(
                "a Bidirectional layer cannot go on from a carry; a call that is compiled or "
                "exported takes no state of such a model"
            )
        return super().admit_state(state, rows)


class TracedTimeline(Timeline):
    """The resets and lengths of a call as tensors whose values are not known.

    Arguments:
        rows, steps: B and T.
        reset: (B, T) bool, or None.
        lengths: (B,) whole numbers, or None.
        like: a tensor on the device that the masks go to.
    """

    def __init__(
        self, rows: int, steps: int, reset: Tensor | None, lengths: Tensor | None, like: Tensor
    ) -> None:
        self.rows, self.steps, self.like = rows, steps, like
        self.reset: Any = None if reset is None else reset.to(like.device)
        self.valid: Any = None
        if lengths is not None:
            self.valid = self._steps < lengths.to(like.device)[:, None]
            self.reset = None if reset is None else self.reset & self.valid

    @cached_property
    def segments(self) -> list[Segment]:
        def column(mask: Any, t: int) -> Any:
            return None if mask is None else mask[:, t]

        return [
            Segment(t, t + 1, column(self.reset, t), column(self.valid, t))
            for t in range(self.steps)
        ]

    @cached_property
    def reset_steps(self) -> Any:
        return None if self.reset is None else self.reset.contiguous()

    @cached_property
    def lengths(self) -> Any:
        return None if self.valid is None else self.valid.sum(1)

    @cached_property
    def mask(self) -> Any:
        return self.valid

    def position(self, before: Any) -> Any:
        counted = self._all_valid
        if self.reset is not None:
            counted = counted & (self._count_resets_from() == self.reset.long())
        consumed = counted.sum(1)
        if before is None:
            return consumed
        return (
            before + consumed
            if self.reset is None
            else torch.where(self.reset.any(1), consumed, before + consumed)
        )

    def latest(self, y: Any, before: Any) -> Any:
        if self.steps == 0:
            return before
        counts = self._all_valid.sum(1)
        rows = torch.arange(self.rows, device=y.device)
        last = y[rows, (counts - 1).clamp(min=0)].to(before.dtype)
        return torch.where((counts > 0)[:, None], last, before)

    @cached_property
    def _order(self) -> Any:
        starts = torch.zeros_like(self._all_valid)
        if self.reset is not None:
            starts = starts | self.reset
        if self.valid is not None:
            changes = self.valid[:, 1:] != self.valid[:, :-1]
            starts = starts | torch.nn.functional.pad(changes, (1, 0))
        starts = starts | (self._steps == 0)
        steps = self._steps.expand(self.rows, -1)
        first = torch.where(starts, steps, 0).cummax(1).values
        ends = torch.nn.functional.pad(starts[:, 1:], (0, 1), value=True)
        last = torch.where(ends, steps, self.steps).flip(1).cummin(1).values.flip(1)
        return first + last - steps

    @property
    def _steps(self) -> Tensor:
        return torch.arange(self.steps, device=self.like.device)[None]

    @property
    def _all_valid(self) -> Any:
        if self.valid is not None:
            return self.valid
        return torch.ones(self.rows, self.steps, dtype=torch.bool, device=self.like.device)

    def _count_resets_from(self) -> Any:
        """How many resets each row has from each step on, (B, T)."""
        return self.reset.long().flip(1).cumsum(1).flip(1)
