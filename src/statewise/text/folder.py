"""The folder of a text model: the model file, with the vocabulary in its metadata."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from statewise import checkpoint
from statewise.architecture import Tokens
from statewise.cell import Cell
from statewise.errors import DataError, FileError
from statewise.runtime import Model
from statewise.runtime import load as load_model
from statewise.runtime.model import Weights
from statewise.text.vocabulary import Vocabulary
from statewise.weights import KIND, write_model

MODEL_FILE = "model.safetensors"

METADATA = "text"
"""What the vocabulary is called in the metadata of the model file."""


def make_folder(folder: str | Path) -> Path:
    """The folder, made if it does not exist.

    Raises:
        FileError: a folder that cannot be made.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make the folder {folder}: {error.strerror}") from error
    return folder


def write_text_model(folder: str | Path, vocabulary: Vocabulary, model: Model) -> None:
    """Write a model and its vocabulary into a folder."""
    extra = {METADATA: vocabulary.to_json()}
    write_model(make_folder(folder) / MODEL_FILE, model.architecture, model.weights(), extra)


def read_text_model(
    folder: str | Path, cells: Iterable[type[Cell]] = (), weights: Weights = "float32"
) -> tuple[Vocabulary, Model]:
    """What `write_text_model` wrote; the model's file itself may be named.

    Raises:
        FileError: no text model there, or one that is truncated or altered.
    """
    path = Path(folder)
    path = path if path.is_file() else path / MODEL_FILE
    if not path.is_file():
        raise FileError(f"{folder} holds no text model; train one with: statewise text train")
    model = load_model(path, cells=cells, weights=weights)
    vocabulary = read_vocabulary(path)
    inputs = model.architecture.inputs
    if not isinstance(inputs, Tokens) or inputs.size != len(vocabulary):
        raise FileError(f"the vocabulary in {path} does not fit its weights")
    return vocabulary, model


def read_vocabulary(path: Path) -> Vocabulary:
    """The vocabulary in the file of a text model."""
    written = checkpoint.read_metadata(path, KIND).get(METADATA)
    if written is None:
        raise FileError(
            f"{path} is a model without a vocabulary; expected what statewise text train wrote"
        )
    try:
        return Vocabulary.from_json(written)
    except (TypeError, ValueError, DataError) as error:
        raise FileError(f"the vocabulary in {path} cannot be read: {error}") from None
