"""The file of a trace: safetensors, with the names and labels in its metadata"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from statewise import checkpoint
from statewise.errors import FileError
from statewise.inspect.trace_values import TraceValues
from statewise.origin import RecordedOrigin
from statewise.state import State

KIND = "statewise.trace"


def write_trace(trace: TraceValues, path: str | Path) -> None:
    """Write a trace as safetensors, whole or not at all."""
    arrays = {f"values/{name}": value for name, value in trace.items()}
    arrays["inputs"] = trace.inputs
    for word, state in (("before", trace.before), ("after", trace.after)):
        arrays[f"{word}/position"] = state.position
        arrays |= {f"{word}/{name}": array for name, array in state.items()}
    for word, mask in (("mask", trace.mask), ("reset", trace.reset)):
        if mask is not None:
            arrays[word] = mask
    origin = trace.before.origin
    metadata = {
        "names": json.dumps(list(trace)),
        "fields": json.dumps(list(trace.before)),
        "labels": json.dumps(trace.labels, default=str),
        "architecture": (origin and origin.architecture) or "",
        "weights": (origin and origin.weights()) or "",
    }
    checkpoint.write(path, KIND, arrays, metadata)


def read_trace(path: str | Path) -> dict[str, Any]:
    """The arguments of a trace, all but its model, from what `write_trace` wrote.

    Raises:
        FileError: no trace file, or one that is truncated or altered.
    """
    arrays, metadata = checkpoint.read(path, KIND)
    origin = RecordedOrigin(metadata.get("architecture") or None, metadata.get("weights") or None)
    try:
        names, fields = json.loads(metadata["names"]), json.loads(metadata["fields"])
        states = [
            State(
                {name: arrays[f"{word}/{name}"] for name in fields},
                arrays[f"{word}/position"],
                origin=origin,
            )
            for word in ("before", "after")
        ]
        return {
            "values": {name: arrays[f"values/{name}"] for name in names},
            "inputs": arrays["inputs"],
            "before": states[0],
            "after": states[1],
            "mask": arrays.get("mask"),
            "reset": arrays.get("reset"),
            "labels": json.loads(metadata["labels"]),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{path} is not a whole trace file: {error}") from error
