"""`exam`: cells learn the tasks from several seeds, and are tested on more than they learned."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise.architecture import Architecture, Linear, Vector
from statewise.cell import Cell
from statewise.cells import GRU, LSTM, Elman
from statewise.errors import InputError, MissingExtraError
from statewise.inspect.exam.drawing import Drawn
from statewise.inspect.exam.tasks import TASKS, Task, find

CELLS: dict[str, type[Cell]] = {"elman": Elman, "lstm": LSTM, "gru": GRU}

PASSED = 0.95
"""The share of sequences that must be right throughout for a size to count as mastered."""

_ROUND, _LANES = 512, 8
"""Sequences learned between two looks at how well it goes, and how many side by side."""


@dataclass(frozen=True)
class Sitting:
    """What one cell made of one task from one seed.

    Arguments:
        task, cell, seed: which.
        success: the share of new sequences of the learned sizes that are right throughout.
        reach: the largest tested size up to which every one is mastered, 0 for none.
        sequences: how many it learned from.
        seconds: how long it learned, of a core's time.
        apart: the share in which the answer of `Task.apart` is right; None where the task has none.
    """

    task: str
    cell: str
    seed: int
    success: float
    reach: int
    sequences: int
    seconds: float
    apart: float | None = None

    @property
    def passed(self) -> bool:
        """Whether what was learned is mastered."""
        return self.success >= PASSED


def exam(
    tasks: Sequence[str] = (),
    cells: Sequence[str] = ("elman", "lstm", "gru"),
    *,
    seeds: int = 3,
    units: int = 32,
    seconds: float = 30,
    learning_rate: float = 5e-3,
    forget_bias: float = 3.0,
    jobs: int = -1,
) -> list[Sitting]:
    """Let cells sit the tasks.

    Arguments:
        tasks: by name, see `TASKS`; all of them for none.
        cells: ``"elman"``, ``"lstm"``, ``"gru"``; one layer each.
        seeds: how many trainings of each.
        units: of the layer.
        seconds: of a core's time at most, for each task, cell and seed; training ends early when
            all is right.
        learning_rate: of Adam, for the first half of the time; from there it falls to nothing.
        forget_bias: the first bias of the gates that keep, an LSTM's forget gates and a GRU's
            update gates; 3 keeps 95% from step to step.
        jobs: processes at once; -1 for one on each core.

    Returns:
        one sitting for each task, cell and seed, in this order.

    Raises:
        InputError: an unknown task or cell, or an option out of range.
        MissingExtraError: torch or joblib is not installed.

    Example::

        exam(["anbn", "parity"], ["lstm"], seconds=5)
    """
    chosen = find(tasks)
    for cell in cells:
        if cell not in CELLS:
            raise InputError(f"there is no cell {cell!r}; there are {', '.join(CELLS)}")
    for name, value in (("seeds", seeds), ("units", units)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
    if not seconds > 0 or not learning_rate > 0:
        raise InputError(
            f"seconds and learning_rate must be above 0, got {seconds!r} and {learning_rate!r}"
        )
    import statewise.train  # noqa: F401  (says which extra to install where torch is missing)

    try:
        from joblib import Parallel, delayed
    except ImportError:
        raise MissingExtraError("joblib", "forecast", "the exam") from None
    layers = {cell: _layer(cell, units, forget_bias) for cell in cells}
    sittings: list[Sitting] = Parallel(n_jobs=jobs)(
        delayed(_sit)(task.name, cell, layers[cell], seed, seconds, learning_rate)
        for task in chosen
        for cell in cells
        for seed in range(seeds)
    )
    return sittings


def _layer(name: str, units: int, forget_bias: float) -> Cell:
    if name == "lstm":
        return LSTM(units, forget_bias=forget_bias)
    return GRU(units, update_bias=forget_bias) if name == "gru" else Elman(units)


def _sit(
    name: str, cell: str, layer: Cell, seed: int, seconds: float, learning_rate: float
) -> Sitting:
    """One training and its test, in one thread."""
    import torch

    from statewise import kernels, nn

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    if kernels.is_available():
        native = kernels.get_threads()
        kernels.set_threads(1)
    try:
        task = TASKS[name]
        rng = np.random.default_rng([seed, *name.encode()])
        some = task.draw(rng, task.learned[0])
        arch = Architecture(
            Vector(some.inputs.shape[1]),
            [layer],
            Linear(some.targets.shape[1]),
        )
        model = nn.Model(arch, seed=seed)
        sequences, spent = _learn(task, model, rng, seconds, learning_rate)
        fresh = [_drawn(task, rng) for _ in range(256)]
        success = _share(task.right, model, fresh)
        apart = _share(task.right_apart, model, fresh) if task.apart else None
        reach = _reach(task, model, rng)
        return Sitting(name, cell, seed, success, reach, sequences, spent, apart)
    finally:
        torch.set_num_threads(before)
        if kernels.is_available():
            kernels.set_threads(native)


def _learn(
    task: Task, model: Any, rng: np.random.Generator, seconds: float, learning_rate: float
) -> tuple[int, float]:
    """Rounds of new sequences until two in a row are all right, or the time is over. The weights
    are those of the best round.
    """
    import torch

    from statewise.train import Streams, fit

    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
    sequences, best, perfect = 0, -1.0, 0
    kept = model.weights()
    held_out = [_drawn(task, rng) for _ in range(128)]
    chunk = max(len(one.inputs) for one in held_out)
    start, spent = time.thread_time(), 0.0
    while perfect < 2 and spent < seconds:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1.0, 2 - 2 * spent / seconds)
        drawn = [_drawn(task, rng) for _ in range(_ROUND)]
        # the last column says which steps count
        targets = [np.c_[one.targets, one.counts].astype(np.float32) for one in drawn]
        streams = Streams([one.inputs for one in drawn], targets=targets, lanes=_LANES, chunk=chunk)
        loss = _squared if task.kind == "number" else _by_symbol
        fit(model, streams, epochs=1, loss=loss, optimizer=optimizer, progress=False)
        sequences += _ROUND
        rate = _share(task.right, model, held_out)
        perfect = perfect + 1 if rate == 1 else 0
        if rate >= best:
            best = rate
            kept = {name: own.detach().clone() for name, own in model.weights().items()}
        spent = time.thread_time() - start
    model.load_weights(kept)
    return sequences, spent


def _by_symbol(prediction: Any, target: Any) -> Any:
    """The cross-entropy of each symbol's being in the set, (B, T), where it counts."""
    from torch.nn import functional

    wanted, counts = target[..., :-1], target[..., -1]
    losses = functional.binary_cross_entropy_with_logits(prediction, wanted, reduction="none")
    return losses.sum(-1) * counts


def _squared(prediction: Any, target: Any) -> Any:
    """The squared error, (B, T), where it counts."""
    return ((prediction - target[..., :-1]) ** 2).sum(-1) * target[..., -1]


def _drawn(task: Task, rng: np.random.Generator) -> Drawn:
    low, high = task.learned
    return task.draw(rng, int(rng.integers(low, high + 1)))


def _share(right: Callable[[np.ndarray, Drawn], bool], model: Any, drawn: Sequence[Drawn]) -> float:
    """The share of sequences that a model has right."""
    import torch

    lengths = [len(one.inputs) for one in drawn]
    x = np.zeros((len(drawn), max(lengths), drawn[0].inputs.shape[1]), np.float32)
    for row, one in zip(x, drawn, strict=True):
        row[: len(one.inputs)] = one.inputs
    with torch.no_grad():
        y = model(torch.from_numpy(x), lengths=lengths)[0].numpy()
    rows = zip(y, lengths, drawn, strict=True)
    return float(np.mean([right(row[:length], one) for row, length, one in rows]))


def _reach(task: Task, model: Any, rng: np.random.Generator) -> int:
    """The largest tested size up to which every one is mastered."""
    reach = 0
    for size in task.tested:
        drawn = [task.draw(rng, size) for _ in range(task.each)]
        if _share(task.right, model, drawn) < PASSED:
            break
        reach = size
    return reach
