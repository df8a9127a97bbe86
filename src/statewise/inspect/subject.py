"""Models and their inputs as every function of inspect takes them; names that are asked for"""

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


def get_model(model: Any) -> Any:
    """The model itself, or the one that a model of text or a forecaster holds.

    Raises:
        InputError: no model of statewise, or one that is not fitted.
    """
    inner = model if isinstance(model, ModelBase) else getattr(model, "model", None)
    if not isinstance(inner, ModelBase):
        raise InputError(
            "expected a statewise model, or a text model or forecaster that is fitted, got "
            f"{type(model).__module__}.{type(model).__name__}; call fit, or convert a model of "
            "another framework, such as by sw.interop.from_torch(model)"
        )
    return inner


def read_inputs(model: Any, data: Any, unknown: str = "error") -> tuple[Any, str | None]:
    """Data as a model takes it: its inputs, (B, T, ...), and the text where it is one.

    Arguments:
        model: a model, or a model of text.
        data: arrays as the model takes them; a text for a model of text; one sequence of numbers,
            (T,) or (T, features).
        unknown: ``"error"`` or ``"replace"``: characters that the vocabulary lacks.

    Raises:
        DataError: an empty text, characters that the vocabulary lacks, a text for a model that
            has no vocabulary, or what is neither a text nor numbers.
    """
    inner = get_model(model)
    if isinstance(data, str):
        if not hasattr(model, "encode"):
            raise DataError(
                f"{type(model).__name__} has no vocabulary to read a text by; give its tokens, "
                "(B, T) integers, or a statewise.text.TextModel"
            )
        if not data:
            raise DataError("the text is empty; give at least one character")
        data = model.vocabulary.normalize(data)
        return _as_arrays_of(inner, np.asarray(model.encode(data, unknown))[None]), data
    if is_torch(data):
        return data, None
    try:
        x = np.asarray(data)
    except (TypeError, ValueError):
        x = np.asarray(None)
    if x.ndim == 0 or x.dtype.kind not in "biuf":
        raise DataError(
            f"expected numbers or a text, got {type(data).__name__} of {x.dtype}; numbers are an "
            "array (T,), (T, features) or (B, T, features)"
        )
    features = getattr(inner.architecture.inputs, "features", None)
    if x.ndim == 1:
        x = x[None] if features is None else x[None, :, None]
    elif x.ndim == 2 and features is not None:
        x = x[..., None] if features == 1 and x.shape[1] != 1 else x[None]
    return _as_arrays_of(inner, x), None


def without_gradients(x: Any) -> Any:
    """A context in which torch records nothing for gradients, where the arrays are torch's."""
    if not is_torch(x):
        return nullcontext()
    import torch

    return torch.no_grad()


def find_memory(known: Iterable[str]) -> str:
    """The name of the memory of the first layer that has one: the c of an LSTM, the h of others.

    Raises:
        InputError: there is neither.
    """
    fields = [name for name in known if name.rpartition(".")[2] in ("c", "h")]
    if not fields:
        raise InputError("nothing in this model is called c or h; give name=")
    first = fields[0].partition(".")[0]
    return min(name for name in fields if name.partition(".")[0] == first)


def pick_unit(values: np.ndarray) -> int:
    """The unit of (units, T) that varies much for its size and changes little from step to step."""
    size = np.maximum(np.abs(values).max(axis=1), 1e-9)
    change = np.abs(np.diff(values, axis=1)).mean(axis=1) if values.shape[1] > 1 else 0.0
    return int(np.argmax((values.std(axis=1) - change) / size))


def get_cell(model: Any, layer: str) -> Any:
    """The cell of a layer by its number; None where it is not known."""
    cells = () if model is None else model.architecture.layers
    return cells[int(layer)] if layer.isdigit() and int(layer) < len(cells) else None


def unwrap_cell(cell: Any) -> Any:
    """A cell without its wrappers; one that reads in both directions as it is."""
    while hasattr(cell, "inner") and getattr(cell, "causal", True):
        cell = cell.inner
    return cell


def suggest(word: object, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` where something known is similar, else an empty text."""
    near = get_close_matches(str(word), list(known), 3, 0.3)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def check_names(names: str | Iterable[str] | None, known: Collection[str], what: str) -> list[str]:
    """The names that are asked for as a list, all known ones where None are.

    Raises:
        InputError: a name that is not known.
    """
    listed = list(known) if names is None else [names] if isinstance(names, str) else list(names)
    for name in listed:
        if name not in known:
            hint = suggest(name, known) or "."
            raise InputError(f"there is no {what} {name!r}{hint} There are {', '.join(known)}")
    return listed


def _as_arrays_of(model: Any, x: np.ndarray) -> Any:
    """A NumPy array as an array of the model's: numbers in its dtype, tokens as they are."""
    numbers = isinstance(model.architecture.inputs, Vector)
    if model.device == "cpu":  # a model of NumPy
        return x.astype(model.dtype, copy=False) if numbers and x.dtype.kind in "biuf" else x
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(x)).to(model.device)
    return tensor.to(model.dtype) if numbers else tensor
