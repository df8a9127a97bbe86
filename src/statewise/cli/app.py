"""The commands and their options."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import statewise

app = typer.Typer(
    name="statewise",
    help="Recurrent sequence models whose state you own.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
) -> None:
    """Show what a model of any framework does with its state, by running it."""
    from statewise.cli.check import Options
    from statewise.cli.check import check as run

    raise typer.Exit(run(Options(target, expect, inputs, json)))


def command() -> Any:
    """The commands as one click command."""
    return typer.main.get_command(app)
