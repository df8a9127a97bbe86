"""`probe`: whether a label can be read from the values inside by a linear map, at held-out steps"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from statewise.errors import InputError
from statewise.inspect.chance import permute_blocks
from statewise.inspect.labels import as_label, compute_label
from statewise.inspect.linear_map import LinearMap, Measure, Split, fit_linear_map, split_steps
from statewise.inspect.subject import find_memory
from statewise.inspect.threads import limit_threads
from statewise.inspect.trace import Trace, check_trace
from statewise.progress import Progress


@dataclass(frozen=True)
class Probe:
    """What `probe` found.

    Attributes:
        name, label: what was read from what.
        measure: ``"accuracy"`` of a label that is one of several, ``"R2"`` of one that is a number:
            the share of its variance that is predicted, below 0 where the mean does better.
        score: at held-out steps.
        control: the same for the control task, the label with blocks of its steps in other orders.
        trivial: the score of always predicting the commonest label, or the mean.
        units: all units, those with the largest weights first.
        strength: of the penalty on weights, for each step learned from.
    """

    name: str
    label: str
    measure: Measure
    score: float
    control: float
    trivial: float
    units: list[int]
    strength: float

    @property
    def selectivity(self) -> float:
        """How far the score exceeds the control, or the trivial score where that is higher."""
        return self.score - max(self.control, self.trivial)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and texts."""
        return {**asdict(self), "selectivity": self.selectivity}


def probe(
    trace: Trace,
    labels: Any,
    name: str | None = None,
    *,
    row: int = 0,
    held_out: float = 0.25,
    blocks: int = 20,
    controls: int = 3,
    strength: float | None = None,
    seed: int = 0,
) -> Probe:
    """Whether a label can be read from the values inside by a linear map.

    Logistic regression for a label that is one of several (bool, whole numbers, words, or a number
    with two values), ridge regression for other numbers, on standardised values. The penalty on
    weights, and whether all units are used or only those that vary most with the label, are chosen
    by cross-validation on the steps learned from, for the control task as for the label.

    Neighbouring steps resemble each other. So whole blocks of steps are held out, and steps next to
    them are not learned from; cross-validation does the same with stretches of the others.

    Arguments:
        trace: holds `name`.
        labels: (T,), or the name of a ready-made label (see `text_labels`, `series_labels`).
        name: the values to read from; the memory of the first layer that has one, such as "0.c".
        row: of the trace.
        held_out: share of the blocks that is held out.
        blocks: into how many the steps are cut.
        controls: how many control tasks, whose mean is given.
        strength: of the penalty on weights, for each step learned from; chosen where not given.
        seed: of which blocks are held out, and of the control tasks.

    Raises:
        InputError: an unknown name, row or label, labels that do not fit or are NaN, or too few
            steps.
        MissingExtraError: scikit-learn is not installed.

    Example::

        inspect.probe(trace, "inside quotes", "0.h").selectivity

    Source: Hewitt and Liang, Designing and interpreting probes with control tasks, 2019. Their
    control gives every word a random label. The steps of a sequence have no such types, and the
    control here is the same label with blocks of its steps in other orders: as frequent and as
    slow. For fewer units, Gurnee et al., Finding neurons in a haystack: case studies with sparse
    probing, 2023.
    """
    check_trace(trace)
    name = find_memory(trace) if name is None else name
    values, label = _get_steps(trace, name, row, labels)
    if not 0 < held_out < 1 or blocks < 2 or controls < 1:
        raise InputError(
            f"a probe takes 0 < held_out < 1, at least 2 blocks and 1 control, got "
            f"held_out={held_out}, blocks={blocks}, controls={controls}"
        )
    if len(values) < 2 * blocks:
        raise InputError(f"{blocks} blocks take {2 * blocks} steps at least, got {len(values)}")
    split = split_steps(len(values), held_out, blocks, np.random.default_rng(seed))
    if not split.learned.size:
        raise InputError(
            f"held_out={held_out} of {blocks} blocks leaves no steps to learn from; hold out less"
        )
    classes = label.dtype.kind != "f" or np.unique(label).size <= 2
    measure: Measure = "accuracy" if classes else "R2"

    def fit(label: np.ndarray) -> LinearMap:
        return fit_linear_map(values, label, measure, split, strength)

    with limit_threads(), Progress(f"probing {name}", 1 + controls) as progress:
        found = fit(label)
        control: list[float] = []
        for order in permute_blocks(len(label), controls, seed):
            progress.update(1 + len(control))
            control.append(fit(label[order]).score)
    order = np.argsort(-np.linalg.norm(found.weights, axis=0), kind="stable")
    return Probe(
        name,
        labels if isinstance(labels, str) else "given",
        measure,
        found.score,
        float(np.mean(control)),
        _score_commonest(label, split) if classes else 0.0,
        [int(unit) for unit in order],
        found.strength,
    )


def _get_steps(trace: Trace, name: str, row: int, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """The values of a row, (T, units), and the label, (T,), without padding."""
    values = trace[name]
    if values.ndim != 3 or not -trace.rows <= row < trace.rows:
        raise InputError(f"probe looks at rows 0 to {trace.rows - 1} of (B, T, units), got {row}")
    if isinstance(labels, str):
        label = compute_label(trace, labels, row)
    else:
        label = as_label(labels, trace.steps, "the label")
    valid = slice(None) if trace.mask is None else trace.mask[row]
    return values[row][valid].astype(np.float64), label[valid]


def _score_commonest(label: np.ndarray, split: Split) -> float:
    """The accuracy of always saying what is commonest at the steps learned from."""
    kinds, counts = np.unique(label[split.learned], return_counts=True)
    return float((label[split.out] == kinds[counts.argmax()]).mean())
