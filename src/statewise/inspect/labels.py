"""Labels of the steps of a trace, ready-made or a user's own, and how closely values follow them"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from statewise.errors import InputError
from statewise.inspect.chance import DRAWS, corrected_chance, permute_blocks
from statewise.inspect.label_series import SERIES, series_labels
from statewise.inspect.label_text import TEXT, text_labels
from statewise.inspect.subject import chosen
from statewise.inspect.trace import Trace


def ready_labels(trace: Trace, row: int = 0) -> dict[str, np.ndarray]:
    """The ready-made labels of a row of a trace, name -> (T,).

    Those of `text_labels` where the steps are labelled by parts of a text, those of `series_labels`
    where the inputs are numbers, none where they are tokens of which nothing is known. A character
    of several bytes is read with its last byte, and its labels begin there.
    """
    return _labels(trace, row, None)


def label_of(trace: Trace, label: str, row: int = 0) -> np.ndarray:
    """One ready-made label of a row of a trace, (T,).

    Raises:
        InputError: there is no such label, or the trace has no ready-made ones.
    """
    base = label.partition(" of feature ")[0]
    chosen([base], SERIES if _numbers(trace) else TEXT, "ready-made label")
    found = _labels(trace, row, [base])
    if not found and not _numbers(trace):
        raise InputError(
            f"nothing is known of the steps of this trace that would tell {label!r}; write "
            "trace.align(text) first, or give the label as an array (T,)"
        )
    chosen([label], found or _labels(trace, row, None), "label of this series")
    return found[label]


def _labels(trace: Trace, row: int, names: list[str] | None) -> dict[str, np.ndarray]:
    if _numbers(trace):
        valid = trace.steps if trace.mask is None else int(trace.mask[row].sum())
        found = series_labels(trace.inputs[row, :valid], names=names)
        return {name: np.pad(label, (0, trace.steps - valid)) for name, label in found.items()}
    if trace.labels is None or not all(isinstance(part, str) for part in trace.labels):
        return {}
    last = np.cumsum([len(part) for part in trace.labels]) - 1
    found = text_labels("".join(trace.labels), names)
    return {name: np.append(label, 0.0)[last] for name, label in found.items()}


def _numbers(trace: Trace) -> bool:
    return trace.inputs.dtype.kind == "f"


def own_labels(labels: Mapping[str, Any] | None, steps: int) -> dict[str, np.ndarray]:
    """A user's own labels, checked: name -> (T,) float64."""
    if labels is not None and not isinstance(labels, Mapping):
        raise InputError(f"labels are name -> ({steps},) numbers, got {type(labels).__name__}")
    found = {}
    for name, given in (labels or {}).items():
        label = np.asarray(given)
        if label.shape != (steps,) or label.dtype.kind not in "biuf":
            raise InputError(
                f"label {name!r} must hold a number for each of {steps} steps, got "
                f"{label.shape} {label.dtype}"
            )
        found[name] = label.astype(np.float64)
        if not np.isfinite(found[name]).all():
            raise InputError(f"label {name!r} holds NaN or infinity")
    return found


def places(labels: Mapping[str, np.ndarray], off: bool = False) -> dict[str, np.ndarray]:
    """Where each label is on, (T,) bool: of one that is a number, its highest quarter. Without
    those that are nowhere on or everywhere.

    Arguments:
        labels: name -> (T,).
        off: tell where those that are no numbers are off, too, as ``"not ..."``.
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


def follow(
    values: np.ndarray, labels: Sequence[np.ndarray], draws: int = DRAWS, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How closely values (T, units) follow labels: the correlation, its control, and the chance,
    (units, labels) each.

    The control is the mean absolute correlation with the same label in other orders of its blocks:
    what a label as common, and as slow to change, reaches without any meaning. The chance is that
    of such labels to reach as much anywhere. 0, 0 and 1 where either is constant.
    """
    of_values, of_labels = (_standard(each) for each in (values, np.stack(labels, axis=1)))
    steps = len(values)
    found = of_values.T @ of_labels / steps
    orders = permute_blocks(steps, draws, seed)
    drawn = np.stack([np.abs(of_values.T @ of_labels[order]) / steps for order in orders])
    return found, drawn.mean(axis=0), corrected_chance(np.abs(found), drawn)


def _standard(values: np.ndarray) -> np.ndarray:
    mean, deviation = scales(values)
    return np.asarray((values - mean) / deviation)


def scales(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of every column of (T, N), which scaled by them have neither; infinity for
    a column that is constant but for rounding, which then is zero.
    """
    deviation = values.std(axis=0)
    still = deviation <= 1e-7 * np.abs(values).max(axis=0)
    return values.mean(axis=0), np.where(still, np.inf, deviation)
