"""Labels of the steps of a trace, ready-made or a user's own, and how closely values follow them"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from statewise.arrays import to_numpy
from statewise.errors import InputError
from statewise.inspect.chance import DRAWS, corrected_chance, permute_blocks
from statewise.inspect.label_series import SERIES, series_labels
from statewise.inspect.label_text import TEXT, text_labels
from statewise.inspect.subject import check_names
from statewise.inspect.trace import Trace


def compute_labels(trace: Trace, row: int = 0) -> dict[str, np.ndarray]:
    """The ready-made labels of a row of a trace, name -> (T,).

    Those of `text_labels` where the steps are labelled by parts of a text, those of `series_labels`
    where the inputs are numbers, and none where the inputs are tokens without a text. A character
    of several bytes is read with its last byte, and its labels begin there.
    """
    return _select_labels(trace, row, None)


def compute_label(trace: Trace, label: str, row: int = 0) -> np.ndarray:
    """One ready-made label of a row of a trace, (T,).

    Raises:
        InputError: there is no such label, or the trace has no ready-made ones.
    """
    base = label.partition(" of feature ")[0]
    check_names([base], SERIES if _reads_numbers(trace) else TEXT, "ready-made label")
    found = _select_labels(trace, row, [base])
    if not found and not _reads_numbers(trace):
        raise InputError(
            f"{label!r} is computed from a text, and the steps of this trace have none; write "
            "trace.align(text) first, or give the label as an array (T,)"
        )
    check_names([label], found or _select_labels(trace, row, None), "label of this series")
    return found[label]


def _select_labels(trace: Trace, row: int, names: list[str] | None) -> dict[str, np.ndarray]:
    if _reads_numbers(trace):
        valid = trace.steps if trace.mask is None else int(trace.mask[row].sum())
        found = series_labels(trace.inputs[row, :valid], names=names)
        return {name: np.pad(label, (0, trace.steps - valid)) for name, label in found.items()}
    if trace.labels is None or not all(isinstance(part, str) for part in trace.labels):
        return {}
    last = np.cumsum([len(part) for part in trace.labels]) - 1
    found = text_labels("".join(trace.labels), names)
    return {name: np.append(label, 0.0)[last] for name, label in found.items()}


def _reads_numbers(trace: Trace) -> bool:
    return trace.inputs.dtype.kind == "f"


def check_labels(labels: Mapping[str, Any] | None, steps: int) -> dict[str, np.ndarray]:
    """A user's own labels, checked: name -> (T,) float64."""
    if labels is not None and not isinstance(labels, Mapping):
        raise InputError(
            f"labels are a dict of name -> ({steps},) numbers, got {type(labels).__name__}; write "
            'labels={"my label": values}'
        )
    checked = {}
    for name, given in (labels or {}).items():
        label = as_label(given, steps, f"label {name!r}")
        if label.dtype.kind == "U":
            raise InputError(
                f"label {name!r} holds words; give a label of numbers for each: label == 'word'"
            )
        checked[str(name)] = label.astype(np.float64)
    return checked


def as_label(given: Any, steps: int, what: str) -> np.ndarray:
    """A label in NumPy, (T,): numbers, bools or words.

    Arguments:
        given: an array, tensor, list or column.
        steps: T.
        what: what a message calls it.

    Raises:
        InputError: another shape, other types, or NaN.
    """
    try:
        label = np.asarray(to_numpy(given))
    except (TypeError, ValueError):
        label = np.asarray(None)
    if label.dtype.kind == "O" and label.ndim and all(isinstance(one, str) for one in label.flat):
        label = label.astype(str)
    if label.shape != (steps,) or label.dtype.kind not in "biufU":
        came = f"{label.shape} {label.dtype}" if label.ndim else type(given).__name__
        raise InputError(
            f"{what} must hold a number or a word for each of {steps} steps, ({steps},), got {came}"
        )
    if label.dtype.kind == "f" and not np.isfinite(label).all():
        count = int((~np.isfinite(label)).sum())
        raise InputError(f"{what} is NaN or infinite at {count} of {steps} steps")
    return label


def locate_labels(labels: Mapping[str, np.ndarray], off: bool = False) -> dict[str, np.ndarray]:
    """The steps at which each label is on, (T,) bool; of a label of more than two numbers, its
    highest quarter. Labels that are on at no step, or at every step, are left out.

    Arguments:
        labels: name -> (T,).
        off: add where labels of two values are off, as ``"not ..."``.
    """
    found = {}
    for name, label in labels.items():
        levels = np.unique(label)
        if levels.size > 2:
            found[name] = label >= max(np.quantile(label, 0.75), levels[1])
        elif levels.size == 2:
            found[name] = label == levels[1]
            if off:
                found[f"not {name}"] = label == levels[0]
    return {name: on for name, on in found.items() if not on.all()}


def correlate_labels(
    values: np.ndarray, labels: Sequence[np.ndarray], draws: int = DRAWS, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How closely values (T, units) follow labels: the correlation, its control, and the chance,
    (units, labels) each.

    The control is the mean absolute correlation with the same label with blocks of its steps in
    other orders: what a label as frequent and as slow reaches without a relation to the values.
    The chance is the probability that any of the labels reaches as much in such an order. They are
    0, 0 and 1 where the values or the label are constant.
    """
    of_values, of_labels = (_standardize(each) for each in (values, np.stack(labels, axis=1)))
    steps = len(values)
    found = of_values.T @ of_labels / steps
    orders = permute_blocks(steps, draws, seed)
    drawn = np.stack([np.abs(of_values.T @ of_labels[order]) / steps for order in orders])
    return found, drawn.mean(axis=0), corrected_chance(np.abs(found), drawn)


def _standardize(values: np.ndarray) -> np.ndarray:
    mean, deviation = measure_scales(values)
    return np.asarray((values - mean) / deviation)


def measure_scales(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of every column of (T, N). The deviation of a column that is constant but
    for rounding is infinity, so that it is zero once scaled.
    """
    deviation = values.std(axis=0)
    still = deviation <= 1e-7 * np.abs(values).max(axis=0)
    return values.mean(axis=0), np.where(still, np.inf, deviation)
