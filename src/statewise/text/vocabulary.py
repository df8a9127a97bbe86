"""`Vocabulary`: text as whole numbers and back."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from statewise.errors import DataError

Level = Literal["byte", "char"]
Unknown = Literal["error", "replace"]

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
"""Stands for every character that a vocabulary lacks."""


@dataclass(frozen=True)
class Vocabulary:
    """What the tokens of a text are.

    At the level ``"byte"`` a token is a byte of the text's UTF-8, and every text can be read. At
    ``"char"`` it is one of `characters`, the first of which stands for all others.

    Arguments:
        level: ``"byte"`` or ``"char"``.
        characters: of a vocabulary of characters, in the order of their numbers.

    Example::

        vocabulary = Vocabulary.of(["to be or not to be"])
        ids = vocabulary.encode("to be")        # (5,) int64
        vocabulary.decode(ids)                  # "to be"
    """

    level: Level
    characters: str = ""

    def __post_init__(self) -> None:
        if self.level not in get_args(Level):
            raise DataError(f"level must be 'byte' or 'char', got {self.level!r}")
        if (self.level == "char") != bool(self.characters):
            raise DataError("a vocabulary has characters at the level 'char', and only there")
        if len(set(self.characters)) != len(self.characters):
            raise DataError("every character of a vocabulary is there once")

    @classmethod
    def of(cls, texts: Iterable[str], level: Level = "char", rare: float = 0) -> Vocabulary:
        """The vocabulary of texts.

        Arguments:
            texts: what will be read.
            level: ``"byte"`` or ``"char"``.
            rare: characters seen less often than this many times in a million are left to the
                replacement character, which so learns what a strange one means.
        """
        if level != "char":
            return cls(level)
        counts = np.zeros(0x110000, dtype=np.int64)
        for text in texts:
            some = np.bincount(_points(text))
            counts[: len(some)] += some
        least = rare * counts.sum() / 1e6
        counts[ord(REPLACEMENT)] = 0
        kept = np.flatnonzero((counts > 0) & (counts >= least))
        return cls("char", REPLACEMENT + "".join(map(chr, kept)))

    def __len__(self) -> int:
        """How many tokens there are."""
        return 256 if self.level == "byte" else len(self.characters)

    def encode(self, text: str, unknown: Unknown = "error") -> np.ndarray:
        """The tokens of a text, (T,) int64.

        Arguments:
            text: any text, an empty one included.
            unknown: ``"replace"`` reads characters that the vocabulary lacks as its first,
                ``"error"`` refuses them.

        Raises:
            DataError: no text, or characters that the vocabulary lacks.
        """
        given: Any = text
        if not isinstance(given, str):
            raise DataError(
                f"expected a text, got {type(given).__name__}; decode bytes first: "
                "data.decode('utf-8')"
            )
        if unknown not in get_args(Unknown):
            raise DataError(f"unknown must be 'error' or 'replace', got {unknown!r}")
        if self.level == "byte":
            return np.frombuffer(_utf8(text), np.uint8).astype(np.int64)
        points = _points(text)
        ids = self._numbers[points]
        if unknown == "error" and (missing := np.flatnonzero(ids < 0)).size:
            raise DataError(self._lacking(text, missing))
        tokens: np.ndarray = np.maximum(ids, 0).astype(np.int64)
        return tokens

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of tokens; bytes that are no UTF-8 become the replacement character."""
        numbers = np.asarray(ids)
        if numbers.size and (numbers.dtype.kind not in "iu" or numbers.ndim != 1):
            raise DataError(f"tokens are (T,) whole numbers, got {numbers.shape} {numbers.dtype}")
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(self):
            raise DataError(
                f"tokens lie in [0, {len(self)}), got {numbers.min()} to {numbers.max()}"
            )
        if self.level == "byte":
            return numbers.astype(np.uint8).tobytes().decode("utf-8", "replace")
        return "".join(map(self.characters.__getitem__, numbers.astype(np.int64).tolist()))

    def decoder(self) -> Decoder:
        """Decodes tokens as they come."""
        return Decoder(self)

    @cached_property
    def _numbers(self) -> np.ndarray:
        """The number of every code point, -1 where it has none."""
        numbers = np.full(0x110000, -1, dtype=np.int32)
        numbers[_points(self.characters)] = np.arange(len(self.characters))
        return numbers

    def _lacking(self, text: str, places: np.ndarray) -> str:
        strange = sorted({text[place] for place in places[:1000]})
        shown = " ".join(f"{one!r} (U+{ord(one):04X})" for one in strange[:5])
        more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
        return (
            f"the vocabulary lacks {shown}{more}, first at character {places[0]} of the text; "
            "leave them out, or read them as the replacement character with unknown='replace'"
        )


class Decoder:
    """Turns tokens into text as they come: a character appears with its last byte."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._characters = vocabulary.characters
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")

    def __call__(self, token: int) -> str:
        """What has become readable by one more token."""
        if self._characters:
            return self._characters[token]
        return self._bytes.decode(bytes((token,)))

    def end(self) -> str:
        """What is left of a character that was never finished."""
        return "" if self._characters else self._bytes.decode(b"", True)


def _points(text: str) -> np.ndarray:
    """The code points of a text, (T,) uint32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"the text has half a character, {text[error.start]!r}, at {error.start}; it was "
            "decoded wrongly: read the file as UTF-8"
        ) from None
