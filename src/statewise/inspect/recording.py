"""`record`: every value inside a run, from the fast model as it is."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import numpy as np

from statewise.arrays import to_numpy
from statewise.errors import InputError
from statewise.inspect.replay import Replay
from statewise.inspect.subject import get_model, read_inputs, suggest, without_gradients
from statewise.inspect.trace import Trace
from statewise.model import ModelBase
from statewise.program import Executor
from statewise.state import State
from statewise.timeline import build_timeline
from statewise.types import Array, array_namespace

BUDGET = 2**30

Shape: TypeAlias = tuple[tuple[int, ...], np.dtype[Any]]


def record(
    model: Any,
    x: Array | str,
    state: State | None = None,
    names: str | Iterable[str] = "0.*",
    *,
    reset: Array | None = None,
    lengths: Array | None = None,
    budget: int = BUDGET,
    unknown: str = "error",
) -> Trace:
    """Run a model and keep the intermediates.

    The model runs as it always does. Native kernels leave gates behind as they go; those of other
    LSTM, GRU and Elman layers are computed from their outputs afterwards. Other cells, and options
    that change the equations, are run step by step.

    Arguments:
        model: of `statewise.nn`, of `statewise.load`, or a model of text; it is not changed.
        x: (B, T, features), or (B, T) integers for `Tokens`; a text for a model of text, whose
            characters then are the labels of the steps.
        state: where to go on from; the initial state where it is not given.
        names: which values, as patterns: ``"0.*"``, ``["0.c", "1.h"]``; `names` lists them.
        reset, lengths: as in the model's call.
        budget: bytes that the trace may take.
        unknown: ``"replace"`` reads characters that the vocabulary lacks as its replacement
            character, ``"error"`` refuses them.

    Returns:
        the values as NumPy arrays by name, (B, T, units), zero where padded.

    Raises:
        DataError: an empty text, or characters that the vocabulary lacks.
        InputError: a name that the model has not, a trace larger than its budget, or inputs that
            do not fit.

    Example::

        trace = inspect.record(model, x, names=["0.f", "0.c"])
        trace["0.f"].shape      # (B, T, units)
        later = trace.state_at(99)
    """
    text_model, model = model, get_model(model)
    executor = executor_of(model)
    x, text = read_inputs(text_model, x, unknown)
    with without_gradients(x):
        shapes = _shapes(executor, x)
        chosen = matching(shapes, names)
        rows, steps = int(x.shape[0]), int(x.shape[1])
        _check_budget({name: shapes[name] for name in chosen}, rows, steps, budget)
        executor.run = Replay(executor.run)
        _, after, intermediates = executor.unroll(x, state, reset, lengths, capture=chosen)
    when = build_timeline(rows, steps, reset, lengths, np.zeros(()))
    values = {
        name: np.ascontiguousarray(to_numpy(intermediates[name]))
        if name in intermediates  # there are none where there are no steps
        else np.zeros((rows, steps, *shapes[name][0]), shapes[name][1])
        for name in chosen
    }
    trace = Trace(
        values,
        inputs=np.asarray(to_numpy(x)),
        before=(executor.initial_state(rows) if state is None else state).detach().numpy(),
        after=after.detach().numpy(),
        mask=when.valid,
        reset=when.reset,
        model=model,
    )
    return trace if text is None else trace.align(text)


def names(model: Any) -> list[str]:
    """The names of all that can be recorded of a model: ``["0.i", "0.f", ...]``."""
    return list(shapes(model))


def shapes(model: Any) -> dict[str, Shape]:
    """The shape at one row and step, and the dtype, of all that can be recorded of a model."""
    executor = executor_of(get_model(model))
    architecture = executor.architecture
    features = getattr(architecture.inputs, "features", None)
    xp = array_namespace(executor.like)
    shape = (1, 1) if features is None else (1, 1, features)
    kind = xp.int64 if features is None else executor.like.dtype
    x = xp.zeros(shape, dtype=kind, device=executor.like.device)
    with without_gradients(x):
        return _shapes(executor, x)


def executor_of(model: Any) -> Executor:
    """An executor of a model's own, to be altered without touching the model."""
    if isinstance(model, ModelBase):
        return model.make_executor()
    hint = "; it has learned nothing yet, call fit" if hasattr(model, "fit") else ""
    kind = type(model).__name__
    raise InputError(f"expected a statewise model, of sw.nn.Model or sw.load, got {kind}{hint}")


def _shapes(executor: Executor, x: Array) -> dict[str, Shape]:
    """Name -> shape at one row and step, and dtype, from one step of one row."""
    executor.check_inputs(x, steps=True)
    xp = array_namespace(x)
    one = xp.zeros((1, 1, *x.shape[2:]), dtype=x.dtype, device=executor.like.device)
    _, _, intermediates = executor.unroll(one, None, capture=True)
    return {
        name: (tuple(value.shape[2:]), np.asarray(to_numpy(value)).dtype)
        for name, value in intermediates.items()
    }


def matching(shapes: dict[str, Shape], patterns: str | Iterable[str]) -> list[str]:
    """The names that are meant by patterns, in the model's order."""
    listed = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in listed:
        if not any(fnmatchcase(name, pattern) for name in shapes):
            raise InputError(
                f"nothing in this model is called {pattern!r}{suggest(pattern, shapes)} "
                f"It has {', '.join(shapes) or 'nothing to record'}"
            )
    return [name for name in shapes if any(fnmatchcase(name, one) for one in listed)]


def _check_budget(shapes: dict[str, Any], rows: int, steps: int, budget: int) -> None:
    each = {
        name: rows * steps * int(np.prod(shape)) * dtype.itemsize
        for name, (shape, dtype) in shapes.items()
    }
    total = sum(each.values())
    if total <= budget:
        return
    fitting = budget * steps // max(total, 1)
    largest = max(each, key=lambda name: each[name])
    raise InputError(
        f"the trace would take {_size(total)} ({len(each)} values of {rows} rows and {steps} "
        f"steps), more than its budget of {_size(budget)}; record fewer names ({largest!r} alone "
        f"takes {_size(each[largest])}), at most {fitting} steps at a time going on from "
        f"trace.after, or give budget={total}"
    )


def _size(count: int) -> str:
    number = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.4g} {unit}"
        number /= 1024
    return f"{number:.4g} GiB"
