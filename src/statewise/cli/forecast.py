"""``statewise forecast``: the policies compared, then the forecast."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from statewise.cell import Cell
from statewise.cells import GRU, LSTM, Elman
from statewise.checkpoint import replace_atomically
from statewise.errors import DataError, FileError
from statewise.forecast import Comparison, Forecaster, compare_state_policies
from statewise.forecast.calendar import format_time
from statewise.forecast.forecaster import check_levels
from statewise.forecast.frames import ALONE, Columns, Missing
from statewise.forecast.plot import PANELS, draw_forecast
from statewise.forecast.rollout import NAME
from statewise.forecast.sources import guess, load
from statewise.forecast.table import unknown_series
from statewise.validation import check_whole_number
from statewise.wording import format_count

CELLS = {"lstm": LSTM, "gru": GRU, "elman": Elman}
POLICY_TEXTS = {
    "reset": "reset before every forecast",
    "window": "reset, then {window} read again",
    "seed": "history read once, then carried",
    "carry": "carried on from training",
}


@dataclass(frozen=True)
class Options:
    """The options of the command."""

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
    plot: list[str]
    json: bool


def run(options: Options) -> None:
    """Compare the policies, forecast, and write the files."""
    console = Console(quiet=options.json, highlight=False, markup=False, emoji=False)
    levels = parse_levels(options.level)
    check_whole_number("h", options.horizon, error=DataError)
    if options.cell not in CELLS:
        raise DataError(f"--cell must be one of {', '.join(CELLS)}, got {options.cell!r}")
    if options.out is not None and Path(options.out).exists() and not Path(options.out).is_dir():
        raise FileError(f"{options.out} exists and is not a folder; choose another --out")
    if options.plot and options.out is None:
        raise DataError("--plot needs --out, the folder that the picture is written to")
    frame = load(options.series)
    columns = guess(frame, options.id, options.time, options.value)
    drawn = find_series(frame, columns, options.plot)
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
    start = time.perf_counter()
    comparison = compare_state_policies(
        frame,
        test=options.test,
        repeats=options.repeats,
        forecaster=forecaster,
        window=options.window,
        season=options.season,
        missing=missing,
        **names,
    )
    _print_input(console, options, columns, comparison)
    console.print(_build_table(comparison))
    console.print("\n" + comparison.verdict(), soft_wrap=True)
    forecaster.fit(frame, **names, missing=missing)
    forecast = forecaster.predict(options.horizon, level=levels)
    console.print()
    print_forecast(console, forecast, options.horizon)
    report = _build_report(options, columns, comparison, forecast)
    if options.out is not None:
        write_files(options.out, forecaster, forecast, report)
        path, count = Path(options.out) / "forecast.png", len(comparison.panel.series)
        draw_forecast(path, comparison, forecast, levels, ids=drawn)
        if drawn is None and count > PANELS:
            console.print(f"{path} shows {PANELS} of {count} series; draw others with --plot ID")
        console.print(
            f"\n{options.out}: model.safetensors, state.safetensors, forecast.csv, forecast.png, "
            "report.json",
            soft_wrap=True,
        )
    console.print(f"{time.perf_counter() - start:.1f} s", style="dim")
    if options.json:
        print(json.dumps(report, indent=2))


def find_series(frame: Any, columns: Columns, words: list[str]) -> list[Any] | None:
    """The ids of the series that the words of --plot name; None if there are none.

    Raises:
        DataError: an id that no series has.
    """
    if not words:
        return None
    ids = [ALONE] if columns.id is None else frame[columns.id].unique()
    known = {str(one): one for one in ids}
    for word in words:
        if word not in known:
            raise unknown_series(word, list(known))
    return [known[word] for word in dict.fromkeys(words)]


def _print_input(
    console: Console, options: Options, columns: Columns, comparison: Comparison
) -> None:
    series = comparison.panel.series
    lengths = [len(one.values) for one in series]
    steps = format_count(max(lengths), "step")
    if min(lengths) < max(lengths):
        steps = f"{min(lengths)} to {steps}"
    first, last = (format_time(one) for one in (series[0].times[0], series[0].times[-1]))
    console.print(
        Text(options.series, "bold"),
        f": {format_count(len(series), 'series', 'series')} of {steps}, one every "
        f"{comparison.panel.calendar}, {first} to {last}"
        + (f" ({series[0].id})" if len(series) > 1 else ""),
        sep="",
        soft_wrap=True,
    )
    several = f"the last {options.test} steps are"
    tested = "the last step is" if options.test == 1 else several
    console.print(
        f"time {columns.time!r}, value {columns.target!r}"
        + (f", id {columns.id!r}" if columns.id else "")
        + f"; {options.cell} of {format_count(options.units, 'unit')}, "
        f"{format_count(options.epochs, 'epoch')}, "
        f"{format_count(options.repeats, 'repeat')}; {tested} forecast one by one\n",
        soft_wrap=True,
    )


def _build_table(comparison: Comparison) -> Table:
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
        window = format_count(comparison.window, "step")
        what = POLICY_TEXTS.get(name, "no network").format(window=window)
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


def _build_report(
    options: Options, columns: Columns, comparison: Comparison, forecast: Any
) -> dict[str, Any]:
    rmse, mae = comparison.errors("rmse"), comparison.errors("mae")
    scores: dict[str, dict[str, Any]] = {
        name: {
            "rmse": {
                "mean": _finite_or_none(values.mean()),
                "repeats": [_finite_or_none(v) for v in values],
            },
            "mae": {"mean": _finite_or_none(mae[name].mean())},
        }
        for name, values in rmse.items()
    }
    for name in comparison.forecasts:
        spread = rmse[name].std(ddof=1) if options.repeats > 1 else float("nan")
        scores[name]["rmse"]["spread"] = _finite_or_none(spread)
    return {
        "options": asdict(options),
        "columns": asdict(columns),
        "calendar": str(comparison.panel.calendar),
        "series": [
            {"id": one.id, "steps": len(one.values), "last": format_time(one.times[-1])}
            for one in comparison.panel.series
        ],
        "policies": {name: scores[name] for name in comparison.forecasts},
        "baselines": {name: scores[name] for name in comparison.baselines},
        "verdict": comparison.verdict(),
        "forecast": to_records(forecast),
    }


def write_files(out: str, forecaster: Forecaster, forecast: Any, report: dict[str, Any]) -> None:
    """Write the files of a forecast, each whole or not at all."""
    forecaster.save(out)
    with replace_atomically(Path(out) / "forecast.csv") as temporary:
        forecast.to_csv(temporary, index=False)
    with replace_atomically(Path(out) / "report.json") as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def print_forecast(console: Console, forecast: Any, horizon: int) -> None:
    """Print the forecast as a table: all of it, or the first series of many."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in forecast.columns:
        table.add_column(name.removeprefix(f"{NAME}-").replace(NAME, "forecast"), justify="right")
    shown = to_records(forecast)[:horizon]
    for row in shown:
        table.add_row(
            *(f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in row.values())
        )
    console.print(table)
    if len(forecast) > len(shown):
        more = format_count(len(forecast) // horizon - 1, "more series", "more series")
        console.print(f"and {more}", style="dim")


def to_records(frame: Any) -> list[dict[str, Any]]:
    """The rows of a pandas frame as plain values."""
    columns = {
        name: [_to_plain(value) for value in frame[name].to_numpy()] for name in frame.columns
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def parse_levels(text: str) -> list[float]:
    """``"80,95"`` as numbers; an empty text is none."""
    try:
        return check_levels([float(part) for part in text.split(",") if part.strip()])
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"--level takes percentages such as 80,95, got {text!r}") from None


def _to_plain(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return format_time(value)
    return value.item() if isinstance(value, np.generic) else value


def _finite_or_none(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
