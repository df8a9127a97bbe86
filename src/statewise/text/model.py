"""`TextModel`: learns text, scores it, and writes it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from statewise import checkpoint
from statewise.architecture import Architecture, Linear, Tokens
from statewise.cell import Cell
from statewise.cells import LSTM
from statewise.errors import DataError, FileError, InputError
from statewise.runtime import Model
from statewise.runtime import load as load_model
from statewise.runtime.model import Weights
from statewise.state import State
from statewise.text.generation import Generation, Sampling, begun
from statewise.text.vocabulary import Level, Unknown, Vocabulary
from statewise.weights import KIND, write_model

if TYPE_CHECKING:
    from statewise.text.learning import Report
    from statewise.train import History

MODEL_FILE = "model.safetensors"

_STRETCH = 4096
"""Steps that are scored at once: memory does not grow with the text."""


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
        vocabulary: what the tokens are; there once fitted or loaded, as is `model`.
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
        self._architecture(2)

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
            rare: leave characters seen less often than this many times in a million to the
                replacement character, which so learns what a strange one means.
            folder: where to keep the best model, and the run, as learning goes on.
            resume: go on with the run in the folder, if there is one.
            on_report: called with each report; `model` is then the best model so far.

        Returns:
            the history; its losses are in nats for each token.

        Raises:
            DataError: no text, or too little.
            MissingExtraError: torch is not installed.
            KeyboardInterrupt: Ctrl-C; the model is the best so far.
        """
        from statewise.text.learning import Options, learn

        options = Options(
            epochs, minutes, lanes, chunk, learning_rate, every, folder, resume, validation, rare
        )
        return learn(self, texts, options, on_report)

    def _architecture(self, size: int) -> Architecture:
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
        state = self.model.initial_state(1) if state is None else state
        for start in range(0, max(len(ids), 1), _STRETCH):
            part = ids[start : start + _STRETCH]
            _, state = self.model(np.repeat(part[None], state.batch, axis=0), state)
        return state

    def score(self, text: str, *, state: State | None = None, unknown: Unknown = "error") -> float:
        """Bits for each character of a text: how well each is predicted from all before it.

        The first token is predicted from the state, or not counted where there is none. At the
        level of bytes the bits of all bytes are shared among the characters.

        Raises:
            DataError: a text in which nothing is predicted.
        """
        ids = self.encode(text, unknown)
        counted = len(ids) - (state is None)
        if counted < 1:
            raise DataError(
                f"a score needs at least {1 + (state is None)} characters, got {text!r}"
            )
        nats = 0.0
        if state is None:
            state = self.read(text[:0])
        else:
            nats += float(_surprise(np.asarray(state["outputs.y"]), ids[:1])[0])
        for start in range(0, len(ids) - 1, _STRETCH):
            part = ids[start : min(start + _STRETCH, len(ids) - 1)]
            scores, state = self.model(part[None], state)
            nats += float(_surprise(scores[0], ids[start + 1 : start + 1 + len(part)]).sum())
        return nats / counted / math.log(2) * len(ids) / len(text)

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
    ) -> str:
        """Write a text that goes on from a prompt, without the prompt.

        Arguments:
            prompt: read first. Without a prompt and a state a line end is read.
            length: how many tokens to write, characters or bytes.
            temperature, top_k, top_p, seed: see `statewise.text.generation.Sampling`.
            state: from where to go on, one row.
            unknown: what to do with characters of the prompt that the vocabulary lacks.

        Raises:
            InputError: an option out of range.
            DataError: a prompt with characters that the vocabulary lacks.
            StateError: a state of another model.

        Example::

            model.generate("def main(", 200, temperature=0.5, seed=1)
        """
        sampling = Sampling(temperature, top_k, top_p, seed)
        stream = self.stream(prompt, length, sampling, state=state, unknown=unknown)
        return self.decode(np.array([tokens[0] for tokens in stream], dtype=np.int64))

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
    ) -> list[str]:
        """Write several texts that go on from one prompt: it is read once, and its state forked.

        Arguments are those of `generate`; `state` may have one row for each branch.
        """
        sampling = Sampling(temperature, top_k, top_p, seed)
        stream = self.stream(prompt, length, sampling, state, branches, unknown=unknown)
        rows = np.array(list(stream), dtype=np.int64).reshape(-1, branches).T
        return [self.decode(row) for row in rows]

    def stream(
        self,
        prompt: str = "",
        length: int = 500,
        sampling: Sampling | None = None,
        state: State | None = None,
        branches: int = 1,
        *,
        unknown: Unknown = "error",
    ) -> Generation:
        """What `generate` and `branch` go over: tokens (B,) one after the other, with the state
        that has consumed them.

        Example::

            text = model.stream("Once", 100)
            for tokens in text:
                ...
            later = model.stream(state=text.state)
        """
        ids = self.encode(prompt, unknown)
        if not len(ids) and state is None:
            ids = self.encode("\n", "replace")
        start = begun(self.model, ids, state, branches)
        return Generation(self.model, start, length, sampling or Sampling())

    # Files

    def save(self, folder: str | Path) -> None:
        """Write the model into a folder, which is made if it is not there."""
        self._check_fitted()
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot make the folder {folder}: {error.strerror}") from error
        extra = {"text": json.dumps(asdict(self.vocabulary))}
        write_model(folder / MODEL_FILE, self.model.architecture, self.model.weights(), extra)

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
            cells, weights: as for `sw.load`. ``"bfloat16"`` writes faster and a little otherwise.

        Raises:
            FileError: no text model there, or one that is truncated or altered.
        """
        path = Path(folder)
        path = path if path.is_file() else path / MODEL_FILE
        if not path.is_file():
            raise FileError(f"{folder} holds no text model; train one with: statewise text train")
        model = load_model(path, cells=cells, weights=weights)
        written = checkpoint.read_metadata(path, KIND).get("text")
        if written is None:
            raise FileError(f"{path} is a model, and says nothing of the text it reads")
        try:
            vocabulary = Vocabulary(**json.loads(written))
        except (TypeError, ValueError) as error:
            raise FileError(f"what {path} says of its vocabulary cannot be read: {error}") from None
        inputs = model.architecture.inputs
        if not isinstance(inputs, Tokens) or inputs.size != len(vocabulary):
            raise FileError(f"the vocabulary in {path} is not that of its weights")
        read = cls(model.architecture.layers, level=vocabulary.level, width=inputs.width)
        read._take(vocabulary, model)
        return read

    def _take(self, vocabulary: Vocabulary, model: Model) -> None:
        self.vocabulary, self.model = vocabulary, model

    def _check_fitted(self) -> None:
        if not hasattr(self, "model"):
            raise InputError(
                "this text model has learned nothing yet: call fit, or TextModel.load(folder)"
            )

    def __repr__(self) -> str:
        layers = ", ".join(repr(cell) for cell in self.layers)
        known = f"; {len(self.vocabulary)} tokens" if hasattr(self, "model") else "; not fitted"
        return f"TextModel({layers}; {self.level}{known})"


def _surprise(scores: np.ndarray, ids: np.ndarray) -> Any:
    """Minus the logarithm of the probability of each token, scores (T, V) -> (T,), in nats."""
    wide = scores.astype(np.float64)
    top = wide.max(axis=1)
    total = np.log(np.exp(wide - top[:, None]).sum(axis=1)) + top
    return total - wide[np.arange(len(ids)), ids]
