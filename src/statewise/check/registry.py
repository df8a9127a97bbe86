"""The registry of probes: one function each, with its question and what its answers mean"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from string import Formatter

from statewise.check.report import Row, Verdict
from statewise.check.subject import Subject, UnavailableError

Examine = Callable[[Subject, str], tuple[str, str]]
PROBES: list[Probe] = []


@dataclass(frozen=True)
class Meaning:
    """What an answer means.

    Arguments:
        verdict: whether it is as expected, a surprise or wrong.
        advice: what to do about it.
        code: the line to write; ``{reset}`` and the like stand for the framework's own code.
    """

    verdict: Verdict
    advice: str = ""
    code: str = ""


AS_EXPECTED = Meaning("ok")


@dataclass(frozen=True)
class Probe:
    """One question that is answered by running a model.

    Arguments:
        name: of the fact; each part adds ``.part``.
        question: in plain words; ``{part}`` stands for the part.
        expected: the answer that most people expect.
        answers: every answer that it can give, and what it means.
        parts: lists what it is asked about one by one, such as the modes of calling.
        examine: runs the model and returns the answer and what was observed.
    """

    name: str
    question: str
    expected: str
    answers: Mapping[str, Meaning]
    parts: Callable[[Subject], Iterable[str]] | None
    examine: Examine

    def make_rows(self, subject: Subject) -> Iterator[Row]:
        """The rows for a model. An exception of the model is an observation like any other."""
        for part in self.parts(subject) if self.parts is not None else ("",):
            yield self._make_row(subject, part)

    def _make_row(self, subject: Subject, part: str) -> Row:
        fact = f"{self.name}.{part.replace(' ', '_')}" if part else self.name
        question = self.question.format(part=part)
        try:
            answer, seen = self.examine(subject, part)
        except UnavailableError as reason:
            return Row(fact, question, "not asked", str(reason), "unknown", self.expected)
        except Exception as error:
            answer, seen = "raises", _describe(error)
        meaning = self.answers.get(answer, Meaning("raised", "see what the message says"))
        advice, code = (_fill_in(text, subject.snippets) for text in (meaning.advice, meaning.code))
        return Row(fact, question, answer, seen, meaning.verdict, self.expected, advice, code)


def probe(
    name: str,
    question: str,
    expected: str,
    answers: Mapping[str, Meaning],
    parts: Callable[[Subject], Iterable[str]] | None = None,
) -> Callable[[Examine], Examine]:
    """Register a probe; the arguments are those of `Probe`."""

    def register(examine: Examine) -> Examine:
        PROBES.append(Probe(name, question, expected, answers, parts, examine))
        return examine

    return register


def _fill_in(text: str, snippets: Mapping[str, str]) -> str:
    """The text with the framework's code in it, or nothing where it has none of that name."""
    names = [name for _, name, _, _ in Formatter().parse(text) if name]
    return text.format(**snippets) if all(snippets.get(name) for name in names) else ""


def _describe(error: Exception) -> str:
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message[:237] + '...' if len(message) > 240 else message}"
