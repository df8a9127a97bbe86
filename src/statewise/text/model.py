"""`TextModel`: learns text, scores it, and writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from statewise.architecture import Architecture, Linear, Tokens
from statewise.cell import Cell
from statewise.cells import LSTM
from statewise.errors import DataError, InputError
from statewise.model import joined_calls
from statewise.runtime import Model
from statewise.runtime.model import Weights
from statewise.state import State
from statewise.text.folder import read_text_model, write_text_model
from statewise.text.generation import ENDED, Generation, begin_rows
from statewise.text.sampling import Sampling
from statewise.text.scoring import read_tokens, score_tokens
from statewise.text.vocabulary import Level, Unknown, Vocabulary

if TYPE_CHECKING:
    from statewise.text.learning import Report
    from statewise.train import History


class TextModel:
    """A model of text, one character or byte at a time.

    What it has read is in a `State`, its last outputs included, so a text goes on from the state
    alone. Learning needs torch; a loaded model runs without.

    Arguments:
        layers: the cells; two LSTM layers of 256 units where None.
        level: ``"char"`` or ``"byte"``.
        width: of the vector that stands for a token.
        seed: of the first weights.

    Attributes:
        vocabulary: what the tokens are; present after `fit` or `load`, as is `model`.
        model: the model in NumPy; takes tokens (B, T) and gives scores of the next (B, T, V).

    Example::

        model = TextModel([sw.LSTM(256)])
        model.fit(Path("book.txt").read_text(), minutes=3)
        model.save("book")
        print(TextModel.load("book").generate("It was", 500, temperature=0.7))
    """

    vocabulary: Vocabulary
    model: Model

    def __init__(
        self,
        layers: Iterable[Cell] | None = None,
        *,
        level: Level = "char",
        width: int = 64,
        seed: int = 0,
    ) -> None:
        self.layers = (LSTM(256), LSTM(256)) if layers is None else tuple(layers)
        self.level, self.width, self.seed = level, width, seed
        if level != "char":
            Vocabulary(level)
        self.build_architecture(2)

    # Learning

    def fit(
        self,
        texts: str | Sequence[str],
        *,
        validation: str | Sequence[str] | float = 0.05,
        epochs: int = 10,
        minutes: float | None = None,
        lanes: int = 32,
        chunk: int = 128,
        learning_rate: float = 2e-3,
        every: int = 200,
        rare: float = 0,
        folder: str | Path | None = None,
        resume: bool = False,
        on_report: Callable[[Report], object] | None = None,
    ) -> History:
        """Learn texts, by truncated backpropagation through time with the state carried along
        each text. Ends with the weights that did best on the held-out text.

        Arguments:
            texts: one text or several; the model forgets where one ends.
            validation: text to measure the learning on, or the share of the texts that is held
                out for it: whole texts where there are many, else the end of each.
            epochs: passes over the texts, at most.
            minutes: stop after this much training time.
            lanes: rows side by side; fewer where the texts would not fill a chunk of each. A text
                longer than its share of them is cut, and the state is not carried over the cuts.
            chunk: steps of truncated backpropagation.
            learning_rate: of Adam.
            every: measure, save and report after this many chunks, an entry of the history each.
            rare: read characters that occur fewer times than this in a million as the unknown
                symbol, which so learns what an unknown character means.
            folder: where to write the best model so far, and the run.
            resume: go on with the run in the folder, if there is one, and with its vocabulary.
            on_report: called with each report; `model` is then the best model so far.

        Returns:
            the history; its losses are in nats for each token.

        Raises:
            DataError: no text, or too little.
            MissingExtraError: torch is not installed.
            KeyboardInterrupt: Ctrl-C; the model is the best so far.
        """
        from statewise.text.learning import Options, learn

        def keep(vocabulary: Vocabulary, model: Model) -> None:
            self.vocabulary, self.model = vocabulary, model

        options = Options(
            epochs, minutes, lanes, chunk, learning_rate, every, folder, resume, validation, rare
        )
        return learn(
            self.build_architecture, texts, self.level, self.seed, options, keep, on_report
        )

    def build_architecture(self, size: int) -> Architecture:
        """The architecture of the model for a vocabulary of this size."""
        return Architecture(Tokens(size, self.width), self.layers, Linear(size, remember=True))

    # Reading

    def encode(self, text: str, unknown: Unknown = "error") -> np.ndarray:
        """The tokens of a text, (T,) int64, see `Vocabulary.encode`."""
        self._check_fitted()
        return self.vocabulary.encode(text, unknown)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of tokens."""
        self._check_fitted()
        return self.vocabulary.decode(ids)

    def read(self, text: str, state: State | None = None, *, unknown: Unknown = "error") -> State:
        """The state after reading a text, from the initial state or a given one."""
        ids = self.encode(text, unknown)
        return read_tokens(self.model, ids, state)

    def score(self, text: str, *, state: State | None = None, unknown: Unknown = "error") -> float:
        """Bits for each character of a text: how well each is predicted from all before it.

        The first token is predicted from the state, or not counted where there is none. At the
        level of bytes the bits of all bytes are shared among the characters.

        Raises:
            DataError: a text in which nothing is predicted.
        """
        bits = self._score_tokens(text, state, unknown)
        predicted = bits[1:] if state is None else bits
        return float(predicted.mean()) * len(bits) / len(self.vocabulary.normalize(text))

    def score_characters(
        self, text: str, *, state: State | None = None, unknown: Unknown = "error"
    ) -> np.ndarray:
        """Bits of each character of a text: how surprising each is after all before it.

        Arguments are those of `score`.

        Returns:
            bits, (characters,) float64, of the text as it is read, which is
            ``model.vocabulary.normalize(text)``. The first is NaN where no state is given: nothing
            predicts it. At the level of bytes a character has the sum of the bits of its bytes.

        Example::

            for character, bits in zip(text, model.score_characters(text)):
                ...
        """
        bits = self._score_tokens(text, state, unknown)
        if self.level == "char":
            return bits
        first = np.flatnonzero(self.encode(text) & 0xC0 != 0x80)  # bytes that begin a character
        return np.add.reduceat(bits, first)

    def _score_tokens(self, text: str, state: State | None, unknown: Unknown) -> np.ndarray:
        """Bits of each token, (T,) float64; NaN for the first where there is no state."""
        ids = self.encode(text, unknown)
        least = 1 + (state is None)
        if len(ids) < least:
            raise DataError(
                f"a score needs a text of at least {least} character{'s' * (least > 1)}, got "
                f"{text!r}"
            )
        return score_tokens(self.model, ids, state)

    # Writing

    def generate(
        self,
        prompt: str = "",
        length: int = 500,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        state: State | None = None,
        unknown: Unknown = "error",
        stop: str | Sequence[str] = (),
    ) -> str:
        """Write a text that goes on from a prompt, without the prompt.

        Arguments:
            prompt: read first. Without a prompt and a state a line end is read.
            length: how many tokens to write at most, characters or bytes.
            temperature, top_k, top_p, seed: see `statewise.text.Sampling`.
            state: from where to go on, one row.
            unknown: what to do with characters of the prompt that the vocabulary lacks.
            stop: the text ends before the first of these strings.

        Raises:
            InputError: an option out of range.
            DataError: a prompt with characters that the vocabulary lacks.
            StateError: a state of another model.

        Example::

            model.generate("def main(", 200, temperature=0.5, seed=1, stop="def ")
        """
        sampling = Sampling(temperature, top_k, top_p, seed)
        return self._write(prompt, length, sampling, state, 1, unknown, stop)[0]

    def branch(
        self,
        prompt: str = "",
        length: int = 500,
        branches: int = 5,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        state: State | None = None,
        unknown: Unknown = "error",
        stop: str | Sequence[str] = (),
    ) -> list[str]:
        """Write several texts that go on from one prompt: it is read once, and its state forked.

        Arguments are those of `generate`; `state` may have one row for each branch.
        """
        sampling = Sampling(temperature, top_k, top_p, seed)
        return self._write(prompt, length, sampling, state, branches, unknown, stop)

    def _write(
        self,
        prompt: str,
        length: int,
        sampling: Sampling,
        state: State | None,
        branches: int,
        unknown: Unknown,
        stop: str | Sequence[str],
    ) -> list[str]:
        """The texts of a whole generation, from its first call of the model to its last."""
        stream = self.stream(prompt, length, sampling, state, branches, unknown=unknown, stop=stop)
        rows = np.array(list(stream), dtype=np.int64).reshape(-1, branches).T
        return [self.decode(row[row != ENDED]) for row in rows]

    def stream(
        self,
        prompt: str = "",
        length: int = 500,
        sampling: Sampling | None = None,
        state: State | None = None,
        branches: int = 1,
        *,
        unknown: Unknown = "error",
        stop: str | Sequence[str] = (),
    ) -> Generation:
        """Tokens (B,) one after the other, with the state that has consumed them: what `generate`
        and `branch` iterate over. In a row that has ended before others a token is -1.

        Example::

            text = model.stream("Once", 100)
            for tokens in text:
                ...
            later = model.stream("", 100, text.sampling, text.state)
        """
        ids = self.encode(prompt, unknown)
        if not len(ids) and state is None:
            ids = self.encode("\n", "replace")
        stops = self.vocabulary.encode_stops(stop)
        run = object()
        with joined_calls(run):
            start = begin_rows(self.model, ids, state, branches)
        return Generation(
            self.model,
            start,
            length,
            sampling or Sampling(),
            stop=stops,
            unwritable=self.vocabulary.unwritable,
            run=run,
        )

    # Files

    def save(self, folder: str | Path) -> None:
        """Write the model into a folder, which is made if it does not exist."""
        self._check_fitted()
        write_text_model(folder, self.vocabulary, self.model)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        cells: Iterable[type[Cell]] = (),
        weights: Weights = "float32",
    ) -> TextModel:
        """Read what `save` or `fit` wrote; torch is not needed.

        Arguments:
            folder: the folder, or the model's file in it.
            cells, weights: as for `sw.load`. ``"bfloat16"`` writes faster, and differs a little.

        Raises:
            FileError: no text model there, or one that is truncated or altered.
        """
        vocabulary, model = read_text_model(folder, cells, weights)
        inputs = model.architecture.inputs
        assert isinstance(inputs, Tokens)  # read_text_model has checked it
        loaded = cls(model.architecture.layers, level=vocabulary.level, width=inputs.width)
        loaded.vocabulary, loaded.model = vocabulary, model
        return loaded

    def _check_fitted(self) -> None:
        if not hasattr(self, "model"):
            raise InputError(
                "this text model has learned nothing yet: call fit, or TextModel.load(folder)"
            )

    def __repr__(self) -> str:
        layers = ", ".join(repr(cell) for cell in self.layers)
        known = f"; {len(self.vocabulary)} tokens" if hasattr(self, "model") else "; not fitted"
        return f"TextModel({layers}; {self.level}{known})"
