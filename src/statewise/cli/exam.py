"""``statewise exam``: what cells can learn to remember."""

from __future__ import annotations

import json
from dataclasses import asdict
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from statewise.inspect.exam import TASKS, Sitting, Task, exam
from statewise.inspect.exam.tasks import SOURCES, find


def run(
    tasks: list[str], cells: str, seeds: int, units: int, seconds: float, jobs: int, as_json: bool
) -> None:
    """The command."""
    named = [cell.strip() for cell in cells.split(",") if cell.strip()]
    chosen = find(tasks)
    sittings = exam(tasks, named, seeds=seeds, units=units, seconds=seconds, jobs=jobs)
    guesses = {task.name: task.guess(np.random.default_rng(0)) for task in chosen}
    if as_json:
        rows = [{**asdict(one), "passed": one.passed} for one in sittings]
        print(json.dumps({"sittings": rows, "guess": guesses}, indent=2))
        return
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("task", "learned", "guess"):
        table.add_column(name)
    for cell in named:
        table.add_column(f"{cell}: right", justify="right")
        table.add_column("reaches", justify="right")
    for task in chosen:
        low, high = task.learned
        sizes = f"{high}" if low == high else f"{low}-{high}"
        row = [task.name, f"{sizes} {task.size}", f"{guesses[task.name]:.1%}"]
        for cell in named:
            row += _cells(_of(sittings, task, cell))
        table.add_row(*row)
    console.print(table)
    console.print(
        f"\n{seeds} seeds of {units} units, at most {seconds:g} s of training each. Right: how "
        "many seeds have at least 95% of new sequences right throughout, and the median share. "
        "Reaches: the median of the largest size up to which every tested one is mastered; "
        f"tested up to {', '.join(f'{TASKS[t.name].tested[-1]} ({t.name})' for t in chosen)}."
    )
    for task in chosen:
        if task.apart is not None:
            shares = ", ".join(
                f"{cell} {median(one.apart or 0 for one in _of(sittings, task, cell)):.0%}"
                for cell in named
            )
            console.print(f"{task.name}, the {task.apart[0]} alone: {shares}.")
    console.print("\npublished:")
    for task in chosen:
        if task.published:
            console.print(f"  {task.name}: {task.published}", markup=False)
    for source in SOURCES:
        if any(source[:3] in task.published for task in chosen):
            console.print(source, style="dim", markup=False)


def _of(sittings: list[Sitting], task: Task, cell: str) -> list[Sitting]:
    return [one for one in sittings if (one.task, one.cell) == (task.name, cell)]


def _cells(sittings: list[Sitting]) -> list[str]:
    passed = sum(one.passed for one in sittings)
    share = median(one.success for one in sittings)
    return [
        f"{passed}/{len(sittings)} {share:4.0%}",
        f"{median(one.reach for one in sittings):g}",
    ]
