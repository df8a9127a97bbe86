"""The registry of probes: one function each, with its question and what its answers mean"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from string import Formatter

from statewise.check.report import Row, Verdict
from statewise.check.subject import Subject, UnavailableError

Look = Callable[[Subject, str], tuple[str, str]]
PROBES: list[Probe] = []


@dataclass(frozen=True)
class Means:
    """What an answer is to people, and what to do about it; ``{reset}`` and the like stand for
    the framework's own lines.
    """

    verdict: Verdict
    advice: str = ""
    code: str = ""


FINE = Means("ok")


@dataclass(frozen=True)
class Probe:
    """One question that is answered by running a model.

    Arguments:
        name: of the fact; each part adds ``.part``.
        question: plain, ``{part}`` standing for the part.
        people: what people expect.
        answers: every answer it can give, and what it means.
        parts: what it is asked of one by one, such as every way of calling.
        look: runs the model, returns the answer and what was seen.
    """

    name: str
    question: str
    people: str
    answers: Mapping[str, Means]
    parts: Callable[[Subject], Iterable[str]] | None
    look: Look

    def rows(self, subject: Subject) -> Iterator[Row]:
        """The rows for a model. What the model raises is what was seen."""
        for part in self.parts(subject) if self.parts is not None else ("",):
            yield self._row(subject, part)

    def _row(self, subject: Subject, part: str) -> Row:
        fact = f"{self.name}.{part.replace(' ', '_')}" if part else self.name
        question = self.question.format(part=part)
        try:
            answer, seen = self.look(subject, part)
        except UnavailableError as reason:
            return Row(fact, question, "not asked", str(reason), "unknown", self.people)
        except Exception as error:  # what a model raises is an observation
            return Row(fact, question, "raises", _said(error), *self._raised(subject))
        means = self.answers[answer]
        code = _filled(means.code, subject.lines)
        advice = _filled(means.advice, subject.lines)
        return Row(fact, question, answer, seen, means.verdict, self.people, advice, code)

    def _raised(self, subject: Subject) -> tuple[Verdict, str, str, str]:
        means = self.answers.get("raises", Means("raised", "see what the message says"))
        return (
            means.verdict,
            self.people,
            _filled(means.advice, subject.lines),
            _filled(means.code, subject.lines),
        )


def probe(
    name: str,
    question: str,
    people: str,
    answers: Mapping[str, Means],
    parts: Callable[[Subject], Iterable[str]] | None = None,
) -> Callable[[Look], Look]:
    """Register a probe; the arguments are those of `Probe`."""

    def register(look: Look) -> Look:
        PROBES.append(Probe(name, question, people, answers, parts, look))
        return look

    return register


def _filled(text: str, lines: Mapping[str, str]) -> str:
    """The text with the framework's lines in it, or nothing where it has none of that name."""
    names = [name for _, name, _, _ in Formatter().parse(text) if name]
    return text.format(**lines) if all(lines.get(name) for name in names) else ""


def _said(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    message = " ".join(lines)
    return f"{type(error).__name__}: {message[:237] + '...' if len(message) > 240 else message}"
