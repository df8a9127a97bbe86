"""`convert`: a model from one file to another, with a run of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from statewise import checkpoint
from statewise.architecture import Tokens
from statewise.errors import ConversionError, FileError
from statewise.interop.keras_in import from_keras
from statewise.interop.keras_out import to_keras
from statewise.interop.onnx_chain import Chain
from statewise.interop.onnx_in import from_onnx, read_properties
from statewise.interop.onnx_out import to_onnx
from statewise.interop.onnx_run import compare_with_graph, run_graph
from statewise.interop.torch_in import compare_with_torch, from_torch
from statewise.loading import (
    MODEL_SUFFIXES,
    describe_foreign,
    framework_of,
    load_keras,
    load_model,
    load_onnx,
    require_keras,
)
from statewise.progress import Progress
from statewise.runtime import Model, load

ROWS, STEPS, SEED = 3, 20, 0
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Parity:
    """The largest differences between the models of a conversion, on the same random inputs.

    Arguments:
        read: the largest difference between the source's outputs and the statewise model's,
            relative to the largest output (to 1 where that is smaller).
        written: the same between the statewise model's and the target's, read back.
    """

    read: float
    written: float

    @property
    def largest(self) -> float:
        """The larger of both."""
        return max(self.read, self.written)


def convert(
    source: str | Path, target: str | Path, *, reset: bool = False, unsafe: bool = False
) -> Parity:
    """Convert a model into a file of another kind, which the extension names.

    Arguments:
        source: a ``.safetensors``, ``.keras``, ``.h5`` or ``.onnx`` file, or ``module:function``
            that returns a model of torch, Keras, ONNX or statewise.
        target: a ``.safetensors``, ``.keras``, ``.h5`` or ``.onnx`` file.
        reset: give an ONNX graph the input ``reset``.
        unsafe: let a Keras file run code: only for a file that you trust as you trust a program.

    Returns:
        the differences seen in a run of the source, the statewise model and the target.

    Raises:
        ConversionError: what cannot be carried over, or outputs that differ; then nothing is
            written.
        FileError: no model in the source, or a target that cannot be written.

    Example::

        sw.interop.convert("model.keras", "model.onnx")
    """
    target = Path(target)
    suffix = target.suffix.lower()
    if suffix not in MODEL_SUFFIXES:
        raise ConversionError(
            f"cannot write {target}: its extension must be one of {', '.join(MODEL_SUFFIXES)}"
        )
    if reset and suffix != ".onnx":
        raise ConversionError(f"reset=True is for an .onnx target, got {target}")
    with Progress(f"reading {source}") as progress:
        theirs = load_model(source, unsafe=unsafe)
        progress.update(description=f"converting {source}")
        model, reading = _convert_to_statewise(theirs, str(source))
        _check_difference(str(source), reading)
        progress.update(description=f"writing {target}")
        with checkpoint.replace_atomically(target) as temporary:
            _write(model, temporary, suffix, reset)
            writing = _compare_with_file(temporary, suffix, model)
            _check_difference(str(target), writing)
    return Parity(reading, writing)


def _check_difference(name: str, difference: float) -> None:
    if not difference <= TOLERANCE:
        raise ConversionError(
            f"{name} gives other outputs than the statewise model of it (largest difference "
            f"{difference:.3g}), so nothing was written; please report the model"
        )


def _convert_to_statewise(theirs: Any, source: str) -> tuple[Model, float]:
    """The statewise model of a model, and the largest difference between their outputs."""
    match framework_of(theirs):
        case "statewise":
            return _without_torch(theirs), 0.0
        case "keras":
            model = from_keras(theirs)
            return model, compare_with_keras(theirs, model)
        case "onnx":
            model = from_onnx(theirs)
            return model, _compare_with_graph(theirs, model, source)
        case "torch":
            trainable = from_torch(theirs)
            return _without_torch(trainable), compare_with_torch(theirs, trainable)
        case _:
            raise ConversionError(
                f"{source} must give a model of torch, Keras, ONNX or statewise, got "
                f"{describe_foreign(theirs)}"
            )


def _without_torch(model: Any) -> Model:
    """A model of statewise in NumPy."""
    if isinstance(model, Model):
        return model
    arrays = {name: value.detach().cpu().numpy() for name, value in model.weights().items()}
    return Model(model.architecture, arrays)


def draw_inputs(model: Model, rows: int = ROWS, steps: int = STEPS) -> np.ndarray:
    """Random inputs of a model, (rows, steps, ...), none of which Keras would mask."""
    rng = np.random.default_rng(SEED)
    inputs = model.architecture.inputs
    if isinstance(inputs, Tokens):
        return rng.integers(min(1, inputs.size - 1), inputs.size, (rows, steps))
    dtype = next(iter(model.weights().values())).dtype
    return rng.normal(size=(rows, steps, inputs.features)).astype(dtype)


def compare_with_keras(theirs: Any, model: Model) -> float:
    """The largest difference between the outputs of a Keras model and of a statewise model."""
    keras = require_keras("running a Keras model")
    shape = getattr(theirs, "input_shape", None) or (None, None)
    rows, steps = shape[0] or ROWS, (shape[1] if len(shape) > 1 else None) or STEPS
    x = draw_inputs(model, rows, steps)
    got = theirs(x, training=False)
    got = keras.ops.convert_to_numpy(got[0] if isinstance(got, (list, tuple)) else got)
    y, _ = model(x)
    return _relative_difference(np.asarray(got), y if got.ndim == 3 else y[:, -1])


def _compare_with_graph(graph: Any, model: Model, source: str) -> float:
    if read_properties(graph):
        return _compare_with_own_graph(graph, model)
    found = compare_with_graph(graph, model, Chain(graph, source))
    if found is None:
        raise ConversionError(
            f"{source} cannot be run here; install onnxruntime to compare the two"
        )
    return found


def _compare_with_own_graph(graph: Any, model: Model) -> float:
    """Compare a graph of `to_onnx` with its model, from a state that is not zero."""
    x = draw_inputs(model)
    y, state = model(x)
    if all(cell.causal for cell in model.architecture.layers):
        y, _ = model(x, state)
    else:
        state = model.initial_state(len(x))
    taken = {given.name for given in graph.graph.input}
    feed = {name: np.array(value) for name, value in state.items() if name in taken}
    feed["x"] = x
    if "reset" in taken:
        feed["reset"] = np.zeros(x.shape[:2], bool)
    got = run_graph(graph, feed)
    if got is None:
        raise ConversionError("the graph cannot be run here; install onnxruntime to compare it")
    return _relative_difference(got, y)


def _write(model: Model, path: Path, suffix: str, reset: bool) -> None:
    if suffix == ".safetensors":
        model.save(path)
    elif suffix == ".onnx":
        to_onnx(model, path, reset=reset)
    else:
        theirs = to_keras(model)
        try:
            theirs.save(path)
        except (OSError, ValueError) as error:
            raise FileError(f"Keras could not write the model: {error}") from error


def _compare_with_file(path: Path, suffix: str, model: Model) -> float:
    """The difference between a model and the file that was written of it, read back."""
    if suffix == ".safetensors":
        x = draw_inputs(model)
        return _relative_difference(load(path)(x)[0], model(x)[0])
    if suffix == ".onnx":
        return _compare_with_own_graph(load_onnx(path), model)
    return compare_with_keras(load_keras(path), model)


def _relative_difference(got: np.ndarray, y: np.ndarray) -> float:
    if got.shape != y.shape:
        return float("inf")
    scale = max(1.0, float(np.abs(y).max(initial=0.0)))
    return float(np.abs(got - y).max(initial=0.0)) / scale
