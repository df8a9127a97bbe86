"""Reading and writing the files of statewise: safetensors with declared metadata.

Every file is written to a temporary name beside its target and renamed, so it appears whole or not
at all. The metadata names the kind of file, the version of its format and the SHA-256 of its
contents, so a file that was altered is refused. The formats are specified in docs/formats.md.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from statewise.errors import FileError, MissingExtraError
from statewise.types import Array, dtype_name, is_torch

VERSION = "1"

_DTYPES = {f"{kind}{bits}" for kind in ("float", "int") for bits in (16, 32, 64)}
_DTYPES |= {"bfloat16", "int8", "uint8", "bool"}


def write(
    path: str | Path, kind: str, arrays: Mapping[str, Array], metadata: Mapping[str, str]
) -> None:
    """Write named arrays as a safetensors file of a kind, whole or not at all."""
    held = {name: _held(name, array) for name, array in arrays.items()}
    full = {**metadata, "format": kind, "version": VERSION}
    full["sha256"] = _digest(held, full)
    with replace_atomically(path) as temporary:
        temporary.write_bytes(_packed(held, full))


def read(path: str | Path, kind: str) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays and the metadata of a file of a kind.

    Arrays are NumPy's, or torch's where the file holds bfloat16.

    Raises:
        FileError: no such file, another kind of file, or one that is truncated or altered.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    metadata = read_metadata(path, kind)
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            codes = {file.get_slice(name).get_dtype() for name in names}
        framework = "numpy"
        if "BF16" in codes:
            _need_torch(path)
            framework = "pt"
        with safe_open(path, framework=framework) as file:
            arrays = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    held = {name: _held(name, array) for name, array in arrays.items()}
    if metadata.get("sha256") != _digest(held, metadata):
        raise FileError(
            f"the contents of {path} do not match the SHA-256 it states: it was altered or damaged "
            "after it was written; copy it again from where it came"
        )
    return arrays, metadata


def read_metadata(path: str | Path, kind: str) -> dict[str, str]:
    """The metadata of a file of a kind, without reading or checking its arrays."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    try:
        if not path.is_file():
            what = "is a folder, not a file" if path.is_dir() else "does not exist"
            raise FileError(f"{path} {what}; expected a {kind} file")
        with safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    _check_kind(path, kind, metadata)
    return metadata


def fingerprint(arrays: Mapping[str, Array]) -> str:
    """Sixteen hexadecimal digits for named arrays: equal for equal names, dtypes and values."""
    return _digest({name: _held(name, array) for name, array in arrays.items()}, {})[:16]


@contextmanager
def replace_atomically(path: str | Path) -> Iterator[Path]:
    """A temporary path in the same folder that becomes `path` when the block ends well. When it
    does not, nothing is left of it, and what stood at `path` stands there still.

    Raises:
        FileError: a place that cannot be written.
    """
    target = Path(path)
    temporary = target.parent / f".{target.stem}-{secrets.token_hex(4)}{target.suffix}"
    try:
        if target.is_dir():
            raise FileError(f"cannot write {target}: it is a folder; name a file in it")
        if not target.parent.is_dir():
            raise FileError(f"cannot write {target}: there is no folder {target.parent}")
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise FileError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _check_kind(path: Path, kind: str, metadata: Mapping[str, str]) -> None:
    came = metadata.get("format")
    if came != kind:
        what = f"a {came} file" if came else "not a statewise file"
        raise FileError(f"{path} is {what}; expected a {kind} file")
    if metadata.get("version") != VERSION:
        raise FileError(
            f"{path} has version {metadata.get('version')} of the {kind} format; this statewise "
            f"reads version {VERSION}"
        )


def _unreadable(path: Path, error: Exception) -> FileError:
    return FileError(
        f"{path} is not a readable safetensors file ({error}); it may be truncated, copy it again"
    )


def _need_torch(path: Path) -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingExtraError("torch", "train", f"reading bfloat16 from {path}") from None


def _held(name: str, array: Array) -> Array:
    """The array in contiguous memory of the CPU: NumPy's, or torch's for bfloat16."""
    dtype = dtype_name(array)
    if dtype not in _DTYPES:
        raise FileError(f"{name!r} has dtype {dtype}, which is not among those that are saved")
    if not is_torch(array):
        return np.asarray(array, order="C")
    array = array.detach().cpu().contiguous()
    return array.clone() if dtype == "bfloat16" else np.asarray(array.numpy(), order="C")


def _packed(held: Mapping[str, Array], metadata: dict[str, str]) -> bytes:
    if any(is_torch(array) for array in held.values()):
        import safetensors.torch
        import torch

        tensors = {name: torch.as_tensor(array) for name, array in held.items()}
        return safetensors.torch.save(tensors, metadata)
    import safetensors.numpy

    return safetensors.numpy.save(dict(held), metadata)


def _digest(held: Mapping[str, Array], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(metadata.keys() - {"sha256"}):
        digest.update(f"{name} {len(metadata[name])} {metadata[name]}\n".encode())
    for name in sorted(held):
        array = held[name]
        digest.update(f"{name} {dtype_name(array)} {list(array.shape)}\n".encode())
        if is_torch(array):
            from torch import int16

            array = array.view(int16).numpy()
        digest.update(array.tobytes())
    return digest.hexdigest()
