"""What is looked into: a model, alone or as part of a model of text, and what it reads"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import nullcontext
from difflib import get_close_matches
from typing import Any

import numpy as np

from statewise.architecture import Vector
from statewise.errors import DataError, InputError
from statewise.model import ModelBase
from statewise.types import is_torch


def runner(model: Any) -> Any:
    """The model that computes: a model of text, or a forecaster, holds one."""
    inner = None if isinstance(model, ModelBase) else getattr(model, "model", None)
    return model if inner is None else inner


def read(model: Any, data: Any, unknown: str = "error") -> tuple[Any, str | None]:
    """What a model reads of data: its inputs, (1, T, ...) at least, and the text if it is one.

    Arguments:
        model: a model, or a model of text.
        data: arrays as the model takes them; a text for a model of text; one sequence of numbers,
            (T,) or (T, features).
        unknown: ``"error"`` or ``"replace"``: characters that the vocabulary lacks.

    Raises:
        DataError: an empty text, characters that the vocabulary lacks, a text for a model that
            has no vocabulary, or what is neither a text nor numbers.
    """
    inner = runner(model)
    if isinstance(data, str):
        if not hasattr(model, "encode"):
            raise DataError(
                f"{type(model).__name__} has no vocabulary to read a text by; give its tokens, "
                "(B, T) integers, or a statewise.text.TextModel"
            )
        if not data:
            raise DataError("the text is empty; give at least one character")
        data = model.vocabulary.normalize(data)
        return _sent(inner, np.asarray(model.encode(data, unknown))[None]), data
    if is_torch(data):
        return data, None
    x = np.asarray(data)
    if x.ndim == 0 or x.dtype.kind not in "biuf":
        raise DataError(f"expected numbers or a text, got {type(data).__name__} of {x.dtype}")
    features = getattr(inner.architecture.inputs, "features", None)
    if x.ndim == 1:
        x = x[None] if features is None else x[None, :, None]
    elif x.ndim == 2 and features is not None:
        x = x[..., None] if features == 1 and x.shape[1] != 1 else x[None]
    return _sent(inner, x), None


def no_gradients(x: Any) -> Any:
    """A context in which arrays like this one keep no record for gradients."""
    if not is_torch(x):
        return nullcontext()
    import torch

    return torch.no_grad()


def memory(known: Iterable[str]) -> str:
    """What remembers in the first layer that does: the c of an LSTM, the h of others.

    Raises:
        InputError: there is neither.
    """
    fields = [name for name in known if name.rpartition(".")[2] in ("c", "h")]
    if not fields:
        raise InputError("nothing in this model is called c or h; say which name is meant")
    first = fields[0].partition(".")[0]
    return min(name for name in fields if name.partition(".")[0] == first)


def telling(values: np.ndarray) -> int:
    """The unit that varies most for its size and changes least from step to step, of (units, T)."""
    size = np.maximum(np.abs(values).max(axis=1), 1e-9)
    change = np.abs(np.diff(values, axis=1)).mean(axis=1) if values.shape[1] > 1 else 0.0
    return int(np.argmax((values.std(axis=1) - change) / size))


def cell_of(model: Any, layer: str) -> Any:
    """The cell of a layer by its number; None where it is not known."""
    cells = () if model is None else model.architecture.layers
    return cells[int(layer)] if layer.isdigit() and int(layer) < len(cells) else None


def innermost(cell: Any) -> Any:
    """A cell without what is wrapped around it; one that reads in both directions as it is."""
    while hasattr(cell, "inner") and getattr(cell, "causal", True):
        cell = cell.inner
    return cell


def suggestion(word: object, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` where something known is near."""
    near = get_close_matches(str(word), list(known), 3, 0.3)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def chosen(names: str | Iterable[str] | None, known: Collection[str], what: str) -> list[str]:
    """The names that are asked for, one or several, all where none are; each must be known."""
    listed = list(known) if names is None else [names] if isinstance(names, str) else list(names)
    for name in listed:
        if name not in known:
            hint = suggestion(name, known) or "."
            raise InputError(f"there is no {what} {name!r}{hint} There are {', '.join(known)}")
    return listed


def _sent(model: Any, x: np.ndarray) -> Any:
    """NumPy arrays in the arrays of the model; numbers in its dtype, tokens as they are."""
    numbers = isinstance(model.architecture.inputs, Vector)
    if model.device == "cpu":  # a model of NumPy
        return x.astype(model.dtype, copy=False) if numbers and x.dtype.kind in "biuf" else x
    import torch

    sent = torch.from_numpy(np.ascontiguousarray(x)).to(model.device)
    return sent.to(model.dtype) if numbers else sent
