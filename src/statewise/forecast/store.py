"""A forecaster on disk: the model file and the state file, each with its part of the settings.

The model file's metadata says how the forecaster reads series, the state file's where each series
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
class SavedForecaster:
    """What the files of a forecaster hold.

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


def save(saved: SavedForecaster, folder: str | Path) -> None:
    """Write both files; the folder is made if it does not exist."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make the folder {folder}: {error.strerror}") from error
    settings = {
        "columns": asdict(saved.columns),
        "calendar": asdict(saved.calendar),
        "backend": str(getattr(saved.backend, "value", saved.backend)),
        "training": {
            field.name: getattr(saved.settings, field.name)
            for field in fields(Settings)
            if field.name != "architecture"
        },
    }
    model, extra = saved.model, {"forecaster": json.dumps(settings)}
    write_model(folder / MODEL_FILE, model.architecture, model.weights(), extra)
    save_states(saved.tracks, folder)


def save_states(tracks: Mapping[Hashable, Track], folder: str | Path) -> None:
    """Write the state file alone."""
    if not tracks:
        raise FileError("this forecaster holds no series, so there is no state to save")
    rows = [
        {"id": key, "last": _encode_time(track.last), "residuals": track.residuals.tolist()}
        for key, track in tracks.items()
    ]
    state = State.cat([track.state for track in tracks.values()])
    state.save(Path(folder) / STATE_FILE, extra={"series": json.dumps(rows)})


def load(folder: str | Path, cells: Iterable[type[Cell]] = ()) -> SavedForecaster:
    """Read both files back."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileError(f"there is no folder {folder}; give the folder of a saved forecaster")
    model = load_model(folder / MODEL_FILE, cells=cells)
    settings = _read_metadata(folder / MODEL_FILE, MODEL, "forecaster")
    rows = _read_metadata(folder / STATE_FILE, STATE, "series")
    state = State.load(folder / STATE_FILE)
    _check_pair(folder, model, state, rows)
    try:
        return SavedForecaster(
            model,
            Settings(model.architecture, **settings["training"]),
            Columns(**settings["columns"]),
            Calendar(**settings["calendar"]),
            settings["backend"],
            _read_tracks(state, rows),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{folder} does not hold a complete forecaster: {error!r}") from error


def _read_tracks(state: State, rows: list[dict[str, Any]]) -> dict[Hashable, Track]:
    return {
        row["id"]: Track(
            state.rows(index), _decode_time(row["last"]), np.asarray(row["residuals"], float)
        )
        for index, row in enumerate(rows)
    }


def _check_pair(folder: Path, model: Model, state: State, rows: list[Any]) -> None:
    assert state.origin is not None
    if state.origin.architecture != model.architecture.fingerprint or len(rows) != state.batch:
        raise FileError(
            f"{folder / STATE_FILE} does not belong to {folder / MODEL_FILE}; restore both from "
            "one run"
        )


def _read_metadata(path: Path, kind: str, key: str) -> Any:
    text = checkpoint.read_metadata(path, kind).get(key)
    if text is None:
        raise FileError(f"{path} is not part of a saved forecaster: its metadata has no {key!r}")
    try:
        return json.loads(text)
    except ValueError as error:
        raise FileError(f"{path}: the metadata {key!r} is not JSON: {error}") from error


def _encode_time(time: np.generic) -> int | str:
    return int(time) if np.asarray(time).dtype.kind != "M" else str(time)


def _decode_time(text: int | str) -> np.generic:
    return np.int64(text) if isinstance(text, int) else np.datetime64(text, "us")
