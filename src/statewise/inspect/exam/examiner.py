"""`exam`: cells learn tasks from several seeds, and are tested on larger sizes than they learned"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from statewise import kernels
from statewise.architecture import Architecture, Linear, Vector
from statewise.cell import Cell
from statewise.errors import InputError
from statewise.extras import require
from statewise.inspect.exam.cells import build_cells
from statewise.inspect.exam.tasks import TASKS, find_tasks
from statewise.inspect.exam.training import MASTERED, measure_reach, measure_share, train_model
from statewise.inspect.threads import limit_threads
from statewise.progress import Progress
from statewise.validation import check_whole_number, is_number


@dataclass(frozen=True)
class ExamResult:
    """How well one cell learned one task from one seed.

    Arguments:
        task, cell, seed: which.
        success: the share of new examples of the learned sizes that are right throughout.
        reach: the largest tested size up to which every size is mastered, 0 for none.
        loss: of the round of training whose weights were kept, the best one.
        sequences: how many examples it learned from.
        seconds: how long it learned, in seconds of a core's time.
        key_share: the share of examples with the right key answer (`Task.key`); None for a task
            without one.
    """

    task: str
    cell: str
    seed: int
    success: float
    reach: int
    loss: float
    sequences: int
    seconds: float
    key_share: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the learned sizes are mastered."""
        return self.success >= MASTERED


def exam(
    tasks: Sequence[str] = (),
    cells: Sequence[str | Cell] = ("elman", "lstm", "gru"),
    *,
    seeds: int = 3,
    units: int = 32,
    seconds: float = 30,
    learning_rate: float = 5e-3,
    forget_bias: float = 3.0,
    jobs: int = -1,
) -> list[ExamResult]:
    """Train cells on tasks with a known answer, and test how far they carry what they learned.

    Arguments:
        tasks: their names, see `TASKS`; all tasks for no names.
        cells: ``"elman"``, ``"lstm"``, ``"gru"``; a text with options, ``"LSTM(3,
            peepholes=True)"``; or a cell, also one of your own. Each is a model of one layer.
        seeds: how many trainings of each cell on each task.
        units: of the cells that are given by name alone.
        seconds: how long each training lasts, in seconds of a core's time.
        learning_rate: of Adam, for the first half of the time; then it falls to zero.
        forget_bias: the first bias of the gates that keep, an LSTM's forget gates and a GRU's
            update gates, in cells that are given by name alone; 3 keeps 95% from step to step.
        jobs: processes at once; -1 for one on each core.

    Returns:
        one result for each task, cell and seed, in this order.

    Raises:
        InputError: an unknown task or cell, or an option out of range.
        MissingExtraError: torch or joblib is not installed.

    Example::

        exam(["anbn"], ["lstm", sw.LSTM(3, forget_bias=10.0)], seconds=5)
    """
    chosen = find_tasks(tasks)
    check_whole_number("seeds", seeds)
    check_whole_number("units", units)
    for name, value in (("seconds", seconds), ("learning_rate", learning_rate)):
        if not is_number(value) or not value > 0:
            raise InputError(f"{name} must be a number above 0, got {value!r}")
    named = build_cells(cells, units, forget_bias)
    require("torch", "train", "the exam")
    joblib = require("joblib", "forecast", "the exam")
    calls = [
        joblib.delayed(_examine)(task.name, label, cell, seed, seconds, learning_rate)
        for task in chosen
        for label, cell in named
        for seed in range(seeds)
    ]
    results: list[ExamResult] = []
    with Progress(f"training {len(calls)} models", len(calls)) as progress:
        for result in joblib.Parallel(n_jobs=jobs, return_as="generator")(calls):
            results.append(result)
            progress.update(len(results))
    return results


def _examine(
    name: str, label: str, cell: Cell, seed: int, seconds: float, learning_rate: float
) -> ExamResult:
    """One training and its test, in one thread."""
    from statewise import nn

    with limit_threads(), _one_kernel_thread():
        task = TASKS[name]
        rng = np.random.default_rng([seed, *name.encode()])
        example = task.draw(rng, task.learned[0])
        features, symbols = example.inputs.shape[1], example.targets.shape[1]
        model = nn.Model(Architecture(Vector(features), [cell], Linear(symbols)), seed=seed)
        sequences, spent, loss = train_model(task, model, rng, seconds, learning_rate)
        examples = [task.draw_learned(rng) for _ in range(256)]
        success = measure_share(task.is_right, model, examples)
        key = measure_share(task.is_key_right, model, examples) if task.key else None
        reach = measure_reach(task, model, rng)
        return ExamResult(name, label, seed, success, reach, loss, sequences, spent, key)


@contextmanager
def _one_kernel_thread() -> Iterator[None]:
    if not kernels.is_available():
        yield
        return
    threads = kernels.get_threads()
    kernels.set_threads(1)
    try:
        yield
    finally:
        kernels.set_threads(threads)
