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
            help="any of anbn, anbncn, dyck1, reber, recall, order, adding, copy, parity; "
            "all of them if none is given",
            show_default=False,
        ),
    ] = None,
    cells: Annotated[
        str,
        typer.Option(
            help="cells to train, commas between them: elman, lstm, gru, or with options, such as "
            "'LSTM(3, forget_bias=10, peepholes=True)'"
        ),
    ] = "elman,lstm,gru",
    seeds: Annotated[int, typer.Option(help="trainings of each cell on each task")] = 3,
    units: Annotated[int, typer.Option(help="units of cells given without options")] = 32,
    forget_bias: Annotated[
        float,
        typer.Option(
            help="first bias of forget and update gates, of cells given without options; the "
            "higher, the longer a cell remembers at first"
        ),
    ] = 3.0,
    learning_rate: Annotated[float, typer.Option(help="learning rate of Adam")] = 5e-3,
    seconds: Annotated[
        float, typer.Option(help="length of each training, in seconds of one core's time")
    ] = 30.0,
    jobs: Annotated[
        int, typer.Option(help="trainings that run at the same time; -1 for one on each core")
    ] = -1,
    json: Json = False,
) -> None:
    """Train cells on classic tasks of memory, and test how far they carry what they learned."""
    from statewise.cli.exam import Options, run

    run(Options(tasks or [], cells, seeds, units, forget_bias, learning_rate, seconds, jobs, json))


@app.command()
def inspect(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="folder that text train --out or forecast --out wrote, or a .safetensors model",
        ),
    ],
    source: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="text file, or series as a .csv or .parquet file"),
    ],
    out: Annotated[
        str | None,
        typer.Option(help="file to write; by default the name of INPUT with .html"),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="open the page in the browser")] = False,
    first: Annotated[int, typer.Option("--from", help="first step of the page")] = 0,
    steps: Annotated[int, typer.Option(help="number of steps on the page")] = 2000,
    names: Annotated[
        str,
        typer.Option(help="values to record, commas between them; * and ? match, as in '0.*,1.h'"),
    ] = "*",
    unit: Annotated[
        str | None,
        typer.Option(help="unit to show first, as layer.value.unit, such as 0.c.17"),
    ] = None,
    cards: Annotated[int, typer.Option(help="number of units to describe on cards")] = 6,
    unknown: Annotated[
        str,
        typer.Option(
            help="characters that the model's vocabulary lacks: error stops, replace reads them "
            "as unknown"
        ),
    ] = "error",
    time: Annotated[str | None, typer.Option(help="series: column of times")] = None,
    value: Annotated[str | None, typer.Option(help="series: column of values")] = None,
    key: Annotated[
        str | None, typer.Option("--id", help="series: column that tells several series apart")
    ] = None,
    series: Annotated[
        str | None, typer.Option(help="series: id of the one to show; by default the first")
    ] = None,
    missing: Annotated[
        str,
        typer.Option(
            help="series with missing values: error stops, skip leaves them out, interpolate "
            "fills them"
        ),
    ] = "error",
) -> None:
    """Write a web page that shows what is inside a model as it reads: every gate at every step."""
    from statewise.cli.inspect import Options, run
    from statewise.cli.inspect_input import WindowOptions

    window = WindowOptions(first, steps, unknown, time, value, key, series, missing)
    run(Options(model, source, out, show, names, unit, cards, window))


@app.command()
def convert(
    source: Annotated[
        str,
        typer.Argument(
            help=".safetensors, .keras, .h5 or .onnx model, or module:function that returns one"
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
        typer.Argument(help="model file, or module:function that returns a model"),
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
        bool, typer.Option("--unsafe", help="let a Keras file that you trust run its own code")
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
