"""The commands and their options."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import statewise
from statewise.cli.serve import serve
from statewise.cli.text import app as text

app = typer.Typer(
    name="statewise",
    help="Recurrent sequence models whose state you own.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(text, name="text")

Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
Time = Annotated[str | None, typer.Option(help="name of the column of times")]
Value = Annotated[str | None, typer.Option(help="name of the column of values")]
Id = Annotated[str | None, typer.Option("--id", help="name of the column that identifies series")]
Missing = Annotated[
    str, typer.Option(help="what to do with missing values: error, skip or interpolate")
]


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Recurrent sequence models whose state you own: state goes in, state comes out."""
    if version:
        typer.echo(statewise.__version__)
        raise typer.Exit


@app.command()
def forecast(
    series: Annotated[
        str,
        typer.Argument(help="shampoo, air-passengers, or the path of a .csv or .parquet file"),
    ] = "shampoo",
    time: Time = None,
    value: Value = None,
    key: Id = None,
    horizon: Annotated[int, typer.Option(help="how many steps to forecast")] = 12,
    test: Annotated[int, typer.Option(help="how many last steps to compare the policies on")] = 12,
    season: Annotated[
        int, typer.Option(help="how many steps a season has, for the seasonal naive forecast")
    ] = 12,
    window: Annotated[int, typer.Option(help="how many steps the window policy reads")] = 12,
    cell: Annotated[str, typer.Option(help="kind of cell: lstm, gru or elman")] = "lstm",
    units: Annotated[int, typer.Option(help="how many units the cell has")] = 8,
    epochs: Annotated[
        int, typer.Option(help="how many passes over the series a training makes")
    ] = 50,
    repeats: Annotated[
        int, typer.Option(help="how many trainings to make, each from another seed")
    ] = 10,
    seed: Annotated[int, typer.Option(help="first of the seeds")] = 0,
    level: Annotated[
        str, typer.Option(help="levels of the prediction intervals, in percent")
    ] = "80,95",
    missing: Missing = "error",
    out: Annotated[
        str | None,
        typer.Option(help="folder to write the model, state, forecast, picture and report to"),
    ] = None,
    plot: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="series to draw, may be repeated; the first 12 by default"),
    ] = None,
    json: Json = False,
) -> None:
    """Compare ways to handle the state, then forecast."""
    from statewise.cli.forecast import Options, run

    run(
        Options(
            series,
            time,
            value,
            key,
            horizon,
            test,
            season,
            window,
            cell,
            units,
            epochs,
            repeats,
            seed,
            level,
            missing,
            out,
            plot or [],
            json,
        )
    )


@app.command()
def update(
    folder: Annotated[str, typer.Argument(help="folder that forecast --out wrote")],
    rows: Annotated[str, typer.Argument(help=".csv or .parquet file of new rows")],
    horizon: Annotated[
        int | None, typer.Option(help="how many steps to forecast; as before by default")
    ] = None,
    missing: Annotated[
        str, typer.Option(help="what to do with missing values: error or skip")
    ] = "error",
    json: Json = False,
) -> None:
    """Advance a saved state by new observations and forecast again, without training."""
    from statewise.cli.update import run

    run(folder, rows, horizon, missing, json)


@app.command()
def state(
    file: Annotated[str, typer.Argument(help="state file, or folder that forecast --out wrote")],
    json: Json = False,
) -> None:
    """Show what a saved state holds: names, shapes, norms, positions, fingerprints."""
    from statewise.cli.state import run

    run(file, json)


@app.command()
def exam(
    tasks: Annotated[
        list[str] | None,
        typer.Argument(
            help="anbn, anbncn, dyck1, reber, recall, order, adding, copy, parity; all by default"
        ),
    ] = None,
    cells: Annotated[str, typer.Option(help="cells to test: elman, lstm, gru")] = "elman,lstm,gru",
    seeds: Annotated[int, typer.Option(help="how many seeds to train each cell from")] = 3,
    units: Annotated[int, typer.Option(help="how many units the layer has")] = 32,
    seconds: Annotated[float, typer.Option(help="time limit of a training, in seconds")] = 30.0,
    jobs: Annotated[int, typer.Option(help="how many processes to run; -1: one on each core")] = -1,
    json: Json = False,
) -> None:
    """Train cells on classic memory tasks, and test on longer sequences than they learned from."""
    from statewise.cli.exam import run

    run(tasks or [], cells, seeds, units, seconds, jobs, json)


@app.command()
def inspect(
    model: Annotated[
        str,
        typer.Argument(
            help="folder that text train or forecast --out wrote, or .safetensors model"
        ),
    ],
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="text file, or series as .csv or .parquet")
    ],
    out: Annotated[
        str | None, typer.Option(help="file of the page; INPUT with .html by default")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="open the page in the browser")] = False,
    first: Annotated[int, typer.Option("--from", help="first step to show")] = 0,
    steps: Annotated[int, typer.Option(help="how many steps to show")] = 2000,
    names: Annotated[
        str, typer.Option(help="names of the values to record: patterns, separated by commas")
    ] = "*",
    unit: Annotated[str | None, typer.Option(help="unit to select first, such as 0.c.17")] = None,
    cards: Annotated[int, typer.Option(help="how many units to describe on cards")] = 6,
    unknown: Annotated[
        str, typer.Option(help="what to do with unknown characters: error or replace")
    ] = "error",
    time: Time = None,
    value: Value = None,
    key: Id = None,
    series: Annotated[
        str | None, typer.Option(help="id of the series to read; the first by default")
    ] = None,
    missing: Missing = "error",
) -> None:
    """Write a page that shows every gate and state of a model as it reads an input."""
    from statewise.cli.inspect import Options, run
    from statewise.cli.looking import Reading

    reading = Reading(first, steps, unknown, time, value, key, series, missing)
    run(Options(model, source, out, show, names, unit, cards, reading))


@app.command()
def convert(
    source: Annotated[
        str,
        typer.Argument(
            help=".safetensors, .keras, .h5 or .onnx model, or module:callable that returns one"
        ),
    ],
    target: Annotated[str, typer.Argument(help=".safetensors, .keras, .h5 or .onnx file to write")],
    reset: Annotated[
        bool, typer.Option("--reset", help="add a reset mask to the inputs of an ONNX graph")
    ] = False,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="let a Keras file that you trust run its own code")
    ] = False,
) -> None:
    """Convert a model between statewise, Keras, ONNX and torch, and compare both on an input."""
    from statewise.cli.convert import run

    run(source, target, reset, unsafe)


@app.command()
def doctor(
    json: Json = False,
) -> None:
    """Show what is installed: versions, native kernels, threads, devices, optional packages."""
    from statewise.cli.doctor import run

    run(json)


@app.command()
def check(
    target: Annotated[
        str | None,
        typer.Argument(help="model file, or module:callable that returns a model"),
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option(help="what should happen: carry, reset, or a JSON file of fact: answer"),
    ] = None,
    inputs: Annotated[
        str | None, typer.Option(help="shape of the input: rows,steps,features; ? for any size")
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(help="backends of Keras: all, or some of tensorflow,torch,jax"),
    ] = None,
    unsafe: Annotated[
        bool, typer.Option(help="let a Keras file that you trust run its own code")
    ] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="compare Keras, torch and statewise")
    ] = False,
    html: Annotated[bool, typer.Option("--html", help="print the report as an HTML page")] = False,
    json: Json = False,
) -> None:
    """Run a model of any framework and show what it does with its state."""
    from statewise.cli.check import Options
    from statewise.cli.check import check as run

    raise typer.Exit(run(Options(target, expect, inputs, backend, unsafe, demo, html, json)))


app.command()(serve)


def build_command() -> Any:
    """Build the click command that holds all of them."""
    return typer.main.get_command(app)
