"""Learning text in torch: what is held out, what is carried, and what is kept of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from statewise import nn
from statewise.errors import DataError, FileError, TrainingError
from statewise.runtime import Model
from statewise.text.vocabulary import Vocabulary
from statewise.train import History, Streams, fit
from statewise.train.streams import pack_quietly
from statewise.validation import check_whole_number

if TYPE_CHECKING:
    from statewise.text.model import TextModel

RUN_FILE = "training.safetensors"

_HELD_OUT = 100_000
"""Tokens that are measured at most: more would take time and tell nothing new."""


@dataclass(frozen=True)
class Options:
    """The options of `TextModel.fit`."""

    epochs: int
    minutes: float | None
    lanes: int
    chunk: int
    learning_rate: float
    every: int
    folder: str | Path | None
    resume: bool
    validation: str | Sequence[str] | float
    rare: float

    def check(self) -> None:
        """Raise unless they can be used; what goes to `fit` is checked there."""
        for name in ("epochs", "lanes", "chunk", "every"):
            check_whole_number(name, getattr(self, name), 1, TrainingError)
        if self.resume and self.folder is None:
            raise TrainingError("resume needs the folder of the run: folder='book'")
        share = self.validation
        if isinstance(share, (int, float)) and not 0 <= share < 1:
            raise TrainingError(f"validation is text, or a share from 0 to below 1, got {share!r}")


@dataclass(frozen=True)
class Report:
    """How far the learning is.

    Arguments:
        number: of this report, from 1.
        epochs: passes over the texts so far, in parts too.
        seconds: of training so far.
        speed: tokens learned from in a second, since the last report.
        bits: for each character, since the last report.
        validation: the same on held-out text, None where nothing is held out.
        best: whether this is the best model so far.
    """

    number: int
    epochs: float
    seconds: float
    speed: float
    bits: float
    validation: float | None
    best: bool


def learn(
    model: TextModel,
    texts: str | Sequence[str],
    options: Options,
    on_report: Callable[[Report], object] | None,
) -> History:
    """`TextModel.fit`."""
    options.check()
    learned, held_out = _parts(_listed(texts), options.validation)
    vocabulary = Vocabulary.of(learned, model.level, options.rare)
    streams = _streams(vocabulary, learned, options)
    validation = _validation(vocabulary, held_out, options)
    torchs = nn.Model(model._architecture(len(vocabulary)), seed=model.seed)
    folder = _made(options.folder)

    def keep() -> None:
        arrays = {name: own.detach().numpy().copy() for name, own in torchs.weights().items()}
        model._take(vocabulary, Model(torchs.architecture, arrays))
        if folder is not None:
            model.save(folder)

    bits = _per_character(vocabulary, learned) / math.log(2)
    held_bits = _per_character(vocabulary, held_out or learned) / math.log(2)

    def reported(history: History) -> None:
        best = history.best_epoch == history.epoch[-1]
        if best:
            keep()
        if on_report is not None:
            held = None if history.validation is None else held_bits * history.validation[-1]
            on_report(
                Report(
                    len(history.epoch),
                    sum(history.steps) / streams.steps,
                    sum(history.seconds),
                    history.steps[-1] / history.seconds[-1],
                    bits * history.loss[-1],
                    held,
                    best,
                )
            )

    rounds = -(-options.epochs * streams.pass_chunks // len(streams))
    history = fit(
        torchs,
        streams,
        epochs=rounds,
        minutes=options.minutes,
        loss="cross_entropy",
        learning_rate=options.learning_rate,
        validation=validation,
        patience=rounds + 1,  # never met: it asks for the best weights at the end
        checkpoint=None if folder is None else folder / RUN_FILE,
        resume=options.resume,
        progress=False,
        on_epoch=reported,
    )
    keep()
    return history


def _listed(texts: Any) -> list[str]:
    listed = [texts] if isinstance(texts, str) else list(texts)
    for text in listed:
        if not isinstance(text, str):
            raise DataError(f"fit takes a text or several, got {type(text).__name__} among them")
    if not any(listed):
        raise DataError("the text is empty; give some to learn from")
    return [text for text in listed if text]


def _parts(
    texts: list[str], validation: str | Sequence[str] | float
) -> tuple[list[str], list[str]]:
    """What is learned and what is held out: given, every so many texts, or the end of each."""
    if not isinstance(validation, (int, float)):
        return texts, _listed(validation)
    if not validation:
        return texts, []
    apart = round(1 / validation)
    if len(texts) >= 2 * apart > 2:
        held_out = texts[apart - 1 :: apart]
        return [text for index, text in enumerate(texts) if index % apart != apart - 1], held_out
    ends = [len(text) - math.floor(validation * len(text)) for text in texts]
    pairs = list(zip(texts, ends, strict=True))
    return [text[:end] for text, end in pairs], [text[end:] for text, end in pairs]


def _streams(vocabulary: Vocabulary, texts: list[str], options: Options) -> Streams:
    tokens = [_tokens(vocabulary, text) for text in texts]
    steps = sum(map(len, tokens))
    if steps < 2:
        raise DataError(f"there is nothing to learn from {steps} character; give a longer text")
    lanes = min(options.lanes, max(steps // options.chunk, 1))
    layout: dict[str, Any] = {"lanes": lanes, "chunk": options.chunk, "shuffle": True}
    every = min(options.every, len(pack_quietly(tokens, **layout)))
    return pack_quietly(tokens, **layout, per_epoch=every)


def _validation(vocabulary: Vocabulary, texts: list[str], options: Options) -> Streams | None:
    """The held-out texts up to a limit; None where they are too short to predict anything."""
    tokens, left = [], _HELD_OUT
    for text in texts:
        tokens.append(_tokens(vocabulary, text)[:left])
        left -= len(tokens[-1])
        if not left:
            break
    if not any(len(own) > 1 for own in tokens):
        return None
    steps = _HELD_OUT - left
    lanes = min(options.lanes, max(steps // options.chunk, 1))
    return pack_quietly(tokens, lanes=lanes, chunk=options.chunk)


def _tokens(vocabulary: Vocabulary, text: str) -> np.ndarray:
    """Tokens in as little memory as holds them."""
    size = len(vocabulary)
    return vocabulary.encode(text, "replace").astype(np.uint8 if size <= 256 else np.int32)


def _per_character(vocabulary: Vocabulary, texts: list[str]) -> float:
    """How many tokens stand for a character, on average."""
    characters = sum(map(len, texts))
    if vocabulary.level == "char" or not characters:
        return 1.0
    return sum(len(vocabulary.encode(text)) for text in texts) / characters


def _made(folder: str | Path | None) -> Path | None:
    if folder is None:
        return None
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make the folder {folder}: {error.strerror}") from error
    return folder
