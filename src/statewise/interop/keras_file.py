"""Keras and its files: loaded without running code from them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from statewise.errors import ConversionError, FileError, MissingExtraError

MAGIC = {".h5": b"\x89HDF\r\n\x1a\n", ".hdf5": b"\x89HDF\r\n\x1a\n", ".keras": b"PK"}


def keras_for(purpose: str) -> Any:
    """Keras itself, on whichever backend it is set to."""
    try:
        import keras
    except ImportError as error:
        if getattr(error, "name", None) not in ("keras", None):
            raise MissingExtraError(
                f"Keras's backend ({error.name}; set KERAS_BACKEND to torch, jax or tensorflow)",
                "keras",
                purpose,
            ) from error
        raise MissingExtraError("keras", "keras", purpose) from None
    return keras


def load_keras(
    path: str | Path, *, custom: Mapping[str, Any] | None = None, unsafe: bool = False
) -> Any:
    """The Keras model of a ``.keras`` or ``.h5`` file.

    What the file names is looked at before Keras reads it: code in it (a ``Lambda``) and layers
    from elsewhere than Keras are refused.

    Arguments:
        path: the file.
        custom: classes of custom layers by name, from code of your own.
        unsafe: let the file run code: only for a file that you trust as you trust a program.

    Raises:
        FileError: no such file, or not a Keras model.
        ConversionError: code in the file, or a custom layer that was not given.
    """
    path = Path(path)
    config = _config(path)
    if not unsafe:
        _refuse_code(path, config, custom or {})
    keras = keras_for(f"reading {path}")
    try:
        return keras.saving.load_model(
            path, custom_objects=dict(custom or {}), compile=False, safe_mode=not unsafe
        )
    except Exception as error:
        raise FileError(f"{path} cannot be read as a Keras model: {_first_line(error)}") from error


def _config(path: Path) -> Any:
    """What a file says its model is, as JSON; nothing in it is run."""
    if not path.is_file():
        raise FileError(f"{path} does not exist; expected a .keras or .h5 file")
    magic = MAGIC.get(path.suffix.lower())
    with path.open("rb") as file:
        began = file.read(8)
    if magic is None or not began.startswith(magic):
        raise FileError(f"{path} is not a Keras model; expected a .keras or .h5 file")
    try:
        if path.suffix.lower() == ".keras":
            with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
                return json.loads(archive.read("config.json"))
        import h5py

        with h5py.File(path) as opened:
            return json.loads(opened.attrs["model_config"])
    except ImportError:
        raise MissingExtraError("h5py", "keras", f"reading {path}") from None
    except Exception as error:
        what = "holds no model that Keras saved"
        raise FileError(f"{path} {what} ({_first_line(error)}); it may be weights alone") from error


def _refuse_code(path: Path, config: Any, custom: Mapping[str, Any]) -> None:
    for entry in _entries(config):
        name, module = str(entry.get("class_name")), entry.get("module")
        own = module is None or str(module).partition(".")[0] == "keras"
        if name in ("Lambda", "__lambda__"):
            raise ConversionError(
                f"{path} holds code (a {name}), which is not run; pass unsafe=True (--unsafe) only "
                "if you trust whoever made the file"
            )
        if name not in custom and not (own and ">" not in str(entry.get("registered_name"))):
            where = f" of {module}" if module else ""
            raise ConversionError(
                f"{path} uses {name}{where}, which is not Keras's own; import the class and pass "
                f"it as custom={{{name!r}: {name}}}"
            )


def _entries(config: Any) -> Iterator[Mapping[str, Any]]:
    """Every part of a configuration that names a class."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        for value in config.values():
            yield from _entries(value)
    elif isinstance(config, list):
        for value in config:
            yield from _entries(value)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
