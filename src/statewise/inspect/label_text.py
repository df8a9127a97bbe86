"""`text_labels`: quotes, brackets, lines and words at every character of a text or source file"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from keyword import kwlist
from typing import Any

import numpy as np

from statewise.errors import DataError
from statewise.inspect.subject import check_names

NEAR = 5
"""Characters before a line end that count as near it."""

_PARTS = re.compile(
    rf"""
    (?P<comment> \#[^\n]*)
    | (?:{"|".join(kwlist)}|(?i:[rubft]|br|rb|fr|rf|tr|rt))(?=['"])
    | \w+'?                                       # an apostrophe after a word opens nothing
    | (?P<triple>\"{{3}}|'{{3}}) (?:[^\\]|\\(?:.|\Z))*? (?P<shut>(?P=triple)|\Z)
    | (?P<quote>["']) (?:(?!(?P=quote))[^\\\n]|\\(?:.|\Z))* (?P<closed>(?P=quote)?)
    | (?P<open>[(\[{{])
    | (?P<close>[)\]}}])
    """,
    re.DOTALL | re.VERBOSE,
)


def text_labels(text: str, names: str | Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The ready-made labels of a text, each (T,) float64 with a value for every character.

    A label says what is known once the character has been read: after an opening quotation mark one
    is inside quotes, after the closing one no longer. ``"line end near"`` alone looks ahead.
    Strings, comments and brackets are those of Python, found without a parser, so that any text has
    them. A string in single quotes ends with its line; an apostrophe after a word opens none;
    brackets in strings and comments do not count, nor do strings within the braces of an f-string.

    Arguments:
        text: any text.
        names: which labels; all of `TEXT` where not given.

    Raises:
        DataError: anything but a text.
        InputError: an unknown label.

    Example::

        text_labels('f("a")')["inside quotes"]       # 0 0 1 1 0 0
        text_labels('f("a")')["bracket depth"]       # 0 1 1 1 1 0
    """
    given: Any = text
    if not isinstance(given, str):
        raise DataError(f"expected a text, a str, got {type(given).__name__}")
    scan = _Scan(text)
    return {
        name: np.asarray(TEXT[name](scan), np.float64) for name in check_names(names, TEXT, "label")
    }


class _Scan:
    """A text, with what several labels need of it computed once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.steps = np.arange(len(text))

    @cached_property
    def _points(self) -> tuple[np.ndarray, np.ndarray]:
        points = np.frombuffer(self.text.encode("utf-32-le", "surrogatepass"), "<u4")
        return np.unique(points, return_inverse=True)

    def test_each(self, test: Callable[[str], bool]) -> np.ndarray:
        """The result of a test at each character, (T,) bool."""
        kinds, place = self._points
        return np.asarray(np.array([test(chr(point)) for point in kinds], bool)[place])

    @cached_property
    def newline(self) -> np.ndarray:
        return self.test_each("\n".__eq__)

    @cached_property
    def word(self) -> np.ndarray:
        return self.test_each(lambda one: one.isalnum() or one == "_")

    def count_since(self, last: np.ndarray) -> np.ndarray:
        """Steps since this was last true; where it never was, since the step before the first."""
        return np.asarray(self.steps - np.maximum.accumulate(np.where(last, self.steps, -1)))

    @cached_property
    def parts(self) -> dict[str, list[tuple[int, int]]]:
        """By kind, (start, stop) of strings and comments, without the character that ends them; and
        for brackets (step, depth) at each change of the depth.
        """
        found: dict[str, list[tuple[int, int]]] = {
            kind: [] for kind in ("#", "'", '"', "triple", "depth")
        }
        depth = 0
        for part in _PARTS.finditer(self.text):
            kind, start, end = part.lastgroup, part.start(), part.end()
            if kind == "comment":
                found["#"].append((start, end))
            elif kind == "closed":
                found[part["quote"]].append((start, end - len(part["closed"])))
            elif kind == "shut":  # two marks alone would be an empty string in single quotes
                found[part["triple"][0]].append((start, start + 1))
                found["triple"].append((start + 2, end - bool(part["shut"])))
            elif kind in ("open", "close"):
                depth = max(0, depth + (1 if kind == "open" else -1))
                found["depth"].append((start, depth))
        return found

    def mark_inside(self, *kinds: str) -> np.ndarray:
        """Whether a character is in a part of these kinds, (T,) bool."""
        found = np.zeros(len(self.text), bool)
        for kind in kinds:
            for start, end in self.parts[kind]:
                found[start:end] = True
        return found

    def hold_last(self, changes: Sequence[tuple[int, int]]) -> np.ndarray:
        """The value of the last change (step, value) up to each character; 0 before the first."""
        at = [step for step, _ in changes]
        lengths = np.diff([0, *at, len(self.text)])
        return np.repeat([0, *(value for _, value in changes)], lengths)

    def indentation(self) -> np.ndarray:
        """The width of the blanks before the last line's text; tabs reach to multiples of 8."""
        leading = re.finditer(r"^[ \t]*(?=\S)", self.text, re.MULTILINE)
        return self.hold_last([(one.end(), len(one.group().expandtabs(8))) for one in leading])

    def is_at_indentation(self) -> np.ndarray:
        """Whether the line has only blanks so far."""
        blank = self.test_each(str.isspace)
        return self.count_since(~blank) >= self.count_since(self.newline)

    def is_line_end_near(self) -> np.ndarray:
        ends = np.append(np.flatnonzero(self.newline), len(self.text) + NEAR)
        return np.asarray(ends[np.searchsorted(ends, self.steps, "right")] - self.steps <= NEAR)


def _is_word_start(scan: _Scan) -> np.ndarray:
    return np.asarray(scan.word & ~np.append(False, scan.word)[:-1])


TEXT: dict[str, Callable[[_Scan], np.ndarray]] = {
    "inside quotes": lambda scan: scan.mark_inside("'", '"', "triple"),
    "inside single quotes": lambda scan: scan.mark_inside("'"),
    "inside double quotes": lambda scan: scan.mark_inside('"'),
    "inside triple quotes": lambda scan: scan.mark_inside("triple"),
    "inside comment": lambda scan: scan.mark_inside("#"),
    "inside brackets": lambda scan: scan.hold_last(scan.parts["depth"]) > 0,
    "bracket depth": lambda scan: scan.hold_last(scan.parts["depth"]),
    "line position": lambda scan: scan.count_since(scan.newline),
    "line end": lambda scan: scan.newline,
    "line end near": _Scan.is_line_end_near,
    "indentation": _Scan.indentation,
    "at indentation": _Scan.is_at_indentation,
    "whitespace": lambda scan: scan.test_each(str.isspace),
    "letter": lambda scan: scan.test_each(str.isalpha),
    "upper case": lambda scan: scan.test_each(str.isupper),
    "digit": lambda scan: scan.test_each(str.isdigit),
    "punctuation": lambda scan: ~(scan.word | scan.test_each(str.isspace)),
    "word start": _is_word_start,
    "word position": lambda scan: scan.count_since(~scan.word),
}
"""The labels of `text_labels` by name. ``"line position"`` counts the characters of the line so
far, ``"word position"`` those of the word; ``"indentation"`` stays until a line shows another.
"""
