"""``statewise forecast``: the policies compared, then the forecast."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from statewise.cell import Cell
from statewise.cells import GRU, LSTM, Elman
from statewise.checkpoint import replace_atomically
from statewise.errors import DataError, FileError
from statewise.forecast import Comparison, Forecaster, compare_state_policies
from statewise.forecast.calendar import show
from statewise.forecast.forecaster import check_horizon, check_levels
from statewise.forecast.frames import Columns, Missing
from statewise.forecast.plot import picture
from statewise.forecast.sources import guess, load
from statewise.forecast.walk import NAME

CELLS = {"lstm": LSTM, "gru": GRU, "elman": Elman}
WHAT = {
    "reset": "forgets before every forecast",
    "window": "reads the last {window} steps anew each time",
    "seed": "consumes the history once, then carries",
    "carry": "carries what training left",
}


@dataclass(frozen=True)
class Options:
    """What the command was asked for; the fields are its options."""

    series: str
    time: str | None
    value: str | None
    id: str | None
    horizon: int
    test: int
    season: int
    window: int
    cell: str
    units: int
    epochs: int
    repeats: int
    seed: int
    level: str
    missing: str
    out: str | None
    json: bool


def run(options: Options) -> None:
    """The command."""
    console = Console(quiet=options.json, highlight=False)
    levels = parse_levels(options.level)
    check_horizon(options.horizon)
    if options.cell not in CELLS:
        raise DataError(f"--cell must be one of {', '.join(CELLS)}, got {options.cell!r}")
    if options.out is not None and Path(options.out).exists() and not Path(options.out).is_dir():
        raise FileError(f"{options.out} is there already and is not a folder; choose another --out")
    frame = load(options.series)
    columns = guess(frame, options.id, options.time, options.value)
    layers: list[Cell] = [CELLS[options.cell](options.units)]
    forecaster = Forecaster(
        layers, epochs=options.epochs, seed=options.seed, calibration=max(0, options.test)
    )
    names: dict[str, Any] = {
        "id_col": columns.id,
        "time_col": columns.time,
        "target_col": columns.target,
    }
    missing = cast("Missing", options.missing)
    began = time.perf_counter()
    comparison = _compare(options, frame, forecaster, names, missing)
    _print_read(console, options, columns, comparison)
    console.print(_table(comparison))
    console.print("\n" + comparison.verdict(), soft_wrap=True)
    forecaster.fit(frame, **names, missing=missing)
    forecast = forecaster.predict(options.horizon, level=levels)
    console.print()
    print_forecast(console, forecast, options.horizon)
    report = _report(options, columns, comparison, forecast)
    if options.out is not None:
        write(options.out, forecaster, forecast, report)
        picture(Path(options.out) / "forecast.png", comparison, forecast, levels)
        console.print(
            f"\n{options.out}: model.safetensors, state.safetensors, forecast.csv, forecast.png, "
            "report.json",
            soft_wrap=True,
        )
    console.print(f"{time.perf_counter() - began:.1f} s", style="dim")
    if options.json:
        print(json.dumps(report, indent=2))


def _compare(
    options: Options,
    frame: Any,
    forecaster: Forecaster,
    names: dict[str, Any],
    missing: Missing,
) -> Comparison:
    bar = Progress(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    with bar:
        task = bar.add_task("repeats", total=options.repeats)
        return compare_state_policies(
            frame,
            test=options.test,
            repeats=options.repeats,
            forecaster=forecaster,
            window=options.window,
            season=options.season,
            missing=missing,
            on_repeat=lambda done: bar.update(task, completed=done),
            **names,
        )


def _print_read(
    console: Console, options: Options, columns: Columns, comparison: Comparison
) -> None:
    series = comparison.panel.series
    lengths = [len(one.values) for one in series]
    steps = f"{lengths[0]}" if len(series) == 1 else f"{min(lengths)} to {max(lengths)}"
    first, last = (show(one) for one in (series[0].times[0], series[0].times[-1]))
    console.print(
        f"[bold]{options.series}[/]: {len(series)} series of {steps} steps, one every "
        f"{comparison.panel.calendar}, {first} to {last}"
        + (f" ({series[0].id})" if len(series) > 1 else ""),
        soft_wrap=True,
    )
    console.print(
        f"time {columns.time!r}, value {columns.target!r}"
        + (f", id {columns.id!r}" if columns.id else "")
        + f"; {options.cell} of {options.units} units, {options.epochs} epochs, "
        f"{options.repeats} repeats; the last {options.test} steps are forecast one by one\n",
        soft_wrap=True,
    )


def _table(comparison: Comparison) -> Table:
    errors = comparison.errors("rmse")
    best = min(errors, key=lambda name: np.nan_to_num(errors[name].mean(), nan=np.inf))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("policy", no_wrap=True)
    table.add_column("state between forecasts")
    for name in ("RMSE", "spread", "min", "max"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, values in errors.items():
        if name == next(iter(comparison.baselines)):
            table.add_section()
            table.add_row("", "", "", "", "", "")
        what = WHAT.get(name, "no network").format(window=comparison.window)
        style = "bold" if name == best else ""
        if not np.isfinite(values).all():
            table.add_row(name, what, "-", "", "", "", style=style)
            continue
        row = [f"{values.mean():.1f}"]
        if name in comparison.forecasts:
            spread = f"{values.std(ddof=1):.1f}" if len(values) > 1 else "-"
            row += [spread, f"{values.min():.1f}", f"{values.max():.1f}"]
        table.add_row(name, what, *row, style=style)
    return table


def _report(
    options: Options, columns: Columns, comparison: Comparison, forecast: Any
) -> dict[str, Any]:
    rmse, mae = comparison.errors("rmse"), comparison.errors("mae")
    scores: dict[str, dict[str, Any]] = {
        name: {
            "rmse": {"mean": _number(values.mean()), "repeats": [_number(v) for v in values]},
            "mae": {"mean": _number(mae[name].mean())},
        }
        for name, values in rmse.items()
    }
    for name in comparison.forecasts:
        spread = rmse[name].std(ddof=1) if options.repeats > 1 else float("nan")
        scores[name]["rmse"]["spread"] = _number(spread)
    return {
        "options": asdict(options),
        "columns": asdict(columns),
        "calendar": str(comparison.panel.calendar),
        "series": [
            {"id": one.id, "steps": len(one.values), "last": show(one.times[-1])}
            for one in comparison.panel.series
        ],
        "policies": {name: scores[name] for name in comparison.forecasts},
        "baselines": {name: scores[name] for name in comparison.baselines},
        "verdict": comparison.verdict(),
        "forecast": records(forecast),
    }


def write(out: str, forecaster: Forecaster, forecast: Any, report: dict[str, Any]) -> None:
    """The files of a forecast, each whole or not at all."""
    forecaster.save(out)
    with replace_atomically(Path(out) / "forecast.csv") as temporary:
        forecast.to_csv(temporary, index=False)
    with replace_atomically(Path(out) / "report.json") as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def print_forecast(console: Console, forecast: Any, horizon: int) -> None:
    """The forecast as a table: all of it, or the first series of many."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in forecast.columns:
        table.add_column(name.removeprefix(f"{NAME}-").replace(NAME, "forecast"), justify="right")
    shown = records(forecast)[:horizon]
    for row in shown:
        table.add_row(
            *(f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in row.values())
        )
    console.print(table)
    if len(forecast) > len(shown):
        console.print(f"and {len(forecast) // horizon - 1} more series", style="dim")


def records(frame: Any) -> list[dict[str, Any]]:
    """The rows of a pandas frame as plain values."""
    columns = {name: [_plain(value) for value in frame[name].to_numpy()] for name in frame.columns}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def parse_levels(text: str) -> list[float]:
    """``"80,95"`` as numbers; an empty text is none."""
    try:
        return check_levels([float(part) for part in text.split(",") if part.strip()])
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"--level takes percentages such as 80,95, got {text!r}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return show(value)
    return value.item() if isinstance(value, np.generic) else value


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
