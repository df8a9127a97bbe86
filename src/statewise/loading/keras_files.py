"""`load_keras`: a Keras file, loaded without running code from it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from statewise.errors import ConversionError, FileError, StatewiseError
from statewise.extras import require
from statewise.loading.keras_backend import require_keras

_HDF = b"\x89HDF\r\n\x1a\n"
_FIRST_BYTES = {".keras": b"PK", ".h5": _HDF, ".hdf5": _HDF}
KERAS_SUFFIXES = tuple(_FIRST_BYTES)
_CODE = {"Lambda", "__lambda__", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer"}
"""Classes of Keras that run code which a file brings."""
_PACKAGES = {
    "activations", "constraints", "dtype_policies", "initializers", "layers", "losses", "metrics",
    "models", "ops", "optimizers", "quantizers", "random", "regularizers",
}  # fmt: skip
"""Packages of Keras whose classes make up a model. A file names no others: a function of
``keras.config``, say, could switch Keras's own safe mode off."""


def load_keras(
    path: str | Path, *, custom: Mapping[str, Any] | None = None, unsafe: bool = False
) -> Any:
    """The Keras model of a ``.keras`` or ``.h5`` file.

    The classes that the file names are checked before Keras reads it: code in it (a ``Lambda``)
    and classes that are not layers of Keras or their parts are refused.

    Arguments:
        path: the file.
        custom: classes of custom layers by name, from code of your own.
        unsafe: let the file run code: only for a file that you trust as you trust a program.

    Raises:
        FileError: no such file, or not a Keras model.
        ConversionError: code in the file, or a custom layer that was not given.
        MissingExtraError: Keras is not installed.
    """
    path = Path(path)
    config = _read_config(path)
    if not unsafe:
        _refuse_code(path, config, custom or {})
    keras = require_keras(f"reading {path}")
    try:
        return keras.saving.load_model(
            path, custom_objects=dict(custom or {}), compile=False, safe_mode=not unsafe
        )
    except Exception as error:
        raise FileError(f"{path} cannot be read as a Keras model: {_first_line(error)}") from error


def _read_config(path: Path) -> Any:
    """The JSON in which a file describes its model; nothing in it is run."""
    if not path.is_file():
        raise FileError(f"{path} does not exist; expected a .keras or .h5 file")
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        first_bytes = file.read(8)
    if suffix not in _FIRST_BYTES or not first_bytes.startswith(_FIRST_BYTES[suffix]):
        raise FileError(f"{path} is not a Keras model; expected a .keras or .h5 file")
    try:
        if suffix == ".keras":
            with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
                config = json.loads(archive.read("config.json"))
        else:
            h5py = require("h5py", "keras", f"reading {path}")
            with h5py.File(path) as opened:
                config = json.loads(opened.attrs["model_config"])
    except StatewiseError:
        raise
    except Exception as error:
        raise FileError(
            f"{path} holds no model that Keras saved ({_first_line(error)}); it may hold only "
            "weights"
        ) from error
    # The model is loaded without its loss and metrics, so what they name is not read.
    return {**config, "compile_config": None} if isinstance(config, dict) else config


def _refuse_code(path: Path, config: Any, custom: Mapping[str, Any]) -> None:
    for entry in _find_classes(config):
        name, module = str(entry["class_name"]), entry.get("module")
        if name in custom:
            continue
        if name in _CODE:
            raise ConversionError(
                f"{path} holds code (a {name}), which is not run; pass unsafe=True only if you "
                "trust whoever made the file"
            )
        if not _is_of_keras(module) or ">" in str(entry.get("registered_name")):
            where = f" of {module}" if module else ""
            raise ConversionError(
                f"{path} uses {name}{where}, which is not a layer of Keras; in Python pass "
                f"custom={{{name!r}: {name}}}, on the command line give a module:function that "
                "loads the file this way and returns the model"
            )


def _is_of_keras(module: Any) -> bool:
    """Whether a class of this module may be part of a model of Keras alone."""
    if module is None:  # old files name classes of Keras without a module
        return True
    package, *parts = str(module).split(".")
    parts = parts[1:] if parts[:1] == ["src"] else parts
    return package == "keras" and (not parts or parts[0] in _PACKAGES)


def _find_classes(config: Any) -> Iterator[Mapping[str, Any]]:
    """Every part of a configuration that names a class."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        for value in config.values():
            yield from _find_classes(value)
    elif isinstance(config, list):
        for value in config:
            yield from _find_classes(value)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
