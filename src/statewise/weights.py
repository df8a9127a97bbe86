"""Model files: weights as safetensors, the architecture as metadata. See docs/formats.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from statewise import checkpoint
from statewise.architecture import Architecture
from statewise.cell import Cell
from statewise.errors import FileError
from statewise.types import Array, dtype_name

KIND = "statewise.model"


def write_model(
    path: str | Path,
    architecture: Architecture,
    arrays: Mapping[str, Array],
    extra: Mapping[str, str] | None = None,
) -> None:
    """Write a model file, whole or not at all; `extra` is further metadata."""
    metadata = {
        **(extra or {}),
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
    if "architecture" not in metadata:
        raise FileError(f"{path} states no architecture; it is not a whole model file")
    architecture = Architecture.from_json(metadata["architecture"], cells=cells)
    check_weights(architecture, arrays, f"the weights in {path}")
    return architecture, arrays


def check_weights(
    architecture: Architecture, arrays: Mapping[str, Array], source: str = "the weights"
) -> None:
    """Raise unless these are all the weights of an architecture, in one floating dtype."""
    expected = {name: value.shape for name, value in architecture.parameters.items()}
    found = {name: tuple(array.shape) for name, array in arrays.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise FileError(
                f"{source} do not fit the architecture: {name!r} is {found.get(name, 'missing')}, "
                f"expected {expected.get(name, 'nothing')}"
            )
    dtypes = sorted({dtype_name(array) for array in arrays.values()})
    if len(dtypes) > 1 or not all("float" in dtype for dtype in dtypes):
        raise FileError(f"{source} must have one floating dtype, got {', '.join(dtypes)}")
