"""TARGET of the command: a file or ``module:callable``, as a model"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from statewise import runtime
from statewise.errors import FileError, InputError, MissingExtraError, StatewiseError


def load(target: str, *, unsafe: bool = False) -> Any:
    """The model behind a target.

    Arguments:
        target: a model file of statewise, ``.keras``, ``.h5`` or ``.onnx``, or ``module:callable``
            that returns a model.
        unsafe: let a Keras file bring code of its own (a lambda); never otherwise.

    Raises:
        FileError: no file, or no model in it.
        InputError: a callable that is not there or fails.
        MissingExtraError: the framework is not installed.
    """
    path = Path(target)
    if is_keras(target):
        return _keras(_existing(path), unsafe)
    if path.suffix == ".onnx":
        return _onnx(_existing(path))
    if ":" in target and not path.exists():
        return _called(target)
    return _statewise(_existing(path))


def is_keras(target: str) -> bool:
    """A file of Keras, by its ending."""
    return Path(target).suffix in (".keras", ".h5", ".hdf5")


def expectation(given: str | None) -> str | dict[str, Any] | None:
    """``carry``, ``reset``, or what a JSON file of fact -> answer holds."""
    if given is None or given in ("carry", "reset"):
        return given
    path = _existing(Path(given))
    try:
        wanted = json.loads(path.read_text())
    except ValueError as error:
        raise FileError(f"{given} is not JSON ({error}); it maps facts to answers") from error
    if not isinstance(wanted, dict) or not all(
        isinstance(answer, str)
        or (isinstance(answer, list) and all(isinstance(one, str) for one in answer))
        for answer in wanted.values()
    ):
        raise FileError(
            f'{given} must map facts to answers, such as {{"carry.call": "reset", '
            '"padding.*": ["ignored", "seen"]}'
        )
    return wanted


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileError(
            f"there is no file {path}; give a model file of statewise, or module:callable"
        )
    return path


def _statewise(path: Path) -> Any:
    try:
        from statewise import nn
    except MissingExtraError:
        return runtime.load(path)
    return nn.load(path)


def _called(target: str) -> Any:
    name, _, attribute = target.partition(":")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as python -m does
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"{name} cannot be imported ({error})") from error
    except Exception as error:
        raise InputError(f"importing {name} raised {type(error).__name__}: {error}") from error
    try:
        make = getattr(module, attribute)
    except AttributeError:
        raise InputError(f"{name} has no {attribute!r}; write module:callable") from None
    if not isinstance(make, type) and not hasattr(make, "__name__"):
        return make  # a model itself
    try:
        return make()
    except StatewiseError:
        raise
    except Exception as error:
        raise InputError(
            f"{target} raised {type(error).__name__}: {error}; it is called without arguments and "
            "returns a model"
        ) from error


def _keras(path: Path, unsafe: bool) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keras = imported("keras", "keras", f"reading {path}")
    try:
        return keras.models.load_model(path, compile=False, safe_mode=not unsafe)
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise FileError(
            f"Keras cannot load {path}: {said}; layers of your own are found where a "
            "module:callable imports them and returns the model, and code inside a file runs only "
            "with --unsafe"
        ) from error


def _onnx(path: Path) -> Any:
    onnx = imported("onnx", "onnx", f"reading {path}")
    imported("onnxruntime", "onnx", f"running {path}")
    from statewise.check.adapters.onnx import Graph

    try:
        onnx.checker.check_model(str(path))
        return Graph.load(path)
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise FileError(f"{path} is not a sound ONNX model: {said}") from error


def imported(package: str, extra: str, purpose: str) -> Any:
    """An optional package, or the error that names its extra."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(package, extra, purpose) from error
