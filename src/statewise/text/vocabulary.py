"""`Vocabulary`: text as whole numbers and back."""

from __future__ import annotations

import codecs
import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from statewise.errors import DataError

Level = Literal["byte", "char"]
Unknown = Literal["error", "replace"]
Normalization = Literal["NFC"]

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
"""Stands for every character that a vocabulary lacks."""


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a text, and the way from text to tokens and back.

    At the level ``"byte"`` a token is a byte of the text's UTF-8, and every text can be read. At
    ``"char"`` it is one of `characters`, the first of which is the unknown symbol: it stands for
    all other characters.

    Arguments:
        level: ``"byte"`` or ``"char"``.
        characters: of a vocabulary of characters, in the order of their numbers.
        normalization: ``"NFC"`` reads texts in this form of Unicode, with line feeds as line ends
            and without a byte order mark; None reads them as they come.
        others: further characters of the texts that the vocabulary was made from. At the level
            ``"char"`` these are read as the unknown symbol, and are no error; at ``"byte"`` they
            are all characters, if known.

    Example::

        vocabulary = Vocabulary.of(["to be or not to be"])
        ids = vocabulary.encode("to be")        # (5,) int64
        vocabulary.decode(ids)                  # "to be"
    """

    level: Level
    characters: str = ""
    normalization: Normalization | None = None
    others: str = ""

    def __post_init__(self) -> None:
        if self.level not in get_args(Level):
            raise DataError(f"level must be 'byte' or 'char', got {self.level!r}")
        if (self.level == "char") != bool(self.characters):
            raise DataError("a vocabulary has characters at the level 'char', and only there")
        if self.normalization not in (None, *get_args(Normalization)):
            raise DataError(f"normalization must be 'NFC' or None, got {self.normalization!r}")
        if len(set(self.characters + self.others)) != len(self.characters + self.others):
            raise DataError("a vocabulary must name each of its characters once")

    @classmethod
    def of(
        cls,
        texts: Iterable[str],
        level: Level = "char",
        rare: float = 0,
        normalization: Normalization | None = "NFC",
    ) -> Vocabulary:
        """The vocabulary of texts.

        Arguments:
            texts: what will be read.
            level: ``"byte"`` or ``"char"``.
            rare: characters that occur fewer times than this in a million are read as the unknown
                symbol, which so learns what an unknown character means.
            normalization: see `Vocabulary`.

        Raises:
            DataError: a text with half a character.
        """
        reader = cls("byte", normalization=normalization)
        counts = np.zeros(0x110000, dtype=np.int64)
        for text in texts:
            check_text(text)
            some = np.bincount(_points(reader.normalize(text)))
            counts[: len(some)] += some
        frequent = (counts > 0) & (counts >= rare * counts.sum() / 1e6)
        counts[ord(REPLACEMENT)] = 0
        if level != "char":
            return cls(level, "", normalization, _join(counts > 0))
        characters = REPLACEMENT + _join(frequent & (counts > 0))
        return cls("char", characters, normalization, _join(~frequent & (counts > 0)))

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """Read what `to_json` wrote.

        Raises:
            ValueError, TypeError, DataError: any other text.
        """
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """The vocabulary as JSON; options at their defaults are left out."""
        fields = asdict(self)
        optional = ("normalization", "others")
        return json.dumps({k: v for k, v in fields.items() if v or k not in optional})

    def __len__(self) -> int:
        """How many tokens there are."""
        return 256 if self.level == "byte" else len(self.characters)

    def normalize(self, text: str) -> str:
        """The text as it is read, character by character: see `normalization`."""
        check_text(text)
        if self.normalization is None:
            return text
        text = text.removeprefix("\ufeff")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        return unicodedata.normalize(self.normalization, text)

    def encode(self, text: str, unknown: Unknown = "error") -> np.ndarray:
        """The tokens of a text, (T,) int64.

        Arguments:
            text: any text, an empty one included.
            unknown: ``"replace"`` reads characters that are not in the vocabulary as the unknown
                symbol, ``"error"`` refuses them.

        Raises:
            DataError: no text, or characters that the vocabulary lacks.
        """
        text = self.normalize(text)
        if unknown not in get_args(Unknown):
            raise DataError(f"unknown must be 'error' or 'replace', got {unknown!r}")
        if self.level == "byte":
            return np.frombuffer(_utf8(text), np.uint8).astype(np.int64)
        points = _points(text)
        ids = self._numbers[points]
        if unknown == "error" and (missing := np.flatnonzero(ids < 0)).size:
            raise DataError(self._describe_missing(text, missing))
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
        """A decoder for tokens that come one by one."""
        return Decoder(self)

    @cached_property
    def unwritable(self) -> np.ndarray:
        """Tokens that no text is written with: the unknown symbol, and bytes that none of the
        learned characters has, (N,) int64.
        """
        if self.level == "char":
            return np.flatnonzero([self.characters[0] == REPLACEMENT])
        learned = np.frombuffer(self.others.encode(), np.uint8)
        return np.setdiff1d(np.arange(256), learned) if self.others else np.array([], np.int64)

    def encode_stops(self, stops: str | Iterable[str]) -> list[list[int]]:
        """The tokens of strings before which a text ends; of those only that can be written.

        Raises:
            DataError: a stop string that is empty or no text.
        """
        listed = [stops] if isinstance(stops, str) else list(stops)
        tokens = []
        for stop in map(self.normalize, listed):
            if not stop:
                raise DataError(f"stop must be strings of at least one character, got {stop!r}")
            if self.level == "byte" or set(stop) <= set(self.characters):
                tokens.append(self.encode(stop).tolist())
        return [own for own in tokens if not np.isin(own, self.unwritable).any()]

    @cached_property
    def _numbers(self) -> np.ndarray:
        """The number of every code point, -1 where it has none."""
        numbers = np.full(0x110000, -1, dtype=np.int32)
        numbers[_points(self.others)] = 0
        numbers[_points(self.characters)] = np.arange(len(self.characters))
        return numbers

    def _describe_missing(self, text: str, places: np.ndarray) -> str:
        missing = sorted({text[place] for place in places[:1000]})
        shown = " ".join(f"{one!r} (U+{ord(one):04X})" for one in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        return (
            f"the vocabulary lacks {shown}{more}, first at character {places[0]} of the text; "
            "remove what is not in the texts that were learned, or read it as the unknown symbol "
            "with unknown='replace'"
        )


class Decoder:
    """Turns tokens into text one by one: a character appears with its last byte."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._characters = vocabulary.characters
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")

    def __call__(self, token: int) -> str:
        """The text that one more token completes."""
        if self._characters:
            return self._characters[token]
        return self._bytes.decode(bytes((token,)))

    def end(self) -> str:
        """The replacement character if the last character is incomplete."""
        return "" if self._characters else self._bytes.decode(b"", True)


def check_text(text: Any) -> None:
    """Raise a `DataError` unless this is a text of whole characters."""
    if not isinstance(text, str):
        raise DataError(
            f"expected a text, got {type(text).__name__}; decode bytes first: data.decode('utf-8')"
        )
    _utf8(text)


def _points(text: str) -> np.ndarray:
    """The code points of a text, (T,) uint32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _join(points: np.ndarray) -> str:
    """The characters of the code points at which a mask is true."""
    return "".join(map(chr, np.flatnonzero(points)))


def _utf8(text: str) -> bytes:
    """The text as UTF-8; raises a `DataError` where half of a pair of surrogates stands alone."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"the text has half a character, {text[error.start]!r}, at {error.start}; it was "
            "decoded wrongly: read the file as UTF-8"
        ) from None
