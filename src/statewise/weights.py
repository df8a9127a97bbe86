"""Model files: weights as safetensors, the architecture as metadata. See docs/formats.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from statewise import checkpoint
from statewise.architecture import Architecture, Cell
from statewise.errors import FileError
from statewise.types import Array

KIND = "statewise.model"


def write_model(path: str | Path, architecture: Architecture, arrays: Mapping[str, Array]) -> None:
    """Write a model file, whole or not at all."""
    metadata = {
        "architecture": architecture.to_json(),
        "fingerprint": architecture.fingerprint,
        "weights": checkpoint.fingerprint(arrays),
    }
    checkpoint.write(path, KIND, arrays, metadata)


def read_model(
    path: str | Path, cells: Iterable[type[Cell]] = ()
) -> tuple[Architecture, dict[str, Array]]:
    """The architecture and the weights of a model file, checked against each other.

    Raises:
        FileError: no model file, one that is truncated or altered, or weights that do not fit.
        ArchitectureError: an architecture that cannot be built, such as an unknown cell.
    """
    arrays, metadata = checkpoint.read(path, KIND)
    architecture = Architecture.from_json(metadata.get("architecture", ""), cells=cells)
    expected = {name: value.shape for name, value in architecture.parameters.items()}
    found = {name: tuple(array.shape) for name, array in arrays.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise FileError(
                f"{path} does not fit its own architecture: {name!r} is "
                f"{found.get(name, 'missing')}, expected {expected.get(name, 'nothing')}"
            )
    return architecture, arrays
