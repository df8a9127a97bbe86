"""Training a model on a task, and how much of the task it has right"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from statewise.inspect.exam.example import Example
from statewise.inspect.exam.tasks import Task

MASTERED = 0.95
"""The share of examples that must be right throughout for a size to count as mastered."""

_ROUND, _LANES, _HELD_OUT = 512, 8, 128
"""Examples in a round of training, lanes side by side, and examples to choose the best round by."""


def train_model(
    task: Task, model: Any, rng: np.random.Generator, seconds: float, learning_rate: float
) -> tuple[int, float, float]:
    """Train on fresh examples of the learned sizes until the time is over.

    The weights at the end are those after the best round: the one with the largest share of right
    answers on examples held out, of the learned sizes, and of several the one with the least loss.

    Returns:
        how many examples were learned, the seconds of a core's time, and the loss of the best
        round.
    """
    import torch

    from statewise.train import Streams, fit
    from statewise.train.setup import import_compiler

    import_compiler()
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
    held_out = [task.draw_learned(rng) for _ in range(_HELD_OUT)]
    chunk = max(len(one.inputs) for one in held_out)
    loss = _squared_error if task.kind == "number" else _symbol_loss
    best, best_weights = (-1.0, 0.0), model.weights()
    learned, start, spent = 0, time.thread_time(), 0.0
    while spent < seconds:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1.0, 2 - 2 * spent / seconds)
        examples = [task.draw_learned(rng) for _ in range(_ROUND)]
        # the last column says which steps count
        targets = [np.c_[one.targets, one.counts].astype(np.float32) for one in examples]
        streams = Streams(
            [one.inputs for one in examples], targets=targets, lanes=_LANES, chunk=chunk
        )
        history = fit(model, streams, epochs=1, loss=loss, optimizer=optimizer, progress=False)
        learned += _ROUND
        score = (measure_share(task.is_right, model, held_out), -history.loss[-1])
        if score >= best:
            best = score
            best_weights = {name: own.detach().clone() for name, own in model.weights().items()}
        spent = time.thread_time() - start
    model.load_weights(best_weights)
    return learned, spent, -best[1]


def measure_share(
    is_right: Callable[[np.ndarray, Example], bool], model: Any, examples: Sequence[Example]
) -> float:
    """The share of examples that a model has right."""
    import torch

    lengths = [len(one.inputs) for one in examples]
    x = np.zeros((len(examples), max(lengths), examples[0].inputs.shape[1]), np.float32)
    for row, one in zip(x, examples, strict=True):
        row[: len(one.inputs)] = one.inputs
    with torch.no_grad():
        y = model(torch.from_numpy(x), lengths=lengths)[0].numpy()
    rows = zip(y, lengths, examples, strict=True)
    return float(np.mean([is_right(row[:length], one) for row, length, one in rows]))


def measure_reach(task: Task, model: Any, rng: np.random.Generator) -> int:
    """The largest tested size up to which every size is mastered; 0 for none."""
    reach = 0
    for size in task.tested:
        examples = [task.draw(rng, size) for _ in range(task.each)]
        if measure_share(task.is_right, model, examples) < MASTERED:
            break
        reach = size
    return reach


def _symbol_loss(prediction: Any, target: Any) -> Any:
    """The cross-entropy of each symbol's membership of the set, (B, T), where it counts."""
    from torch.nn import functional

    wanted, counts = target[..., :-1], target[..., -1]
    losses = functional.binary_cross_entropy_with_logits(prediction, wanted, reduction="none")
    return losses.sum(-1) * counts


def _squared_error(prediction: Any, target: Any) -> Any:
    """The squared error, (B, T), where it counts."""
    return ((prediction - target[..., :-1]) ** 2).sum(-1) * target[..., -1]
