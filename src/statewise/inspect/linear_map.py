"""Linear maps from values to a label, with a penalty chosen by cross-validation on ordered steps"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from statewise.extras import require
from statewise.inspect.labels import measure_scales

Measure: TypeAlias = Literal["accuracy", "R2"]

Path: TypeAlias = Callable[
    [np.ndarray, np.ndarray, np.ndarray, Sequence[float]],
    Iterator[tuple[np.ndarray, np.ndarray]],
]
"""Values and labels to learn from, other values, strengths of the penalty -> for each strength what
is predicted from the other values, and the weights (outputs, units).
"""

STRENGTHS = tuple(10.0**-power for power in range(7))
"""Strengths of the penalty on weights, for each step learned from, strongest first."""
FOLDS = 3
CHOICE_STEPS = 3000
"""The penalty is chosen on so many steps at most, evenly spaced; neighbours resemble each other."""


@dataclass(frozen=True)
class Split:
    """The steps that are learned from and those held out, ascending.

    Attributes:
        learned, out: their numbers.
        gap: so many steps between the two are left out.
    """

    learned: np.ndarray
    out: np.ndarray
    gap: int


@dataclass(frozen=True)
class LinearMap:
    """A linear map as it was learned.

    Attributes:
        score: accuracy or R2 at the steps held out.
        weights: of the standardised units, (outputs, units); zero for units that are not used.
        strength: of the penalty on weights, for each step learned from.
    """

    score: float
    weights: np.ndarray
    strength: float


def split_steps(steps: int, held_out: float, blocks: int, rng: np.random.Generator) -> Split:
    """Whole blocks of steps held out at random, with a gap between them and the steps learned from.

    Arguments:
        steps: how many there are.
        held_out: share of the blocks.
        blocks: into how many the steps are cut.
        rng: draws which.
    """
    block = np.arange(steps) * blocks // steps
    count = min(max(1, round(blocks * held_out)), blocks - 1)
    out = np.isin(block, rng.permutation(blocks)[:count])
    gap = max(1, steps // blocks // 10)
    near = np.convolve(out, np.ones(2 * gap + 1), "same") > 0
    return Split(np.flatnonzero(~near), np.flatnonzero(out), gap)


def fold_steps(split: Split) -> list[Split]:
    """The steps learned from, split again: each fold holds out another stretch of them, with the
    same gap before and after it. Folds that leave nothing to learn from are left out.
    """
    learned = split.learned[:: -(-len(split.learned) // CHOICE_STEPS)]
    folds = []
    for out in np.array_split(learned, FOLDS):
        if out.size:
            outside = (learned < out[0] - split.gap) | (learned > out[-1] + split.gap)
            folds.append(Split(learned[outside], out, split.gap))
    return [fold for fold in folds if fold.learned.size]


def fit_linear_map(
    values: np.ndarray,
    label: np.ndarray,
    measure: Measure,
    split: Split,
    strength: float | None = None,
) -> LinearMap:
    """Learn to read a label from values: by logistic regression for ``"accuracy"``, by ridge
    regression for ``"R2"``.

    Where no strength is given, cross-validation on the steps learned from chooses the strength of
    the penalty, and how many units are used: all, or the 1, 8, 64, ... that vary most with the
    label. A label that a few units hold can be learned from those with far fewer steps than from
    all units. Of equal choices it takes more units, then the stronger penalty.

    Arguments:
        values: (T, units).
        label: (T,).
        measure: what the score is.
        split: of the steps.
        strength: of the penalty on weights, for each step learned from; all units are used.
    """
    count = values.shape[1]
    if strength is None:
        count, strength = _choose(values, label, measure, fold_steps(split))
    predicted, weights = next(_follow_path(values, label, measure, split, count, [strength]))
    wanted = label[split.out]
    if measure == "accuracy":
        usual = float(len(wanted))
    else:
        usual = float(((wanted - label[split.learned].mean()) ** 2).sum())
    wrong = _error(measure, wanted, predicted)
    return LinearMap(1 - wrong / usual if usual > 0 else float(wrong == 0), weights, strength)


def _choose(
    values: np.ndarray, label: np.ndarray, measure: Measure, folds: Sequence[Split]
) -> tuple[int, float]:
    """How many units and which strength do best over all folds."""
    units = values.shape[1]
    counts = [units, *(8**power for power in range(8) if 8**power < units)]
    wrong = np.zeros((len(counts), len(STRENGTHS)))
    for fold in folds:
        for row, count in zip(wrong, counts, strict=True):
            path = _follow_path(values, label, measure, fold, count, STRENGTHS)
            row += [_error(measure, label[fold.out], predicted) for predicted, _ in path]
    best = np.unravel_index(wrong.argmin(), wrong.shape)
    return counts[best[0]], STRENGTHS[best[1]]


def _error(measure: Measure, wanted: np.ndarray, predicted: np.ndarray) -> float:
    """How many are wrong, or the sum of squares."""
    off = predicted != wanted if measure == "accuracy" else (predicted - wanted) ** 2
    return float(off.sum())


def _follow_path(
    values: np.ndarray,
    label: np.ndarray,
    measure: Measure,
    split: Split,
    count: int,
    strengths: Sequence[float],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each strength, what is predicted at the steps held out, and the weights of all units."""
    mean, deviation = measure_scales(values[split.learned])
    x, other = ((values[steps] - mean) / deviation for steps in (split.learned, split.out))
    y = label[split.learned]
    units = np.argsort(-_relevance(x, y, measure), kind="stable")[:count]
    run = _classify if measure == "accuracy" else _regress
    for predicted, own in run(x[:, units], y, other[:, units], strengths):
        weights = np.zeros((len(own), values.shape[1]))
        weights[:, units] = own
        yield predicted, weights


def _relevance(x: np.ndarray, y: np.ndarray, measure: Measure) -> np.ndarray:
    """How much of the variance of each standardised unit the label accounts for, (units,)."""
    if measure == "R2":
        return np.asarray((x.T @ (y - y.mean())) ** 2)
    kinds, place, counts = np.unique(y, return_inverse=True, return_counts=True)
    means = np.eye(len(kinds))[place].T @ x / counts[:, None]  # (kinds, units)
    return np.asarray(counts @ means**2)


def _classify(
    x: np.ndarray, y: np.ndarray, other: np.ndarray, strengths: Sequence[float]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Logistic regression; each fit starts from the weights of the one before."""
    learn = require("sklearn.linear_model", "inspect", "a probe").LogisticRegression
    kinds = np.unique(y)
    if kinds.size < 2:
        yield from [(np.repeat(kinds, len(other)), np.zeros((1, x.shape[1])))] * len(strengths)
        return
    regression = learn(max_iter=1000, warm_start=True)
    for strength in strengths:
        regression.C = 1 / (strength * len(x))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # weights that would grow for ever are good enough
            regression.fit(x, y)
        yield regression.predict(other), np.asarray(regression.coef_)


def _regress(
    x: np.ndarray, y: np.ndarray, other: np.ndarray, strengths: Sequence[float]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ridge regression; one decomposition serves all of them."""
    left, size, right = np.linalg.svd(x, full_matrices=False)
    inside = left.T @ (y - y.mean())
    for strength in strengths:
        weights = right.T @ (inside * size / (size**2 + strength * len(x)))
        yield other @ weights + y.mean(), weights[None]
