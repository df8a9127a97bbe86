"""The commands and their options."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import statewise
from statewise.cli.text import app as text

app = typer.Typer(
    name="statewise",
    help="Recurrent sequence models whose state you own.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(text, name="text")


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
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
    time: Annotated[str | None, typer.Option(help="column of times")] = None,
    value: Annotated[str | None, typer.Option(help="column of values")] = None,
    key: Annotated[str | None, typer.Option("--id", help="column that tells series apart")] = None,
    horizon: Annotated[int, typer.Option(help="steps to forecast")] = 12,
    test: Annotated[int, typer.Option(help="last steps on which the policies are compared")] = 12,
    season: Annotated[int, typer.Option(help="steps in a season, of the seasonal naive")] = 12,
    window: Annotated[int, typer.Option(help="steps that the window policy reads")] = 12,
    cell: Annotated[str, typer.Option(help="lstm, gru or elman")] = "lstm",
    units: Annotated[int, typer.Option(help="units of the cell")] = 8,
    epochs: Annotated[int, typer.Option(help="passes over the series in each training")] = 50,
    repeats: Annotated[int, typer.Option(help="trainings from different seeds")] = 10,
    seed: Annotated[int, typer.Option(help="the first seed")] = 0,
    level: Annotated[str, typer.Option(help="prediction intervals in percent")] = "80,95",
    missing: Annotated[str, typer.Option(help="error, skip or interpolate")] = "error",
    out: Annotated[str | None, typer.Option(help="folder for the model, state and files")] = None,
    json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
) -> None:
    """Compare what may be done with the state, then forecast."""
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
            json,
        )
    )


@app.command()
def update(
    folder: Annotated[str, typer.Argument(help="what forecast --out wrote")],
    rows: Annotated[str, typer.Argument(help="new rows, .csv or .parquet")],
    horizon: Annotated[int | None, typer.Option(help="steps to forecast; as before")] = None,
    missing: Annotated[str, typer.Option(help="error or skip")] = "error",
    json: Annotated[bool, typer.Option("--json", help="print the forecast as JSON")] = False,
) -> None:
    """Advance the saved state by new observations and forecast again; nothing is retrained."""
    from statewise.cli.update import run

    run(folder, rows, horizon, missing, json)


@app.command()
def state(
    file: Annotated[str, typer.Argument(help="a saved state, or the folder of a forecaster")],
    json: Annotated[bool, typer.Option("--json", help="print it as JSON")] = False,
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
    json: Annotated[bool, typer.Option("--json", help="print every training as JSON")] = False,
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
            help="a .safetensors, .keras, .h5 or .onnx model, or module:callable returning one"
        ),
    ],
    target: Annotated[str, typer.Argument(help="a .safetensors, .keras, .h5 or .onnx file")],
    reset: Annotated[bool, typer.Option("--reset", help="give an ONNX graph a reset mask")] = False,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="let a Keras file that you trust run code")
    ] = False,
) -> None:
    """Convert a model to or from Keras, ONNX and torch, and compare a run of both."""
    from statewise.cli.convert import run

    run(source, target, reset, unsafe)


@app.command()
def doctor(
    json: Annotated[bool, typer.Option("--json", help="print it as JSON")] = False,
) -> None:
    """Show versions, the kernels and the instruction set in use, threads and devices."""
    from statewise.cli.doctor import run

    run(json)


@app.command()
def check(
    target: Annotated[
        str | None,
        typer.Argument(help="a model file, or module:callable that returns a model"),
    ] = None,
    expect: Annotated[
        str | None, typer.Option(help="carry, reset, or a JSON file of fact -> answer")
    ] = None,
    inputs: Annotated[str | None, typer.Option(help="rows,steps,features; ? for any")] = None,
    backend: Annotated[
        str | None,
        typer.Option(help="of Keras: all, or tensorflow, torch, jax with commas between"),
    ] = None,
    unsafe: Annotated[bool, typer.Option(help="let a Keras file bring code of its own")] = False,
    demo: Annotated[bool, typer.Option("--demo", help="ask Keras, torch and statewise")] = False,
    html: Annotated[bool, typer.Option("--html", help="print the report as a page")] = False,
    json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
) -> None:
    """Show what a model of any framework does with its state, by running it."""
    from statewise.cli.check import Options
    from statewise.cli.check import check as run

    raise typer.Exit(run(Options(target, expect, inputs, backend, unsafe, demo, html, json)))


@app.command()
def serve(
    models: Annotated[
        list[str],
        typer.Argument(help="model files or folders of forecasters, as PATH or NAME=PATH"),
    ],
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one")] = 8000,
    store: Annotated[
        str, typer.Option(help="sqlite:PATH, redis://HOST:PORT or memory")
    ] = "sqlite:sessions.db",
    durability: Annotated[
        str, typer.Option(help="of sessions that do not say: step, interval or none")
    ] = "step",
    capacity: Annotated[int, typer.Option(help="sessions in memory, of each model")] = 10_000,
    ttl: Annotated[float | None, typer.Option(help="seconds of rest until expiry")] = None,
    max_batch: Annotated[int, typer.Option(help="sessions stepped together at most")] = 256,
    max_wait: Annotated[float, typer.Option(help="seconds a step may wait for company")] = 0.0,
    max_queue: Annotated[int, typer.Option(help="steps that may wait")] = 20_000,
    max_sessions: Annotated[int | None, typer.Option(help="sessions of a token")] = None,
    max_body: Annotated[int, typer.Option(help="bytes of a request's body")] = 64 * 2**20,
    timeout: Annotated[float, typer.Option(help="seconds that a request may take")] = 30.0,
    lease: Annotated[float, typer.Option(help="seconds until a silent server loses its")] = 15.0,
    keep_inputs: Annotated[int, typer.Option(help="last inputs kept for a replay")] = 0,
    token_file: Annotated[
        str | None, typer.Option(help="lines of NAMESPACE TOKEN; without it nobody needs one")
    ] = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="log lines of JSON")] = False,
) -> None:
    """Serve models in sessions whose states stay alive: over HTTP, stepped exactly once."""
    from statewise.cli.serve import Options, run

    run(
        Options(
            models,
            host,
            port,
            store,
            durability,
            capacity,
            ttl,
            max_batch,
            max_wait,
            max_queue,
            max_sessions,
            max_body,
            timeout,
            lease,
            keep_inputs,
            token_file,
            log_json,
        )
    )


def command() -> Any:
    """The commands as one click command."""
    return typer.main.get_command(app)
