"""``statewise update``: a saved forecaster reads new rows and forecasts again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from statewise.checkpoint import replace_atomically
from statewise.cli.forecast import parse_levels, print_forecast, to_records
from statewise.forecast import Forecaster, store
from statewise.forecast.frames import Missing
from statewise.forecast.sources import load
from statewise.wording import format_count


def run(folder: str, rows: str, horizon: int | None, missing: str, as_json: bool) -> None:
    """Read new rows, forecast, and write the states and the forecast."""
    console = Console(quiet=as_json, highlight=False, markup=False, emoji=False)
    forecaster = Forecaster.load(folder)
    before = _read_options(Path(folder))
    steps = before.get("horizon", 12) if horizon is None else horizon
    levels = parse_levels(before.get("level", "80,95"))
    frame = load(rows)
    forecaster.update(frame, missing=cast("Missing", missing))
    forecast = forecaster.predict(steps, level=levels)
    store.save_states(forecaster.states.tracks, folder)
    with replace_atomically(Path(folder) / "forecast.csv") as temporary:
        forecast.to_csv(temporary, index=False)
    if as_json:
        print(json.dumps({"rows": len(frame), "forecast": to_records(forecast)}, indent=2))
        return
    console.print(f"{format_count(len(frame), 'new row')} consumed; weights unchanged\n")
    print_forecast(console, forecast, steps)
    console.print(f"\n{folder}: state.safetensors, forecast.csv", soft_wrap=True)


def _read_options(folder: Path) -> dict[str, Any]:
    """The options of the ``statewise forecast`` that made the folder; none if it has no report."""
    try:
        options = json.loads((folder / "report.json").read_text(encoding="utf-8"))["options"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return options if isinstance(options, dict) else {}
