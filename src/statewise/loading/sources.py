"""`load_model`: the model behind a path or ``module:attribute``, of whatever framework."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from statewise import runtime
from statewise.errors import FileError
from statewise.loading.keras_files import KERAS_SUFFIXES, load_keras
from statewise.loading.onnx_files import load_onnx
from statewise.loading.user_code import load_attribute

MODEL_SUFFIXES = (".safetensors", ".onnx", *KERAS_SUFFIXES)
MODEL_FILE = "model.safetensors"
ATTRIBUTE = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib")


def load_model(source: str | Path, *, unsafe: bool = False, trainable: bool = False) -> Any:
    """The model behind a path or ``module:attribute``.

    A file never runs code of its own: Keras files are searched for it first, and pickles are not
    read. ``module:attribute`` does run code, as importing the module does.

    Arguments:
        source: a model file of statewise or the folder that holds one, a ``.keras``, ``.h5`` or
            ``.onnx`` file, or ``module:attribute`` that is a model or a function that returns one.
        unsafe: let a Keras file run code: only for a file that you trust as you trust a program.
        trainable: give a model of statewise as a `statewise.nn.Model`, in torch.

    Returns:
        a model of its own framework; of statewise, a `statewise.runtime.Model`. An ``.onnx`` file
        gives the ``onnx.ModelProto``. What ``module:attribute`` gives is not checked, see
        `framework_of`.

    Raises:
        FileError: no file, or no model in it.
        ConversionError: a Keras file with code in it.
        InputError: an attribute that is not there, or a function that fails.
        MissingExtraError: the framework is not installed.

    Example::

        model = load_model("model.keras")
    """
    path, name = Path(source), str(source)
    if ATTRIBUTE.fullmatch(name) and not path.exists():
        return load_attribute(name)
    suffix = path.suffix.lower()
    if suffix in KERAS_SUFFIXES:
        return load_keras(path, unsafe=unsafe)
    if suffix == ".onnx":
        return load_onnx(path)
    if not path.exists():
        raise FileError(
            f"there is no file {path}; give a {', '.join(MODEL_SUFFIXES)} file, the folder of a "
            "forecaster or a text model, or module:function that returns a model"
        )
    if suffix == ".py":
        raise FileError(
            f"{path} is Python code; give {path.stem}:NAME, where NAME is a model or a function "
            "that returns one"
        )
    if suffix in PICKLES:
        raise FileError(
            f"{path} is not read: pickled files, as torch.save writes them, can run code when they "
            "are read; write a function that makes the model, calls load_state_dict(torch.load("
            f"'{path.name}', weights_only=True)) and returns it, and give it as module:function"
        )
    return load_statewise(path, trainable=trainable)


def load_statewise(path: str | Path, *, trainable: bool = False) -> Any:
    """The model in a file of statewise, or in the folder of a forecaster or a text model.

    Arguments:
        path: the file or the folder.
        trainable: give a `statewise.nn.Model`, in torch, instead of a `statewise.runtime.Model`.

    Raises:
        FileError: no model of statewise there.
    """
    file = find_model_file(path)
    if not trainable:
        return runtime.load(file)
    from statewise import nn

    return nn.load(file)


def find_model_file(path: str | Path) -> Path:
    """The model file of statewise at a path: the file itself, or the one in the folder.

    Raises:
        FileError: neither; the message says what to do with the file that is there.
    """
    path = Path(path)
    if path.is_dir():
        if (path / MODEL_FILE).is_file():
            return path / MODEL_FILE
        hint = ""
        if (path / "saved_model.pb").is_file():
            hint = "; it is a SavedModel of TensorFlow: save the Keras model as a .keras file"
        raise FileError(f"the folder {path} holds no {MODEL_FILE}{hint}")
    if not path.is_file():
        raise FileError(
            f"there is no file {path}; give a model file of statewise (.safetensors), or the "
            "folder of a forecaster or a text model"
        )
    suffix = path.suffix.lower()
    if suffix in MODEL_SUFFIXES and suffix != ".safetensors":
        raise FileError(
            f"{path} is not a model file of statewise; make one of it with: statewise convert "
            f"{path} {path.with_suffix('.safetensors')}"
        )
    return path


def is_keras_file(source: str | Path) -> bool:
    """Whether this is an existing file with an extension of Keras."""
    path = Path(source)
    return path.suffix.lower() in KERAS_SUFFIXES and path.is_file()
