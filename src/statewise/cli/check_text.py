"""The reports of ``statewise check`` as text, for a terminal of any width"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from statewise.check import Report, Row
from statewise.check.demo import Demo

HEADINGS = {
    "wrong": ("wrong", "bold red"),
    "raised": ("raised an error", "bold red"),
    "surprise": ("surprising", "bold yellow"),
}
NARROWEST_COLUMN = 32


def print_reports(reports: Sequence[Report]) -> None:
    """Each report: a summary, then what is wrong or surprising, then the rest."""
    printer = _Printer()
    if len(reports) > 1:
        printer.columns([(report.framework, report.summary) for report in reports], indent=0)
        printer.line()
    for report in reports:
        _print_report(report, printer)


def print_demo(demo: Demo) -> None:
    """The answers as a table in Markdown, or by question where the table is too wide."""
    printer = _Printer()
    printer.line(demo.summarize())
    printer.line()
    table = demo.markdown()
    if max(map(len, table.splitlines())) <= printer.width:
        print(table)
    else:
        for question, answers in demo.group_answers().items():
            printer.line(question, style="bold")
            printer.columns([(answer, "; ".join(models)) for answer, models in answers.items()])
    if demo.missing:
        printer.line()
    for sentence in demo.missing:
        printer.line(sentence)


def _print_report(report: Report, printer: _Printer) -> None:
    printer.line(report.target, style="bold")
    printer.line(f"{report.framework}; {', '.join(report.layers)}", style="dim")
    printer.line(report.summary)
    for failure in report.failures:
        printer.line(f"not met: {failure}", style="bold red")
    printer.line()
    for row in report.sort_by_urgency():
        if row.verdict in HEADINGS:
            _print_row(row, printer)
    for verdict, heading in (("ok", "As expected"), ("unknown", "Not asked")):
        rows = [(row.fact, row.seen) for row in report if row.verdict == verdict]
        if rows:
            printer.line(heading, style="bold green" if verdict == "ok" else "bold")
            printer.columns(rows)
            printer.line()


def _print_row(row: Row, printer: _Printer) -> None:
    word, style = HEADINGS[row.verdict]
    printer.line(f"{row.fact}: {word}", style=style)
    printer.line(row.question, indent=2)
    printer.line(f"Seen: {row.seen}", indent=2)
    printer.line(f"Expected: {row.expected}", indent=2, style="dim")
    if row.advice:
        printer.line(f"What to do: {row.advice}", indent=2, style="cyan")
    if row.code:
        printer.line(row.code, indent=4, style="bold cyan")
    printer.line()


class _Printer:
    """Prints lines that are wrapped to the width of the terminal with their indent."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self.width = self._console.width

    def line(self, text: str = "", *, indent: int = 0, style: str = "") -> None:
        """One paragraph."""
        wrapped = Text(text, style).wrap(self._console, max(self.width - indent, 1))
        for part in wrapped:
            part.rstrip()
            self._console.print(Text(" " * indent).append_text(part), soft_wrap=True)

    def columns(self, rows: Sequence[tuple[str, str]], *, indent: int = 2) -> None:
        """Names with a text each, beside each other where there is room."""
        name_width = max(len(name) for name, _ in rows) + 2
        start = indent + name_width
        for name, text in rows:
            if self.width - start < NARROWEST_COLUMN:
                self.line(name, indent=indent)
                self.line(text, indent=indent + 2)
                continue
            wrapped = Text(text).wrap(self._console, self.width - start)
            for number, part in enumerate(wrapped):
                left = name if not number else ""
                part.rstrip()
                line = Text(" " * indent).append(f"{left:{name_width}}").append_text(part)
                self._console.print(line, soft_wrap=True)
