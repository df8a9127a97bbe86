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
    metadata = _describe(arrays, origin, extra)
    checkpoint.write(path, KIND, {**arrays, "position": position}, metadata)


def dump_state(
    arrays: Mapping[str, Array],
    position: Array,
    origin: Origin | None,
    extra: Mapping[str, str] | None = None,
) -> bytes:
    """The bytes of the file that `write_state` writes."""
    metadata = _describe(arrays, origin, extra)
    return checkpoint.dumps(KIND, {**arrays, "position": position}, metadata)


def read_state(path: str | Path) -> tuple[dict[str, Array], Array, RecordedOrigin]:
    """The arrays of a state file in order, its position, and the model it comes from.

    Raises:
        FileError: no state file, or one that is truncated or altered.
    """
    return _split(*checkpoint.read(path, KIND), str(path))


def load_state(data: bytes) -> tuple[dict[str, Array], Array, RecordedOrigin]:
    """What `read_state` reads, from the bytes of a file."""
    return _split(*checkpoint.loads(data, KIND), "the data")


def _describe(
    arrays: Mapping[str, Array], origin: Origin | None, extra: Mapping[str, str] | None
) -> dict[str, str]:
    """The metadata of a state file."""
    return {
        **(extra or {}),
        "architecture": (origin and origin.architecture) or "",
        "weights": (origin and origin.weights()) or "",
        "fields": json.dumps(list(arrays)),
    }


def _split(
    arrays: dict[str, Array], metadata: Mapping[str, str], source: str
) -> tuple[dict[str, Array], Array, RecordedOrigin]:
    if "position" not in arrays:
        raise FileError(f"{source} holds no position; it is not a state file")
    position = arrays.pop("position")
    names = _read_names(metadata.get("fields", ""))
    if names is None or sorted(names) != sorted(arrays):
        raise FileError(f"{source} says it has the fields {names}, and has {sorted(arrays)}")
    origin = RecordedOrigin(metadata.get("architecture") or None, metadata.get("weights") or None)
    return {name: arrays[name] for name in names}, position, origin


def _read_names(text: str) -> list[str] | None:
    """The names of a file's fields in order, None where the text is no list of names."""
    try:
        names = json.loads(text)
    except ValueError:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return names
