"""``statewise text train | generate | score``: models of text."""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from statewise.cells import GRU, LSTM, Elman
from statewise.errors import DataError, FileError
from statewise.progress import Progress

if TYPE_CHECKING:
    from statewise.text import Generation, Sampling, TextModel
    from statewise.text.learning import Report

CELLS = {"lstm": LSTM, "gru": GRU, "elman": Elman}

app = typer.Typer(
    no_args_is_help=True, help="Learn text, score it, write it, and go on from a saved state."
)

_FLUSH = 0.03
"""Seconds between two writes to the screen: a terminal is slower than the model."""

Folder = Annotated[str, typer.Argument(help="what text train --out wrote")]
Unknown = Annotated[
    str, typer.Option(help="what to do with characters that the vocabulary lacks: error or replace")
]


@app.command()
def train(
    corpus: Annotated[
        list[str] | None,
        typer.Argument(
            help="text files and folders; without any, the source of Python's standard library",
            show_default=False,
        ),
    ] = None,
    out: Annotated[str, typer.Option(help="folder for the model and the run")] = "text",
    level: Annotated[str, typer.Option(help="what a token is: char or byte")] = "char",
    cell: Annotated[str, typer.Option(help="lstm, gru or elman")] = "lstm",
    units: Annotated[int, typer.Option(help="units of each layer")] = 256,
    layers: Annotated[int, typer.Option(help="number of layers")] = 2,
    width: Annotated[int, typer.Option(help="width of a token's vector")] = 64,
    chunk: Annotated[int, typer.Option(help="steps of truncated backpropagation")] = 128,
    lanes: Annotated[int, typer.Option(help="rows trained side by side")] = 32,
    epochs: Annotated[int | None, typer.Option(help="most passes over the corpus")] = None,
    minutes: Annotated[float | None, typer.Option(help="minutes of training at most")] = None,
    learning_rate: Annotated[float, typer.Option(help="learning rate of Adam")] = 2e-3,
    validation: Annotated[float, typer.Option(help="share of the corpus that is held out")] = 0.05,
    every: Annotated[int, typer.Option(help="chunks between two reports")] = 200,
    rare: Annotated[
        float,
        typer.Option(help="characters that occur fewer times in a million become unknown"),
    ] = 0.0,
    sample: Annotated[int, typer.Option(help="characters that each report writes")] = 120,
    seed: Annotated[int, typer.Option(help="seed of the first weights")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in --out")] = False,
) -> None:
    """Learn a corpus by truncated backpropagation with the state carried, and show what the model
    writes.

    Without --epochs and --minutes it trains for three minutes. Ctrl-C keeps the best model so far.
    """
    from statewise.text import TextModel
    from statewise.text.corpus import read_texts

    if cell not in CELLS:
        raise DataError(f"--cell must be one of {', '.join(CELLS)}, got {cell!r}")
    if layers < 1:
        raise DataError(f"--layers must be at least 1, got {layers}")
    if Path(out).exists() and not Path(out).is_dir():
        raise FileError(f"--out must be a folder, and {out} is not a folder; choose another")
    if epochs is None and minutes is None:
        minutes = 3.0
    model = TextModel(
        [CELLS[cell](units) for _ in range(layers)],
        level=cast('Literal["byte", "char"]', level),
        width=width,
        seed=seed,
    )
    texts = read_texts(corpus or [])
    size = f"{len(texts)} text{'s' * (len(texts) != 1)}, {sum(map(len, texts)):,} characters"
    print(f"{size}; {layers} x {cell} {units}")
    print("   time  passes  chars/s   learning  held out   (bits per character)", flush=True)

    def show(report: Report) -> None:
        held_out = "       -" if report.validation is None else f"{report.validation:8.3f}"
        clock = f"{int(report.seconds) // 60:4d}:{int(report.seconds) % 60:02d}"
        print(
            f"{clock}  {report.epochs:6.2f}  {report.speed:7,.0f}   {report.bits:8.3f}  {held_out}"
            f"{'  best' if report.best else ''}"
        )
        if sample and report.best:
            written = model.generate(length=sample, temperature=0.8, seed=report.number)
            print("        | " + written.replace("\n", "\n        | "))
        sys.stdout.flush()

    try:
        model.fit(
            texts,
            validation=validation,
            epochs=epochs or 10**6,
            minutes=minutes,
            lanes=lanes,
            chunk=chunk,
            learning_rate=learning_rate,
            every=every,
            rare=rare,
            folder=out,
            resume=resume,
            on_report=show,
        )
    except KeyboardInterrupt:
        has_model = (Path(out) / "model.safetensors").is_file()
        what = "the best model so far is" if has_model else "the run is"
        print(f"\nstopped; {what} in {out}, go on with --resume", file=sys.stderr)
        raise
    print(f"\n{out}: model.safetensors; write with: statewise text generate {out}")


@app.command()
def generate(
    folder: Folder,
    prompt: Annotated[str, typer.Option(help="text to go on from")] = "",
    length: Annotated[
        int, typer.Option(help="most characters to write (bytes of a byte model)")
    ] = 500,
    temperature: Annotated[
        float,
        typer.Option(
            help="below 1 more predictable, above 1 more varied; 0 takes the most likely character"
        ),
    ] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(help="sample from the k most likely characters")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="sample from the most likely characters of this probability together"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="the same seed writes the same text")] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="end before this string; may be given several times")
    ] = None,
    branches: Annotated[int, typer.Option(help="how many texts go on from the same state")] = 1,
    state: Annotated[
        str | None,
        typer.Option(help="file to go on from, if it exists, and to write the new state to"),
    ] = None,
    unknown: Unknown = "error",
    weights: Annotated[str, typer.Option(help="float32, or bfloat16: faster")] = "float32",
    stats: Annotated[bool, typer.Option("--stats", help="show characters per second")] = False,
) -> None:
    """Write text, shown as it is drawn. Torch is not needed.

    With --state, a text with a seed that is written in several calls is the text of one call.
    """
    from statewise.state import State
    from statewise.text import Sampling, TextModel

    sampling = Sampling(temperature, top_k, top_p, seed)
    model = TextModel.load(folder, weights=cast('Literal["float32", "bfloat16"]', weights))
    before = None
    if state is not None and Path(state).exists():
        before, sampling = State.load(state), _go_on(sampling, state)
    policy = cast('Literal["error", "replace"]', unknown)
    text = model.stream(prompt, length, sampling, before, branches, unknown=policy, stop=stop or ())
    started = time.perf_counter()
    try:
        written = _write(text, model, prompt, branches, length)
    finally:
        took = time.perf_counter() - started
        if state is not None:
            text.save(state)
    if stats:
        rate = written / max(took, 1e-9)
        print(f"{rate:,.0f} characters per second, {model.model.executor}", file=sys.stderr)


def _go_on(sampling: Sampling, path: str) -> Sampling:
    """The sampling at the place of the draws in a state file, unless another seed is asked for."""
    from statewise.text import Sampling

    options = {name: getattr(sampling, name) for name in ("temperature", "top_k", "top_p")}
    saved = Sampling.load(path, **options)
    first = saved.seed[0] if isinstance(saved.seed, tuple) else saved.seed
    return saved if sampling.seed in (None, first) else sampling


def _write(text: Generation, model: TextModel, prompt: str, branches: int, length: int) -> int:
    """Show one text as it is drawn, or several at the end; how many characters were written."""
    decoders = [model.vocabulary.decoder() for _ in range(branches)]
    rows: list[list[str]] = [[] for _ in range(branches)]
    alone, count, shown = branches == 1, 0, 0.0
    if alone:
        sys.stdout.write(prompt)
    try:
        with nullcontext() if alone else Progress("writing", length) as progress:
            for done, tokens in enumerate(text, 1):
                for row, token in enumerate(tokens.tolist()):
                    if token >= 0:  # below, the row has ended
                        rows[row].append(decoders[row](token))
                        count += 1
                if progress is not None:
                    progress.update(done)
                elif time.perf_counter() - shown > _FLUSH:
                    shown = _flush(rows[0])
    finally:
        for decoder, own in zip(decoders, rows, strict=True):
            own.append(decoder.end())
        if alone:
            _flush(rows[0])
    for number, own in enumerate(rows):
        print("" if alone else f"--- branch {number + 1}\n{prompt}{''.join(own)}")
    return count


def _flush(written: list[str]) -> float:
    sys.stdout.write("".join(written))
    sys.stdout.flush()
    written.clear()
    return time.perf_counter()


@app.command()
def score(
    folder: Folder,
    texts: Annotated[list[str], typer.Argument(help="text files")],
    each: Annotated[bool, typer.Option("--each", help="show the bits of each character")] = False,
    unknown: Unknown = "error",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Print the bits per character of texts: how well the model predicts them. Torch is not needed.

    The first character of a text is not counted: nothing predicts it.
    """
    from statewise.text import TextModel
    from statewise.text.corpus import read_text

    model: TextModel = TextModel.load(folder)
    policy = cast('Literal["error", "replace"]', unknown)
    scores: list[dict[str, Any]] = []
    for path in texts:
        text = model.vocabulary.normalize(read_text(path))
        try:
            scores.append({"path": path, "bits": model.score(text, unknown=policy)})
            if each:
                characters = model.score_characters(text, unknown=policy).tolist()
                characters[0] = None
                scores[-1]["characters"] = [
                    {"character": character, "bits": bits}
                    for character, bits in zip(text, characters, strict=True)
                ]
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        if not as_json:
            _show_score(scores[-1])
    if as_json:
        print(json.dumps(scores, indent=2))


def _show_score(score: dict[str, Any]) -> None:
    print(f"{score['bits']:.4f}  {score['path']}")
    for one in score.get("characters", ()):
        bits = "       -" if one["bits"] is None else f"{one['bits']:8.3f}"
        print(f"{bits}  {one['character']!r}")
