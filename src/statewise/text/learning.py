"""Learning text in torch: what is held out, what is carried, and the best model so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from statewise import nn
from statewise.architecture import Architecture
from statewise.errors import DataError, TrainingError
from statewise.progress import Progress
from statewise.runtime import Model
from statewise.text.folder import MODEL_FILE, make_folder, read_vocabulary, write_text_model
from statewise.text.vocabulary import Level, Vocabulary, check_text
from statewise.train import History, Streams, fit
from statewise.train.streams import pack_quietly
from statewise.validation import check_whole_number

RUN_FILE = "training.safetensors"

_HELD_OUT = 100_000
"""Tokens that are measured at most: more would take time and hardly change the figure."""


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
            check_whole_number(name, getattr(self, name), error=TrainingError)
        if self.resume and self.folder is None:
            raise TrainingError("resume needs the folder of the run: folder='book'")
        share = self.validation
        if isinstance(share, (int, float)) and not 0 <= share < 1:
            raise TrainingError(
                f"validation must be text, or a share from 0 to below 1, got {share!r}"
            )


@dataclass(frozen=True)
class Report:
    """How far the learning is.

    Arguments:
        number: of this report, from 1.
        epochs: passes over the texts so far, with fractions.
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
    build: Callable[[int], Architecture],
    texts: str | Sequence[str],
    level: Level,
    seed: int,
    options: Options,
    keep: Callable[[Vocabulary, Model], None],
    on_report: Callable[[Report], object] | None,
) -> History:
    """Train a model of texts.

    Arguments:
        build: gives the architecture for a number of tokens.
        texts, level, seed, options, on_report: see `statewise.text.TextModel`.
        keep: called with the vocabulary and the best model so far, before each report of one and
            at the end.
    """
    options.check()
    corpus, given = _list_texts(texts), []
    if not isinstance(options.validation, (int, float)):
        given = _list_texts(options.validation)
    vocabulary = _find_vocabulary([*corpus, *given], level, options)
    corpus, given = (list(map(vocabulary.normalize, own)) for own in (corpus, given))
    learned, held_out = (corpus, given) if given else split_texts(corpus, options.validation)
    streams = _make_streams(vocabulary, learned, options)
    validation = _make_validation(vocabulary, held_out, options)
    torchs = nn.Model(build(len(vocabulary)), seed=seed)
    folder = None if options.folder is None else make_folder(options.folder)

    def keep_weights() -> None:
        arrays = {name: own.detach().numpy().copy() for name, own in torchs.weights().items()}
        model = Model(torchs.architecture, arrays)
        keep(vocabulary, model)
        if folder is not None:
            write_text_model(folder, vocabulary, model)

    bits = _tokens_per_character(vocabulary, learned) / math.log(2)
    held_out_bits = _tokens_per_character(vocabulary, held_out or learned) / math.log(2)
    with ExitStack() as waiting:

        def report(history: History) -> None:
            waiting.close()
            best = history.best_epoch == history.epoch[-1]
            if best:
                keep_weights()
            if on_report is not None:
                measured = history.validation
                on_report(
                    Report(
                        len(history.epoch),
                        sum(history.steps) / streams.steps,
                        sum(history.seconds),
                        history.steps[-1] / history.seconds[-1],
                        bits * history.loss[-1],
                        None if measured is None else held_out_bits * measured[-1],
                        best,
                    )
                )
            waiting.enter_context(Progress("learning, until the next report"))

        waiting.enter_context(Progress("learning, until the first report"))
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
            on_epoch=report,
        )
    keep_weights()
    return history


def split_texts(texts: list[str], share: Any) -> tuple[list[str], list[str]]:
    """What is learned, and the share that is held out: every so many texts, or the end of each."""
    if not share:
        return texts, []
    apart = round(1 / share)
    if len(texts) >= 2 * apart > 2:
        held_out = texts[apart - 1 :: apart]
        return [text for index, text in enumerate(texts) if index % apart != apart - 1], held_out
    ends = [len(text) - math.floor(share * len(text)) for text in texts]
    pairs = list(zip(texts, ends, strict=True))
    return [text[:end] for text, end in pairs], [text[end:] for text, end in pairs]


def _list_texts(texts: Any) -> list[str]:
    listed = [texts] if isinstance(texts, str) else list(texts)
    for text in listed:
        check_text(text)
    if not any(listed):
        raise DataError("the text is empty; give some to learn from")
    return [text for text in listed if text]


def _find_vocabulary(texts: list[str], level: Level, options: Options) -> Vocabulary:
    """The vocabulary of the run in the folder if that is resumed, else one of the texts."""
    if options.resume and options.folder is not None:
        path = Path(options.folder) / MODEL_FILE
        if path.is_file() and (Path(options.folder) / RUN_FILE).is_file():
            vocabulary = read_vocabulary(path)
            if vocabulary.level == level:
                return vocabulary
    return Vocabulary.of(texts, level, options.rare)


def _make_streams(vocabulary: Vocabulary, texts: list[str], options: Options) -> Streams:
    tokens = [_encode(vocabulary, text) for text in texts]
    steps = sum(map(len, tokens))
    if steps < 2:
        raise DataError(
            f"a model cannot learn from {steps} character{'s' * (steps != 1)}; give a text of at "
            "least 2, better of some thousands"
        )
    lanes = min(options.lanes, max(steps // options.chunk, 1))
    layout: dict[str, Any] = {"lanes": lanes, "chunk": options.chunk, "shuffle": True}
    every = min(options.every, len(pack_quietly(tokens, **layout)))
    return pack_quietly(tokens, **layout, per_epoch=every)


def _make_validation(vocabulary: Vocabulary, texts: list[str], options: Options) -> Streams | None:
    """The held-out texts up to a limit; None where they are too short to predict anything."""
    tokens, left = [], _HELD_OUT
    for text in texts:
        tokens.append(_encode(vocabulary, text)[:left])
        left -= len(tokens[-1])
        if not left:
            break
    if not any(len(own) > 1 for own in tokens):
        return None
    steps = _HELD_OUT - left
    lanes = min(options.lanes, max(steps // options.chunk, 1))
    return pack_quietly(tokens, lanes=lanes, chunk=options.chunk)


def _encode(vocabulary: Vocabulary, text: str) -> np.ndarray:
    """Tokens in as little memory as holds them."""
    size = len(vocabulary)
    return vocabulary.encode(text, "replace").astype(np.uint8 if size <= 256 else np.int32)


def _tokens_per_character(vocabulary: Vocabulary, texts: list[str]) -> float:
    """How many tokens stand for a character, on average."""
    characters = sum(map(len, texts))
    if vocabulary.level == "char" or not characters:
        return 1.0
    return sum(len(vocabulary.encode(text)) for text in texts) / characters
