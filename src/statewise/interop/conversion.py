"""`convert`: a model from one file to another, with a run of both."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from statewise import checkpoint
from statewise.architecture import Tokens
from statewise.errors import ConversionError, FileError, StatewiseError
from statewise.interop.keras_file import keras_for, load_keras
from statewise.interop.keras_in import from_keras
from statewise.interop.keras_out import to_keras
from statewise.interop.onnx_chain import Chain
from statewise.interop.onnx_in import from_onnx, read
from statewise.interop.onnx_out import to_onnx
from statewise.interop.onnx_run import difference, first_output
from statewise.interop.torch_in import from_torch, torch_difference
from statewise.runtime import Model, load

KERAS = (".keras", ".h5", ".hdf5")
KINDS = (".safetensors", ".onnx", *KERAS)
ROWS, STEPS, SEED = 3, 20, 0
TOLERANCE = 1e-4
Differs: TypeAlias = Callable[[Model], float]


@dataclass(frozen=True)
class Parity:
    """How far the models of a conversion are from each other on the same random inputs.

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
    source: str, target: str | Path, *, reset: bool = False, unsafe: bool = False
) -> Parity:
    """Convert a model file into another kind, told by the extensions.

    Arguments:
        source: ``.safetensors``, ``.keras``, ``.h5``, ``.onnx``, or ``module:callable`` that
            returns a torch, Keras or statewise model.
        target: ``.safetensors``, ``.keras``, ``.h5`` or ``.onnx``.
        reset: give an ONNX graph the input ``reset``.
        unsafe: let a Keras file run code: only for a file that you trust as you trust a program.

    Returns:
        the differences seen in a run of the source, the statewise model and the target.

    Raises:
        ConversionError: what cannot be carried over, or outputs that differ; then nothing is
            written.

    Example::

        sw.interop.convert("model.keras", "model.onnx")
    """
    target = Path(target)
    kind = target.suffix.lower()
    if kind not in KINDS:
        raise ConversionError(
            f"cannot tell what {target} is to be; its extension must be one of {', '.join(KINDS)}"
        )
    if reset and kind != ".onnx":
        raise ConversionError("reset is an input of ONNX graphs; the target is not one")
    model, differs = _opened(source, unsafe)
    came = differs(model)
    _agree(source, came)
    with checkpoint.replace_atomically(target) as temporary:
        _write(model, temporary, kind, reset)
        written = _written(temporary, kind, model)
        _agree(str(target), written)
    return Parity(came, written)


def _same(_: Model) -> float:
    """A statewise model is what it is."""
    return 0.0


def _agree(name: str, off: float) -> None:
    if not off <= TOLERANCE:
        raise ConversionError(
            f"{name} gives other outputs than the statewise model of it (largest difference "
            f"{off:.3g}), so nothing was written; please report the model"
        )


def _opened(source: str, unsafe: bool) -> tuple[Model, Differs]:
    """The statewise model of a source, and what compares the two."""
    module, colon, name = source.partition(":")
    if colon and all(part.isidentifier() for part in module.split(".")) and name.isidentifier():
        return _made_by(module, name)
    kind = Path(source).suffix.lower()
    if kind == ".safetensors":
        return load(source), _same
    if kind in KERAS:
        theirs = load_keras(source, unsafe=unsafe)
        return from_keras(theirs), lambda model: keras_difference(theirs, model)
    if kind == ".onnx":
        return from_onnx(source), lambda model: _onnx_difference(source, model)
    raise ConversionError(
        f"cannot tell what {source} is; give a {', '.join(KINDS)} file, or module:callable for a "
        "model that code makes (a pickled torch file runs code when it is read, so it is not read)"
    )


def _made_by(module: str, name: str) -> tuple[Model, Differs]:
    """The model that a function of the user's returns."""
    source = f"{module}:{name}"
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        made = getattr(import_module(module), name)()
    except StatewiseError:
        raise
    except Exception as error:
        raise ConversionError(
            f"{source} gave no model: {type(error).__name__}: {error}; expected a function without "
            "arguments that returns one"
        ) from error
    origin = {base.__module__.partition(".")[0] for base in type(made).__mro__}
    if isinstance(made, Model):
        return made, _same
    if "statewise" in origin:
        arrays = {key: value.detach().cpu().numpy() for key, value in made.weights().items()}
        return Model(made.architecture, arrays), _same
    if "keras" in origin:
        return from_keras(made), lambda model: keras_difference(made, model)
    if "torch" in origin:
        found = from_torch(made)
        arrays = {key: value.detach().cpu().numpy() for key, value in found.weights().items()}
        return Model(found.architecture, arrays), lambda _: torch_difference(made, found)
    raise ConversionError(
        f"{source} returned {type(made).__name__}; expected a torch, Keras or statewise model"
    )


def inputs_of(model: Model, rows: int = ROWS, steps: int = STEPS) -> np.ndarray:
    """Random inputs that a model takes, (rows, steps, ...), none of which a mask leaves out."""
    rng = np.random.default_rng(SEED)
    inputs = model.architecture.inputs
    if isinstance(inputs, Tokens):
        return rng.integers(min(1, inputs.size - 1), inputs.size, (rows, steps))
    dtype = next(iter(model.weights().values())).dtype
    return rng.normal(size=(rows, steps, inputs.features)).astype(dtype)


def keras_difference(theirs: Any, model: Model) -> float:
    """The largest difference between a Keras model's outputs and a model's, on random inputs."""
    keras = keras_for("running a Keras model")
    given = getattr(theirs, "input_shape", None) or (None, None)
    rows, steps = given[0] or ROWS, (given[1] if len(given) > 1 else None) or STEPS
    x = inputs_of(model, rows, steps)
    got = theirs(x, training=False)
    got = keras.ops.convert_to_numpy(got[0] if isinstance(got, (list, tuple)) else got)
    y, _ = model(x)
    return _apart(np.asarray(got), y if got.ndim == 3 else y[:, -1])


def _onnx_difference(path: str, model: Model) -> float:
    made = read(path)
    if any(prop.key == "statewise.architecture" for prop in made.metadata_props):
        return _graph_difference(made, model)
    off = difference(made, model, Chain(made, path))
    if off is None:
        raise ConversionError(f"{path} cannot be run here; install onnxruntime to compare the two")
    return off


def _graph_difference(made: Any, model: Model) -> float:
    """How far a graph of `to_onnx` is from its model, from a state that is not zero."""
    x = inputs_of(model)
    y, state = model(x)
    if all(cell.causal for cell in model.architecture.layers):
        y, _ = model(x, state)
    else:
        state = model.initial_state(len(x))
    taken = {given.name for given in made.graph.input}
    feed = {name: np.array(value) for name, value in state.items() if name in taken}
    feed["x"] = x
    if "reset" in taken:
        feed["reset"] = np.zeros(x.shape[:2], bool)
    got = first_output(made, feed)
    if got is None:
        raise ConversionError("the graph cannot be run here; install onnxruntime to compare it")
    return _apart(got, y)


def _write(model: Model, path: Path, kind: str, reset: bool) -> None:
    if kind == ".safetensors":
        model.save(path)
    elif kind == ".onnx":
        to_onnx(model, path, reset=reset)
    else:
        theirs = to_keras(model)
        try:
            theirs.save(path)
        except (OSError, ValueError) as error:
            raise FileError(f"Keras could not write {path}: {error}") from error


def _written(path: Path, kind: str, model: Model) -> float:
    """What was written, read back and run."""
    if kind == ".safetensors":
        x = inputs_of(model)
        return _apart(load(path)(x)[0], model(x)[0])
    if kind == ".onnx":
        return _graph_difference(read(path), model)
    return keras_difference(load_keras(path), model)


def _apart(got: np.ndarray, y: np.ndarray) -> float:
    if got.shape != y.shape:
        return float("inf")
    scale = max(1.0, float(np.abs(y).max(initial=0.0)))
    return float(np.abs(got - y).max(initial=0.0)) / scale
