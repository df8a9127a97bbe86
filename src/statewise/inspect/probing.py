"""`probe`: can a label be read from the values inside, by a line, at steps not learned from?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from statewise.errors import InputError, MissingExtraError
from statewise.inspect.labels import displaced, label_of, scales
from statewise.inspect.subject import memory
from statewise.inspect.trace import Trace

Split: TypeAlias = tuple[np.ndarray, np.ndarray]
"""The steps that are learned from, and those held out."""


@dataclass(frozen=True)
class Probe:
    """What `probe` found.

    Attributes:
        name, label: what was read from what.
        measure: ``"accuracy"`` of a label that is one of several, ``"R2"`` of one that is a number:
            the share of its variance that is foretold, below 0 where the mean would do better.
        score: at held-out steps.
        control: the same for the control task, the label displaced in time.
        trivial: of always saying the commonest, or the mean.
        units: those that the probe leans on, most first.
    """

    name: str
    label: str
    measure: Literal["accuracy", "R2"]
    score: float
    control: float
    trivial: float
    units: list[int]

    @property
    def selectivity(self) -> float:
        """How far the score exceeds the control, or the trivial answer where that is better: what
        the values say of this label and not of any other.
        """
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
    strength: float = 0.1,
    seed: int = 0,
) -> Probe:
    """Whether a label can be read from the values inside by a linear map.

    Logistic regression for a label that is one of several (bool, whole numbers, words, or a number
    with two values), ridge regression for other numbers, on standardised values.

    Neighbouring steps resemble each other, so whole blocks of steps are held out, and of the steps
    learned from those next to such a block are left out.

    Arguments:
        trace: holds `name`.
        labels: (T,), or the name of a ready-made label (see `text_labels`, `series_labels`).
        name: the values to read from; the memory of the first layer that has one, such as "0.c".
        row: of the trace.
        held_out: share of the blocks that is held out.
        blocks: into how many the steps are cut.
        controls: how many control tasks, whose mean is given.
        strength: of the penalty on weights, for each step learned from.
        seed: of which blocks are held out, and of the control tasks.

    Raises:
        InputError: an unknown name, row or label, labels that do not fit or are NaN, or too few
            steps.
        MissingExtraError: scikit-learn is not installed.

    Example::

        inspect.probe(trace, "inside quotes", "0.h").selectivity

    Source: Hewitt and Liang, Designing and interpreting probes with control tasks, 2019. Their
    control gives every word a random label. The steps of a sequence have no such types, and the
    control here is the same label displaced in time: as frequent and as slow.
    """
    name = memory(trace) if name is None else name
    values, label = _steps(trace, name, row, labels)
    if not 0 < held_out < 1 or blocks < 2 or controls < 1:
        raise InputError(
            f"a probe takes 0 < held_out < 1, at least 2 blocks and 1 control, got "
            f"held_out={held_out}, blocks={blocks}, controls={controls}"
        )
    if len(values) < 2 * blocks:
        raise InputError(f"{blocks} blocks take {2 * blocks} steps at least, got {len(values)}")
    split = _split(len(values), held_out, blocks, np.random.default_rng(seed))
    classes = label.dtype.kind != "f" or np.unique(label).size <= 2
    fit = _classes if classes else _number
    score, weights = fit(values, label, split, strength)
    shifts = displaced(len(label), controls, seed)
    control = [fit(values, np.roll(label, by), split, strength)[0] for by in shifts]
    order = np.argsort(-np.linalg.norm(weights, axis=0), kind="stable")
    return Probe(
        name,
        labels if isinstance(labels, str) else "given",
        "accuracy" if classes else "R2",
        score,
        float(np.mean(control)),
        _commonest(label, split) if classes else 0.0,
        [int(unit) for unit in order],
    )


def _steps(trace: Trace, name: str, row: int, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """The values of a row, (T, units), and the label, (T,), without padding."""
    values = trace[name]
    if values.ndim != 3 or not -trace.rows <= row < trace.rows:
        raise InputError(f"probe looks at rows 0 to {trace.rows - 1} of (B, T, units), got {row}")
    label = label_of(trace, labels, row) if isinstance(labels, str) else np.asarray(labels)
    if label.shape != (trace.steps,) or label.dtype.kind not in "biufU":
        raise InputError(
            f"labels are the name of a ready-made one or ({trace.steps},) numbers or words, got "
            f"{label.shape} {label.dtype}"
        )
    if label.dtype.kind == "f" and not np.isfinite(label).all():
        raise InputError("the labels hold NaN or infinity; leave such steps out")
    valid = slice(None) if trace.mask is None else trace.mask[row]
    return values[row][valid].astype(np.float64), label[valid]


def _split(steps: int, held_out: float, blocks: int, rng: np.random.Generator) -> Split:
    """Blocks of steps held out, with a gap between them and the steps learned from."""
    block = np.arange(steps) * blocks // steps
    count = min(max(1, round(blocks * held_out)), blocks - 1)
    out = np.isin(block, rng.permutation(blocks)[:count])
    gap = max(1, steps // blocks // 10)
    near = np.convolve(out, np.ones(2 * gap + 1), "same") > 0
    return np.flatnonzero(~near), np.flatnonzero(out)


def _classes(
    values: np.ndarray, label: np.ndarray, split: Split, strength: float
) -> tuple[float, np.ndarray]:
    """Accuracy at held-out steps, and weights (classes, units)."""
    learned, out = split
    kinds = np.unique(label[learned])
    if kinds.size < 2:
        return float((label[out] == kinds[0]).mean()), np.zeros((1, values.shape[1]))
    mean, deviation = scales(values[learned])
    x = (values - mean) / deviation
    regression = _sklearn("LogisticRegression")(C=1 / (strength * len(learned)), max_iter=1000)
    regression.fit(x[learned], label[learned])
    return float(regression.score(x[out], label[out])), np.asarray(regression.coef_)


def _number(
    values: np.ndarray, label: np.ndarray, split: Split, strength: float
) -> tuple[float, np.ndarray]:
    """R2 at held-out steps, and weights (1, units)."""
    learned, out = split
    mean, deviation = scales(values[learned])
    x = (values - mean) / deviation
    regression = _sklearn("Ridge")(alpha=strength * len(learned)).fit(x[learned], label[learned])
    wrong = ((label[out] - regression.predict(x[out])) ** 2).sum()
    about = ((label[out] - label[learned].mean()) ** 2).sum()
    score = 1 - wrong / about if about > 0 else float(wrong == 0)
    return float(score), np.asarray(regression.coef_)[None]


def _commonest(label: np.ndarray, split: Split) -> float:
    kinds, counts = np.unique(label[split[0]], return_counts=True)
    return float((label[split[1]] == kinds[counts.argmax()]).mean())


def _sklearn(name: str) -> Callable[..., Any]:
    try:
        from sklearn import linear_model
    except ImportError:
        raise MissingExtraError("scikit-learn", "inspect", "a probe") from None
    found: Callable[..., Any] = getattr(linear_model, name)
    return found
