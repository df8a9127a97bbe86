"""Reading and writing the files of statewise: safetensors with declared metadata.

Every file is written to a temporary name beside its target and renamed, so it appears whole or not
at all. The metadata names the kind of file, the version of its format and the SHA-256 of its
contents, so a file that was altered is refused. The formats are specified in docs/formats.md.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from statewise.errors import FileError
from statewise.extras import require
from statewise.types import Array, dtype_name, is_torch

VERSION = "1"

_DTYPES = {f"{kind}{bits}" for kind in ("float", "int") for bits in (16, 32, 64)}
_DTYPES |= {"bfloat16", "int8", "uint8", "bool"}


def write(
    path: str | Path, kind: str, arrays: Mapping[str, Array], metadata: Mapping[str, str]
) -> None:
    """Write named arrays as a safetensors file of a kind, whole or not at all."""
    data = dumps(kind, arrays, metadata)
    with replace_atomically(path) as temporary:
        temporary.write_bytes(data)


def dumps(kind: str, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """The bytes of the file that `write` writes."""
    plain = {name: _as_plain(name, array) for name, array in arrays.items()}
    full = {**metadata, "format": kind, "version": VERSION}
    full["sha256"] = _digest(plain, full)
    return _serialize(plain, full)


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
        with safe_open(path, framework=_framework(codes, str(path))) as file:
            arrays = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise _unreadable(str(path), error) from error
    _check_digest(arrays, metadata, str(path))
    return arrays, metadata


def loads(
    data: bytes, kind: str, source: str = "the data"
) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays and the metadata that `dumps` wrote, as `read` gives them.

    Arguments:
        data: the bytes.
        kind: the kind of file.
        source: what messages call the bytes.

    Raises:
        FileError: bytes of another kind, truncated or altered.
    """
    from safetensors import SafetensorError

    data = bytes(data)
    header = _read_header(data, source)
    metadata = dict(header.pop("__metadata__", {}))
    _check_kind(source, kind, metadata)
    framework = _framework({entry["dtype"] for entry in header.values()}, source)
    try:
        arrays: dict[str, Array] = import_module(f"safetensors.{_MODULES[framework]}").load(data)
    except SafetensorError as error:
        raise _unreadable(source, error) from error
    _check_digest(arrays, metadata, source)
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
        raise _unreadable(str(path), error) from error
    _check_kind(str(path), kind, metadata)
    return metadata


def fingerprint(arrays: Mapping[str, Array]) -> str:
    """Sixteen hexadecimal digits for named arrays: equal for equal names, dtypes and values."""
    return _digest({name: _as_plain(name, array) for name, array in arrays.items()}, {})[:16]


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


def _check_kind(source: str, kind: str, metadata: Mapping[str, str]) -> None:
    came = metadata.get("format")
    if came != kind:
        what = f"a {came} file" if came else "not a statewise file"
        raise FileError(f"{source} is {what}; expected a {kind} file")
    if metadata.get("version") != VERSION:
        raise FileError(
            f"{source} has version {metadata.get('version')} of the {kind} format; this statewise "
            f"reads version {VERSION}"
        )


def _check_digest(arrays: Mapping[str, Array], metadata: Mapping[str, str], source: str) -> None:
    plain = {name: _as_plain(name, array) for name, array in arrays.items()}
    if metadata.get("sha256") != _digest(plain, metadata):
        raise FileError(
            f"the contents of {source} do not match the SHA-256 it states: it was altered or "
            "damaged after it was written; copy it again from where it came"
        )


def _read_header(data: bytes, source: str) -> dict[str, Any]:
    """The header of safetensors: eight bytes for its length, then JSON."""
    length = int.from_bytes(data[:8], "little")
    try:
        header: dict[str, Any] = dict(json.loads(data[8 : 8 + length]))
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        if all("dtype" in entry for entry in tensors):
            return header
    except (ValueError, TypeError) as error:
        raise _unreadable(source, error) from error
    raise _unreadable(source, ValueError("its header is no table of tensors"))


def _unreadable(source: str, error: Exception) -> FileError:
    return FileError(
        f"{source} is not a readable safetensors file ({error}); it may be truncated, copy it again"
    )


def _framework(codes: Collection[str], source: str) -> str:
    """The library, as safetensors calls it, whose arrays can hold these dtypes."""
    if "BF16" not in codes:
        return "numpy"
    require("torch", "train", f"reading bfloat16 from {source}")
    return "pt"


_MODULES = {"numpy": "numpy", "pt": "torch"}


def _as_plain(name: str, array: Array) -> Array:
    """The array in contiguous memory of the CPU: NumPy's, or torch's for bfloat16."""
    dtype = dtype_name(array)
    if dtype not in _DTYPES:
        raise FileError(f"{name!r} has dtype {dtype}, which is not among those that are saved")
    if not is_torch(array):
        return np.asarray(array, order="C")
    array = array.detach().cpu().contiguous()
    return array.clone() if dtype == "bfloat16" else np.asarray(array.numpy(), order="C")


def _serialize(plain: Mapping[str, Array], metadata: dict[str, str]) -> bytes:
    if any(is_torch(array) for array in plain.values()):
        import safetensors.torch
        import torch

        tensors = {name: torch.as_tensor(array) for name, array in plain.items()}
        return safetensors.torch.save(tensors, metadata)
    import safetensors.numpy

    return safetensors.numpy.save(dict(plain), metadata)


def _digest(plain: Mapping[str, Array], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(metadata.keys() - {"sha256"}):
        digest.update(f"{name} {len(metadata[name])} {metadata[name]}\n".encode())
    for name in sorted(plain):
        array = plain[name]
        digest.update(f"{name} {dtype_name(array)} {list(array.shape)}\n".encode())
        if is_torch(array):
            from torch import int16

            array = array.view(int16).numpy()
        digest.update(array.tobytes())
    return digest.hexdigest()
