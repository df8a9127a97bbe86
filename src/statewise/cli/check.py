"""``statewise check``: what a model does with its state, seen by running it"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from statewise.check import Report, demo, run
from statewise.check.backends import agreement, chosen, python
from statewise.check.page import page
from statewise.check.subject import parse_shape
from statewise.check.target import expectation, is_keras, load
from statewise.errors import InputError, MissingExtraError

RUNNING = "running"  # the backend of the process that is asked
MARKS = {
    "ok": ("as expected", "green"),
    "surprise": ("surprise", "yellow"),
    "wrong": ("WRONG", "bold red"),
    "raised": ("raised", "red"),
    "unknown": ("-", "dim"),
}


@dataclass(frozen=True)
class Options:
    """What the command was asked."""

    target: str | None
    expect: str | None = None
    inputs: str | None = None
    backend: str | None = None
    unsafe: bool = False
    demo: bool = False
    html: bool = False
    json: bool = False


def check(options: Options) -> int:
    """The command; returns its exit status, 1 where an expectation is not met."""
    if options.demo:
        print(demo.table())
        return 0
    if options.target is None:
        raise InputError("name a model file, or module:callable; or ask for the --demo")
    expect = expectation(options.expect)
    if options.inputs is not None:
        parse_shape(options.inputs)
    reports = [report.expecting(expect) for report in _reports(options.target, options)]
    if options.json:
        print(json.dumps([report.as_json() for report in reports], indent=2))
    elif options.html:
        print(page(reports), end="")
    else:
        for report in reports:
            show(report)
    return 0 if all(report.ok for report in reports) else 1


def _reports(target: str, options: Options) -> list[Report]:
    """One report; or one for each backend of Keras, and what they disagree on."""
    given = options.backend or ("all" if is_keras(target) and Path(target).is_file() else None)
    if given is None or given == RUNNING:
        model = load(target, unsafe=options.unsafe)
        return [run(model, inputs=options.inputs, target=target)]
    if importlib.util.find_spec("keras") is None:
        raise MissingExtraError("keras", "keras", f"checking {target}")
    arguments = ["-c", "from statewise.cli import main; main()", "check", target, "--json"]
    arguments += ["--backend", RUNNING, *(["--unsafe"] if options.unsafe else [])]
    arguments += ["--inputs", options.inputs] if options.inputs else []
    reports = [Report.from_json(python(arguments, backend)[0]) for backend in chosen(given)]
    return [*reports, *([agreement(reports)] if len(reports) > 1 else [])]


def show(report: Report) -> None:
    """The report as a table on the terminal."""
    console = Console(highlight=False)
    console.print(Text(report.target, "bold"), Text(report.framework, "dim"))
    console.print(Text(", ".join(report.layers)), "\n")
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("fact", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("seen", ratio=1, overflow="fold")
    for row in report:
        word, style = MARKS[row.verdict]
        seen = Text(f"{row.question}\n", "dim").append(row.seen, "default")
        if row.verdict != "ok" and (row.advice or row.code):
            seen.append(f"\n-> {row.advice}" if row.advice else "", "cyan")
            seen.append(f"\n   {row.code}" if row.code else "", "bold cyan")
        table.add_row(row.fact, Text(word, style), seen)
    console.print(table)
    counted = {verdict: len(report.found(verdict)) for verdict in MARKS}  # type: ignore[arg-type]
    console.print(
        f"\n{counted['ok']} as expected, {counted['surprise']} surprises, "
        f"{counted['wrong']} wrong, {counted['raised']} raised, {counted['unknown']} not asked"
    )
    for failure in report.failures:
        console.print(Text(f"not met: {failure}", "bold red"))
