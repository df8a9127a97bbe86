"""``statewise state``: what a saved state holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from statewise import checkpoint
from statewise.state import State
from statewise.state_file import KIND
from statewise.types import dtype_name

SHOWN = 10
"""How many rows are listed."""


def run(file: str, as_json: bool) -> None:
    """The command."""
    path = Path(file)
    if path.is_dir():
        path = path / "state.safetensors"
    state = State.load(path)
    ids = _read_ids(path)
    if as_json:
        print(json.dumps(_summarise(state, ids), indent=2))
        return
    console = Console(highlight=False)
    origin = state.origin
    console.print(f"[bold]{path}[/]: {state.batch} rows", soft_wrap=True)
    console.print(f"architecture {(origin and origin.architecture) or 'unknown'}")
    console.print(f"weights      {(origin and origin.weights()) or 'unknown'}\n")
    fields = Table(box=None, pad_edge=False, header_style="bold")
    for name, side in (
        ("field", "left"),
        ("shape", "right"),
        ("dtype", "left"),
        ("mean norm", "right"),
        ("largest", "right"),
    ):
        fields.add_column(name, justify=side)  # type: ignore[arg-type]
    for row in _summarise(state, ids)["fields"]:
        shape = " x ".join(map(str, row["shape"]))
        fields.add_row(
            row["name"], shape, row["dtype"], _format(row["norm"]), _format(row["largest"])
        )
    console.print(fields)
    rows = Table(box=None, pad_edge=False, header_style="bold")
    rows.add_column("row", justify="right")
    rows.add_column("series")
    rows.add_column("position", justify="right")
    positions = np.asarray(state.numpy().position)
    for index in range(min(SHOWN, state.batch)):
        rows.add_row(str(index), str(ids[index]) if ids else "", str(positions[index]))
    console.print()
    console.print(rows)
    if state.batch > SHOWN:
        console.print(f"and {state.batch - SHOWN} more rows", style="dim")


def _read_ids(path: Path) -> list[Any]:
    """Read the ids of a forecaster's series, one for each row, if the file has them."""
    try:
        return [row["id"] for row in json.loads(checkpoint.read_metadata(path, KIND)["series"])]
    except (KeyError, TypeError, ValueError):
        return []


def _summarise(state: State, ids: list[Any]) -> dict[str, Any]:
    fields = []
    for name, array in state.items():
        wide = np.asarray(array, np.float64) if isinstance(array, np.ndarray) else array.double()
        flat = np.asarray(wide).reshape(state.batch, -1)
        size = bool(flat.size)
        fields.append(
            {
                "name": name,
                "shape": list(array.shape),
                "dtype": dtype_name(array),
                "norm": float(np.linalg.norm(flat, axis=1).mean()) if size else None,
                "largest": float(np.abs(flat).max()) if size else None,
            }
        )
    origin = state.origin
    return {
        "rows": state.batch,
        "architecture": origin and origin.architecture,
        "weights": origin and origin.weights(),
        "fields": fields,
        "positions": np.asarray(state.position).tolist(),
        "series": ids,
    }


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
