"""A forecaster on disk: the model file and the state file, each with what it alone can tell.

The model file's metadata adds how the forecaster reads series, the state file's where each series
stands, so that an update rewrites one file, whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from statewise import checkpoint
from statewise.architecture import Cell
from statewise.errors import FileError
from statewise.forecast.calendar import Calendar
from statewise.forecast.frames import Columns
from statewise.forecast.table import RESIDUALS, StateTable, Track
from statewise.runtime import Model
from statewise.runtime import load as load_model
from statewise.state import KIND as STATE
from statewise.state import State
from statewise.weights import KIND as MODEL
from statewise.weights import write_model

if TYPE_CHECKING:
    from statewise.forecast.forecaster import Forecaster

MODEL_FILE, STATE_FILE = "model.safetensors", "state.safetensors"

__all__ = ["RESIDUALS", "load", "save", "save_states"]


def save(forecaster: Forecaster, folder: str | Path) -> None:
    """Write both files; the folder is made if it is not there."""
    model = forecaster._fitted()
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make the folder {folder}: {error.strerror}") from error
    settings = {
        "columns": asdict(forecaster.columns),
        "calendar": asdict(forecaster._calendar()),
        "backend": str(getattr(forecaster.backend, "value", forecaster.backend)),
        "season": forecaster.season,
        "seed": forecaster.seed,
        "lanes": forecaster.lanes,
        "chunk": forecaster.chunk,
        "carry": forecaster.carry,
        "calibration": forecaster.calibration,
        "training": forecaster.training,
    }
    extra = {"forecaster": json.dumps(settings)}
    write_model(folder / MODEL_FILE, model.architecture, model.weights(), extra)
    save_states(forecaster, folder)


def save_states(forecaster: Forecaster, folder: str | Path) -> None:
    """Write the state file alone."""
    tracks = forecaster.states.tracks
    if not tracks:
        raise FileError("there is no series whose state could be saved")
    rows = [
        {"id": key, "last": _time_text(track.last), "residuals": track.residuals.tolist()}
        for key, track in tracks.items()
    ]
    state = State.cat([track.state for track in tracks.values()])
    state.save(Path(folder) / STATE_FILE, extra={"series": json.dumps(rows)})


def load(cls: type[Forecaster], folder: str | Path, cells: Iterable[type[Cell]]) -> Forecaster:
    """Read both files back."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileError(f"there is no folder {folder}; give the one that a forecaster was saved in")
    model = load_model(folder / MODEL_FILE, cells=cells)
    settings = _json(folder / MODEL_FILE, MODEL, "forecaster")
    rows = _json(folder / STATE_FILE, STATE, "series")
    state = State.load(folder / STATE_FILE)
    _check_pair(folder, model, state, rows)
    forecaster = object.__new__(cls)
    try:
        forecaster.__dict__ |= {
            "architecture": model.architecture,
            "season": settings["season"],
            "seed": settings["seed"],
            "lanes": settings["lanes"],
            "chunk": settings["chunk"],
            "carry": settings["carry"],
            "calibration": settings["calibration"],
            "training": settings["training"],
            "columns": Columns(**settings["columns"]),
            "calendar": Calendar(**settings["calendar"]),
            "backend": settings["backend"],
            "model": model,
            "history": None,
            "_table": StateTable(_tracks(state, rows)),
            "_panel": None,
        }
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{folder} does not hold a complete forecaster: {error!r}") from error
    return forecaster


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
