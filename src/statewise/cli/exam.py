"""``statewise exam``: what cells can learn to remember"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from statewise.inspect.exam import ExamResult, Task, exam
from statewise.inspect.exam.cells import build_cells, split_cells
from statewise.inspect.exam.tasks import SOURCES, find_tasks


@dataclass(frozen=True)
class Options:
    """The options of the command."""

    tasks: list[str]
    cells: str
    seeds: int
    units: int
    forget_bias: float
    learning_rate: float
    seconds: float
    jobs: int
    json: bool


def run(options: Options) -> None:
    """The command."""
    tasks, cells = find_tasks(options.tasks), split_cells(options.cells)
    results = exam(
        options.tasks,
        cells,
        seeds=options.seeds,
        units=options.units,
        seconds=options.seconds,
        learning_rate=options.learning_rate,
        forget_bias=options.forget_bias,
        jobs=options.jobs,
    )
    guesses = {task.name: task.guess_rate(np.random.default_rng(0)) for task in tasks}
    if options.json:
        rows = [{**asdict(one), "passed": one.passed} for one in results]
        print(json.dumps({"results": rows, "guess": guesses}, indent=2))
        return
    labels = [label for label, _ in build_cells(cells, options.units, options.forget_bias)]
    console = Console(highlight=False)
    console.print(_table(tasks, labels, results, guesses))
    console.print(
        f"\nSeeds: {options.seeds} for each cell, trained for {options.seconds:g} s each. Right: "
        "how many seeds have at least 95% of new sequences right throughout. Share: of sequences "
        "right, median seed. Reach: the largest size up to which every tested size is at 95% or "
        "more."
    )
    console.print("Sizes, learned and tested up to: " + "; ".join(map(_sizes, tasks)) + ".")
    for source in SOURCES:
        if any(source[:3] in task.published for task in tasks):
            console.print(source, style="dim", markup=False)


def _table(
    tasks: list[Task], labels: list[str], results: list[ExamResult], guesses: dict[str, float]
) -> Table:
    """A row for each task and cell, and for each task what guesses and publications reach."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("task")
    table.add_column("cell")
    for name in ("right", "share", "reach: median", "best"):
        table.add_column(name, justify="right")
    for task in tasks:
        for number, label in enumerate(dict.fromkeys(labels)):
            own = [one for one in results if (one.task, one.cell) == (task.name, label)]
            reaches = [one.reach for one in own]
            table.add_row(
                "" if number else task.name,
                label,
                f"{sum(one.passed for one in own)}/{len(own)}",
                f"{median(one.success for one in own):.0%}",
                f"{median(reaches):,g}",
                f"{max(reaches):,}",
            )
            if task.key is not None:
                share = median(one.key_share or 0 for one in own)
                table.add_row("", f"  its {task.key[0]} alone", "", f"{share:.0%}", "", "")
        table.add_row("", "guesses", "", f"{guesses[task.name]:.1%}", "", "", style="dim")
        if task.published:
            table.add_row("", f"published: {task.published}".replace("[", r"\["), style="dim")
    return table


def _sizes(task: Task) -> str:
    low, high = task.learned
    learned = f"{high}" if low == high else f"{low}-{high}"
    return f"{task.name} {learned} and {task.tested[-1]:,} {task.size}"
