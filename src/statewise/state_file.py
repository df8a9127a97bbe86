"""State files: fields and positions as safetensors, the model's fingerprints as metadata.

The format is specified in docs/formats.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from statewise import checkpoint
from statewise.errors import FileError
from statewise.origin import Origin, RecordedOrigin
from statewise.types import Array

KIND = "statewise.state"


def write_state(
    path: str | Path,
    arrays: Mapping[str, Array],
    position: Array,
    origin: Origin | None,
    extra: Mapping[str, str] | None = None,
) -> None:
    """Write a state file, whole or not at all; `extra` is further metadata."""
    metadata = {
        **(extra or {}),
        "architecture": (origin and origin.architecture) or "",
        "weights": (origin and origin.weights()) or "",
        "fields": json.dumps(list(arrays)),
    }
    checkpoint.write(path, KIND, {**arrays, "position": position}, metadata)


def read_state(path: str | Path) -> tuple[dict[str, Array], Array, RecordedOrigin]:
    """The arrays of a state file in order, its position, and the model it comes from.

    Raises:
        FileError: no state file, or one that is truncated or altered.
    """
    arrays, metadata = checkpoint.read(path, KIND)
    if "position" not in arrays:
        raise FileError(f"{path} holds no position; it is not a state file")
    position = arrays.pop("position")
    names = _fields_in(metadata.get("fields", ""))
    if names is None or sorted(names) != sorted(arrays):
        raise FileError(f"{path} says it has the fields {names}, and has {sorted(arrays)}")
    origin = RecordedOrigin(metadata.get("architecture") or None, metadata.get("weights") or None)
    return {name: arrays[name] for name in names}, position, origin


def _fields_in(text: str) -> list[str] | None:
    """The names of a file's fields in order, None where the text is no list of names."""
    try:
        names = json.loads(text)
    except ValueError:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return names
