"""``statewise update``: a saved forecaster goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from statewise.checkpoint import replace_atomically
from statewise.cli.forecast import parse_levels, print_forecast, records
from statewise.forecast import Forecaster, store
from statewise.forecast.frames import Missing
from statewise.forecast.sources import load


def run(folder: str, rows: str, horizon: int | None, missing: str, as_json: bool) -> None:
    """The command."""
    console = Console(quiet=as_json, highlight=False)
    forecaster = Forecaster.load(folder)
    before = _options(Path(folder))
    steps = before.get("horizon", 12) if horizon is None else horizon
    levels = parse_levels(before.get("level", "80,95"))
    frame = load(rows)
    forecaster.update(frame, missing=cast("Missing", missing))
    forecast = forecaster.predict(steps, level=levels)
    store.save_states(forecaster.states.tracks, folder)
    with replace_atomically(Path(folder) / "forecast.csv") as temporary:
        forecast.to_csv(temporary, index=False)
    if as_json:
        print(json.dumps({"rows": len(frame), "forecast": records(forecast)}, indent=2))
        return
    console.print(f"{len(frame)} new rows consumed; the weights are as they were\n")
    print_forecast(console, forecast, steps)
    console.print(f"\n{folder}: state.safetensors, forecast.csv", soft_wrap=True)


def _options(folder: Path) -> dict[str, Any]:
    """The options of the forecast that made the folder, where it says."""
    try:
        options = json.loads((folder / "report.json").read_text(encoding="utf-8"))["options"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return options if isinstance(options, dict) else {}
