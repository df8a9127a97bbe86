"""`Report`: what was seen, a row a fact"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

Verdict = Literal["ok", "surprise", "wrong", "raised", "unknown"]


@dataclass(frozen=True)
class Row:
    """One fact: what was asked, what was seen, and what to do about it.

    Arguments:
        fact: its name, such as ``carry.predict``.
        question: in plain words.
        answer: one word or two, for machines and expectations.
        seen: what was seen, in words.
        verdict: ``ok``; ``surprise``, true but not what most people expect; ``wrong``, a defect;
            ``raised``, the model raised; ``unknown``, there is nothing to ask.
        people: what people expect.
        advice: what to do, empty where there is nothing.
        code: the line to write, where there is one.
    """

    fact: str
    question: str
    answer: str
    seen: str
    verdict: Verdict
    people: str
    advice: str = ""
    code: str = ""


@dataclass(frozen=True)
class Report:
    """What a model does with its state, as seen by running it.

    Arguments:
        target: what was checked.
        framework: what ran it.
        layers: the recurrent layers found.
        rows: a row a fact.
        failures: where an expectation was not met, a line each.
        sample: the first outputs of a plain call.

    Example::

        report = statewise.check.run(torch.nn.LSTM(3, 8), expect="reset")
        report["carry.call"].answer     # "reset"
        report.ok                       # what was expected was seen
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
        raise KeyError(f"no fact {fact!r} was looked at; there are {', '.join(self.facts)}")

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @property
    def ok(self) -> bool:
        """Every expectation was met."""
        return not self.failures

    @property
    def facts(self) -> dict[str, str]:
        """Every fact with its answer."""
        return {row.fact: row.answer for row in self.rows}

    def found(self, *verdicts: Verdict) -> list[str]:
        """The facts with one of these verdicts, such as ``report.found("wrong", "raised")``."""
        return [row.fact for row in self.rows if row.verdict in verdicts]

    def expecting(self, expected: str | dict[str, Any] | None) -> Report:
        """This report held against expectations, see `statewise.check.run`."""
        if expected is None:
            return self
        wanted: dict[str, Any] = (
            {"carry.*": {"carry": "carried", "reset": "reset"}[expected]}
            if isinstance(expected, str)
            else expected
        )
        failures = []
        for pattern, answers in wanted.items():
            accepted = [answers] if isinstance(answers, str) else list(answers)
            asked = [row for row in self.rows if fnmatchcase(row.fact, pattern)]
            known = [row for row in asked if row.verdict != "unknown"]
            if not asked or (not known and "*" in pattern):
                failures.append(f"{pattern}: expected {_either(accepted)}, nothing was seen of it")
            failures += [
                f"{row.fact}: expected {_either(accepted)}, saw {row.answer} ({row.seen})"
                for row in (known if "*" in pattern else asked)
                if row.answer not in accepted
            ]
        met = {"carry.*": "carried"}
        rows = self.rows
        if wanted == met:  # a carry that is wanted surprises nobody
            rows = tuple(
                replace(row, verdict="ok", advice="", code="")
                if fnmatchcase(row.fact, "carry.*") and row.answer == "carried"
                else row
                for row in rows
            )
        return replace(self, rows=rows, failures=tuple(failures))

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {**asdict(self), "ok": self.ok}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Report:
        """What `as_json` gave."""
        rows = tuple(Row(**row) for row in values["rows"])
        kept = {name: values[name] for name in ("target", "framework")}
        return cls(
            **kept,
            layers=tuple(values["layers"]),
            rows=rows,
            failures=tuple(values["failures"]),
            sample=tuple(values["sample"]),
        )

    def json(self) -> str:
        """The report as JSON."""
        return json.dumps(self.as_json(), indent=2)

    def text(self) -> str:
        """The report in plain lines, a line a fact."""
        width = max(len(row.fact) for row in self.rows)
        lines = [f"{self.target} ({self.framework}): {', '.join(self.layers)}"]
        lines += [f"{row.verdict:8}  {row.fact:{width}}  {row.seen}" for row in self.rows]
        return "\n".join([*lines, *(f"NOT MET  {failure}" for failure in self.failures)])


def _either(answers: list[str]) -> str:
    return " or ".join(answers)
