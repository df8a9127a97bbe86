"""``statewise text train | generate | score``: models of text."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from statewise.cells import GRU, LSTM, Elman
from statewise.errors import DataError, FileError

if TYPE_CHECKING:
    from statewise.text import TextModel
    from statewise.text.learning import Report

CELLS = {"lstm": LSTM, "gru": GRU, "elman": Elman}

app = typer.Typer(no_args_is_help=True, help="Learn text, write it, and keep the place in it.")

_FLUSH = 0.03
"""Seconds between two writes to the screen: a terminal is slower than the model."""

Folder = Annotated[str, typer.Argument(help="what text train --out wrote")]


@app.command()
def train(
    corpus: Annotated[
        list[str] | None,
        typer.Argument(help="text files and folders; the Python standard library's own source"),
    ] = None,
    out: Annotated[str, typer.Option(help="folder for the model and the run")] = "text",
    level: Annotated[str, typer.Option(help="char or byte")] = "char",
    cell: Annotated[str, typer.Option(help="lstm, gru or elman")] = "lstm",
    units: Annotated[int, typer.Option(help="units of each layer")] = 256,
    layers: Annotated[int, typer.Option(help="how many layers")] = 2,
    width: Annotated[int, typer.Option(help="width of a token's vector")] = 64,
    chunk: Annotated[int, typer.Option(help="steps of truncated backpropagation")] = 128,
    lanes: Annotated[int, typer.Option(help="rows side by side")] = 32,
    epochs: Annotated[int | None, typer.Option(help="passes over the corpus, at most")] = None,
    minutes: Annotated[float | None, typer.Option(help="stop after this much training")] = None,
    learning_rate: Annotated[float, typer.Option(help="of Adam")] = 2e-3,
    validation: Annotated[float, typer.Option(help="share of the corpus held out")] = 0.05,
    every: Annotated[int, typer.Option(help="chunks between two reports")] = 200,
    rare: Annotated[
        float, typer.Option(help="replace characters seen less often in a million")
    ] = 0.0,
    sample: Annotated[int, typer.Option(help="characters shown with each report")] = 120,
    seed: Annotated[int, typer.Option(help="of the first weights")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in --out")] = False,
) -> None:
    """Learn a corpus by truncated backpropagation with the state carried, and show how it writes.

    Without --epochs and --minutes it learns for three minutes. Ctrl-C keeps the best model so far.
    """
    from statewise.text import TextModel
    from statewise.text.corpus import read_texts

    if cell not in CELLS:
        raise DataError(f"--cell must be one of {', '.join(CELLS)}, got {cell!r}")
    if layers < 1:
        raise DataError(f"--layers must be at least 1, got {layers}")
    if Path(out).exists() and not Path(out).is_dir():
        raise FileError(f"{out} is there already and is not a folder; choose another --out")
    if epochs is None and minutes is None:
        minutes = 3.0
    texts = read_texts(corpus or [])
    model = TextModel(
        [CELLS[cell](units) for _ in range(layers)],
        level=cast('Literal["byte", "char"]', level),
        width=width,
        seed=seed,
    )
    print(f"{len(texts)} texts, {sum(map(len, texts)):,} characters; {layers} x {cell} {units}")
    print("   time  passes  chars/s   learning  held out   (bits per character)", flush=True)

    def report(own: Report) -> None:
        held = "       -" if own.validation is None else f"{own.validation:8.3f}"
        clock = f"{int(own.seconds) // 60:4d}:{int(own.seconds) % 60:02d}"
        print(
            f"{clock}  {own.epochs:6.2f}  {own.speed:7,.0f}   {own.bits:8.3f}  {held}"
            f"{'  best' if own.best else ''}"
        )
        if sample and own.best:
            written = model.generate(length=sample, temperature=0.8, seed=own.number)
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
            on_report=report,
        )
    except KeyboardInterrupt:
        kept = "the best model is kept" if (Path(out) / "model.safetensors").is_file() else "begun"
        print(f"\nstopped; {kept} in {out}, go on with --resume", file=sys.stderr)
        raise
    print(f"\n{out}: model.safetensors; write with: statewise text generate {out}")


@app.command()
def generate(
    folder: Folder,
    prompt: Annotated[str, typer.Option(help="read first: it seeds the state")] = "",
    length: Annotated[int, typer.Option(help="characters (bytes) to write")] = 500,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest")] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="draw among so many likeliest")] = None,
    top_p: Annotated[float | None, typer.Option(help="draw among this much probability")] = None,
    seed: Annotated[int | None, typer.Option(help="of the draws")] = None,
    branches: Annotated[int, typer.Option(help="fork the state, write so many texts")] = 1,
    state: Annotated[
        str | None, typer.Option(help="file: go on from it if it is there, leave the state in it")
    ] = None,
    unknown: Annotated[str, typer.Option(help="strange characters: error or replace")] = "error",
    weights: Annotated[str, typer.Option(help="float32, or bfloat16: faster")] = "float32",
    stats: Annotated[bool, typer.Option("--stats", help="show characters a second")] = False,
) -> None:
    """Write text, character by character as it is drawn. Torch is not needed."""
    from statewise.state import State
    from statewise.text import TextModel
    from statewise.text import Sampling

    sampling = Sampling(temperature, top_k, top_p, seed)
    model = TextModel.load(folder, weights=cast('Literal["float32", "bfloat16"]', weights))
    before = State.load(state) if state is not None and Path(state).exists() else None
    text = model.stream(
        prompt,
        length,
        sampling,
        before,
        branches,
        unknown=cast('Literal["error", "replace"]', unknown),
    )
    decoders = [model.vocabulary.decoder() for _ in range(branches)]
    written: list[list[str]] = [[] for _ in range(branches)]
    alone, started = branches == 1, time.perf_counter()
    shown = started
    if alone:
        sys.stdout.write(prompt)
    try:
        for tokens in text:
            for row, token in enumerate(tokens.tolist()):
                written[row].append(decoders[row](token))
            if alone and time.perf_counter() - shown > _FLUSH:
                shown = _flush(written[0])
    finally:
        took = time.perf_counter() - started
        for decoder, own in zip(decoders, written, strict=True):
            own.append(decoder.end())
        if alone:
            _flush(written[0])
        if state is not None:
            text.state.save(state)
    for number, own in enumerate(written):
        print("" if alone else f"--- branch {number + 1}\n{prompt}{''.join(own)}")
    if stats:
        rate = length * branches / max(took, 1e-9)
        print(f"{rate:,.0f} characters a second, {model.model.executor}", file=sys.stderr)


def _flush(written: list[str]) -> float:
    sys.stdout.write("".join(written))
    sys.stdout.flush()
    written.clear()
    return time.perf_counter()


@app.command()
def score(
    folder: Folder,
    texts: Annotated[list[str], typer.Argument(help="text files")],
    unknown: Annotated[str, typer.Option(help="strange characters: error or replace")] = "error",
) -> None:
    """Print the bits per character of texts. Torch is not needed."""
    from statewise.text import TextModel
    from statewise.text.corpus import read_text

    model: TextModel = TextModel.load(folder)
    policy = cast('Literal["error", "replace"]', unknown)
    for path in texts:
        print(f"{model.score(read_text(path), unknown=policy):.4f}  {path}")
