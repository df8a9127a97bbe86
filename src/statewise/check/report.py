"""`Report`: what a model does with its state, a row a fact"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

Verdict = Literal["ok", "surprise", "wrong", "raised", "unknown"]
MOST_URGENT_FIRST: tuple[Verdict, ...] = ("wrong", "raised", "surprise", "ok", "unknown")
_WORDS = {
    "wrong": "wrong",
    "raised": "raised an error",
    "surprise": "surprising",
    "ok": "as expected",
    "unknown": "not asked",
}


@dataclass(frozen=True)
class Row:
    """One fact: what was asked, what was observed, and what to do about it.

    Arguments:
        fact: its name, such as ``carry.predict``.
        question: in plain words.
        answer: one word or two, for machines and expectations.
        seen: what was observed, in words.
        verdict: ``ok``; ``surprise``, true but not what most people expect; ``wrong``, a defect;
            ``raised``, the model raised an error; ``unknown``, the question does not apply.
        expected: the answer that most people expect; in JSON it is called ``people``.
        advice: what to do, empty where there is nothing.
        code: the line to write, where there is one.
    """

    fact: str
    question: str
    answer: str
    seen: str
    verdict: Verdict
    expected: str
    advice: str = ""
    code: str = ""


@dataclass(frozen=True)
class Report:
    """What a model does with its state, as observed by running it.

    Arguments:
        target: what was checked.
        framework: what ran it.
        layers: the recurrent layers of the model.
        rows: a row a fact.
        failures: where an expectation was not met, a line each.
        sample: the first outputs of a plain call.

    Example::

        report = statewise.check.run(torch.nn.LSTM(3, 8), expect="reset")
        report["carry.call"].answer     # "reset"
        report.ok                       # every expectation was met
        print(report.text())
    """

    target: str
    framework: str
    layers: tuple[str, ...]
    rows: tuple[Row, ...]
    failures: tuple[str, ...] = ()
    sample: tuple[float, ...] = ()

    def __getitem__(self, fact: str) -> Row:
        for row in self.rows:
            if row.fact == fact:
                return row
        raise KeyError(f"there is no fact {fact!r}; there are {', '.join(self.facts)}")

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @property
    def ok(self) -> bool:
        """Whether every expectation was met."""
        return not self.failures

    @property
    def facts(self) -> dict[str, str]:
        """Every fact with its answer."""
        return {row.fact: row.answer for row in self.rows}

    @property
    def summary(self) -> str:
        """How many facts have each verdict: ``"1 wrong, 2 surprising, 19 as expected"``."""
        counts = {verdict: len(self.found(verdict)) for verdict in MOST_URGENT_FIRST}
        return ", ".join(f"{n} {_WORDS[verdict]}" for verdict, n in counts.items() if n)

    def found(self, *verdicts: Verdict) -> list[str]:
        """The facts with one of these verdicts, such as ``report.found("wrong", "raised")``."""
        return [row.fact for row in self.rows if row.verdict in verdicts]

    def sort_by_urgency(self) -> list[Row]:
        """The rows, what is wrong first, then what surprises, then the rest."""
        return sorted(self.rows, key=lambda row: MOST_URGENT_FIRST.index(row.verdict))

    def expect(self, expected: str | dict[str, Any] | None) -> Report:
        """This report compared with expectations, see `statewise.check.run`."""
        if expected is None:
            return self
        answers: dict[str, Any] = (
            {"carry.*": {"carry": "carried", "reset": "reset"}[expected]}
            if isinstance(expected, str)
            else expected
        )
        failures = [line for fact, given in answers.items() for line in self._compare(fact, given)]
        rows = self.rows
        if answers == {"carry.*": "carried"}:  # nobody is surprised by a carry that is expected
            rows = tuple(
                replace(row, verdict="ok", advice="", code="")
                if fnmatchcase(row.fact, "carry.*") and row.answer == "carried"
                else row
                for row in rows
            )
        return replace(self, rows=rows, failures=tuple(failures))

    def _compare(self, pattern: str, answers: str | list[str]) -> list[str]:
        """What differs from the answers that are expected of these facts, a line each."""
        accepted = [answers] if isinstance(answers, str) else list(answers)
        rows = [row for row in self.rows if fnmatchcase(row.fact, pattern)]
        if "*" in pattern:  # what does not apply here is not compared
            rows = [row for row in rows if row.verdict != "unknown"]
        wanted = " or ".join(accepted)
        if not rows:
            return [f"{pattern}: expected {wanted}, but no such fact was observed"]
        return [
            f"{row.fact}: expected {wanted}, saw {row.answer} ({row.seen})"
            for row in rows
            if row.answer not in accepted
        ]

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        values = {**asdict(self), "ok": self.ok}
        rows = [{_KEYS.get(k, k): value for k, value in row.items()} for row in values["rows"]]
        return {**values, "rows": rows}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Report:
        """The report that `as_json` gave."""
        rows = tuple(
            Row(**{field.name: row[_KEYS.get(field.name, field.name)] for field in fields(Row)})
            for row in values["rows"]
        )
        return cls(
            values["target"],
            values["framework"],
            tuple(values["layers"]),
            rows,
            tuple(values["failures"]),
            tuple(values["sample"]),
        )

    def json(self) -> str:
        """The report as JSON."""
        return json.dumps(self.as_json(), indent=2)

    def text(self) -> str:
        """The report in plain lines, a line a fact, the most urgent first."""
        width = max((len(row.fact) for row in self.rows), default=0)
        lines = [f"{self.target} ({self.framework}): {', '.join(self.layers)}", self.summary]
        lines += [f"NOT MET   {failure}" for failure in self.failures]
        lines += [
            f"{row.verdict:8}  {row.fact:{width}}  {row.seen}" for row in self.sort_by_urgency()
        ]
        return "\n".join(lines)


_KEYS = {"expected": "people"}
"""Fields of a row that have another name in JSON."""
