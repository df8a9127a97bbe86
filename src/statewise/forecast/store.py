"""A forecaster on disk: the model file and the state file, each with what it alone can tell.

The model file's metadata adds how the forecaster reads series, the state file's where each series
stands, so that an update rewrites one file, whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from statewise import checkpoint
from statewise.cell import Cell
from statewise.errors import FileError
from statewise.forecast.calendar import Calendar
from statewise.forecast.frames import Columns
from statewise.forecast.learning import Settings
from statewise.forecast.table import Track
from statewise.runtime import Model
from statewise.runtime import load as load_model
from statewise.state import State
from statewise.state_file import KIND as STATE
from statewise.weights import KIND as MODEL
from statewise.weights import write_model

MODEL_FILE, STATE_FILE = "model.safetensors", "state.safetensors"


@dataclass(frozen=True)
class Stored:
    """What is kept of a forecaster.

    Arguments:
        model: transforms, network and output.
        settings: what it was made of.
        columns, calendar, backend: how its series are read, and in which library they come back.
        tracks: where each series stands.
    """

    model: Model
    settings: Settings
    columns: Columns
    calendar: Calendar
    backend: Any
    tracks: dict[Hashable, Track]


def save(stored: Stored, folder: str | Path) -> None:
    """Write both files; the folder is made if it is not there."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make the folder {folder}: {error.strerror}") from error
    settings = {
        "columns": asdict(stored.columns),
        "calendar": asdict(stored.calendar),
        "backend": str(getattr(stored.backend, "value", stored.backend)),
        "training": {
            field.name: getattr(stored.settings, field.name)
            for field in fields(Settings)
            if field.name != "architecture"
        },
    }
    model, extra = stored.model, {"forecaster": json.dumps(settings)}
    write_model(folder / MODEL_FILE, model.architecture, model.weights(), extra)
    save_states(stored.tracks, folder)


def save_states(tracks: Mapping[Hashable, Track], folder: str | Path) -> None:
    """Write the state file alone."""
    if not tracks:
        raise FileError("there is no series whose state could be saved")
    rows = [
        {"id": key, "last": _time_text(track.last), "residuals": track.residuals.tolist()}
        for key, track in tracks.items()
    ]
    state = State.cat([track.state for track in tracks.values()])
    state.save(Path(folder) / STATE_FILE, extra={"series": json.dumps(rows)})


def load(folder: str | Path, cells: Iterable[type[Cell]] = ()) -> Stored:
    """Read both files back."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileError(f"there is no folder {folder}; give the one that a forecaster was saved in")
    model = load_model(folder / MODEL_FILE, cells=cells)
    settings = _json(folder / MODEL_FILE, MODEL, "forecaster")
    rows = _json(folder / STATE_FILE, STATE, "series")
    state = State.load(folder / STATE_FILE)
    _check_pair(folder, model, state, rows)
    try:
        return Stored(
            model,
            Settings(model.architecture, **settings["training"]),
            Columns(**settings["columns"]),
            Calendar(**settings["calendar"]),
            settings["backend"],
            _tracks(state, rows),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{folder} does not hold a complete forecaster: {error!r}") from error


def _tracks(state: State, rows: list[dict[str, Any]]) -> dict[Hashable, Track]:
    return {
        row["id"]: Track(state.rows(index), _time(row["last"]), np.asarray(row["residuals"], float))
        for index, row in enumerate(rows)
    }


def _check_pair(folder: Path, model: Model, state: State, rows: list[Any]) -> None:
    assert state.origin is not None
    if state.origin.architecture != model.architecture.fingerprint or len(rows) != state.batch:
        raise FileError(
            f"{folder / STATE_FILE} does not belong to {folder / MODEL_FILE}; restore both from "
            "one run"
        )


def _json(path: Path, kind: str, key: str) -> Any:
    text = checkpoint.read_metadata(path, kind).get(key)
    if text is None:
        raise FileError(f"{path} is not part of a forecaster: it says nothing of its {key}")
    try:
        return json.loads(text)
    except ValueError as error:
        raise FileError(f"what {path} says of its {key} is not JSON: {error}") from error


def _time_text(time: np.generic) -> int | str:
    return int(time) if np.asarray(time).dtype.kind != "M" else str(time)


def _time(text: int | str) -> np.generic:
    return np.int64(text) if isinstance(text, int) else np.datetime64(text, "us")
