"""Models of Keras, on the backend that is in use"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from statewise.check.subject import Inputs, Subject, UnavailableError, Way
from statewise.errors import InputError

LINES = {
    "reset": "for layer in model.layers: getattr(layer, 'reset_state', int)()",
    "padding": "model(x, mask=mask)",
    "held": "[np.array(v) for v in layer.states]",
    "explicit": "y, h, c = keras.layers.LSTM(units, return_state=True)(x, initial_state=[h, c])",
    "precision": "keras.layers.LSTM(units, dtype='float32')",
}
SILENT = {"dropout": 0.0, "recurrent_dropout": 0.0, "rate": 0.0}  # what would hide the state


def handles(model: Any) -> bool:
    """Whether this is a model or a layer of Keras."""
    import keras

    return isinstance(model, keras.layers.Layer)


def subject(model: Any, inputs: tuple[int | None, ...] | None = None) -> Subject:
    """A copy of the model, without dropout, as the probes see it.

    Raises:
        InputError: no recurrent layer, several inputs, or a shape that is not known.
    """
    import keras

    named = _recurrent(model)
    if not named:
        raise InputError("the model has no recurrent layer: none is a keras.layers.RNN")
    reads = _inputs(model, inputs)
    made = _copied(model, reads)
    made(_tensor(reads.draw()))  # builds what a layer builds on its first call
    if made is not model:
        made.set_weights(model.get_weights())
    found = _Keras(
        f"keras {keras.__version__} on {keras.backend.backend()}",
        tuple(f"{layer.name}: {type(layer).__name__}" for layer in named),
        reads,
        lines=LINES,
        model=made,
    )
    found.reset_all()
    found.begun = [np.array(keras.ops.convert_to_numpy(v)) for v in found.variables()]
    return found


@dataclass
class _Keras(Subject):
    model: Any = None
    begun: list[np.ndarray] = field(default_factory=list)
    exported: str = ""
    compiled: bool = False

    def fresh(self) -> Subject:
        for variable, value in zip(self.variables(), self.begun, strict=True):
            variable.assign(value)
        return self

    def variables(self) -> list[Any]:
        """Weights, seeds, and the states that layers hold, which Keras does not count."""
        held = [v for layer in _recurrent(self.model) for v in _states(layer)]
        return [*self.model.variables, *held]

    def ways(self) -> Mapping[str, Way]:
        import keras

        found = {
            "call": Way(lambda xs, _: [self._called(x) for x in xs], "model(x)"),
            "predict": Way(self._predicted, "model.predict(x)", many=True, evaluates=True),
            "evaluate": Way(self._evaluated, "model.evaluate(x, y)", many=True, evaluates=True),
            "fit": Way(self._fitted, "model.fit(x, y)", many=True, trains=True),
        }
        if keras.backend.backend() == "tensorflow":
            found["exported graph"] = Way(self._graph(), "model.export(path)")
        return found

    def paddings(self) -> Mapping[str, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, Any]]]:
        def masked(x: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, Any]:
            valid = np.arange(x.shape[1]) < lengths[:, None]
            return _array(self.model(_tensor(x), mask=_tensor(valid))), None

        return {"mask": masked}

    def reset(self) -> None:
        if not any(_states(layer) for layer in _recurrent(self.model)):
            raise UnavailableError("no layer holds a state")
        self.reset_all()

    def reset_all(self) -> None:
        """Put what the copy holds after its first call back to how layers are built."""
        for layer in _recurrent(self.model):
            if not _states(layer):
                continue
            if self.begun:
                layer.reset_state()
                continue
            initial = layer.get_initial_state(_states(layer)[0].shape[0])
            for variable, value in zip(_states(layer), _flat(initial), strict=True):
                variable.assign(value)

    def held(self) -> Mapping[str, np.ndarray]:
        return {
            f"{layer.name}.{i}": _array(variable)
            for layer in _recurrent(self.model)
            for i, variable in enumerate(_states(layer))
        }

    def reloaded(self) -> Subject:
        import keras

        own = {
            type(part).__name__: type(part)
            for layer in self.model._flatten_layers()
            for part in (layer, getattr(layer, "cell", layer))
            if not type(part).__module__.startswith("keras.")
        }
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            self.model.save(path)
            loaded = keras.models.load_model(path, own, compile=False, safe_mode=False)
        return _Keras(self.framework, self.layers, self.inputs, lines=LINES, model=loaded)

    def gradient(self, x: np.ndarray, cut: int, whole: bool) -> np.ndarray:
        import keras

        if whole and any(_states(layer) for layer in _recurrent(self.model)):
            self.reset_all()
        return _GRADIENTS[keras.backend.backend()](self.model, x, cut, whole)

    def half(self) -> Mapping[str, str]:
        import keras

        layer = next((one for one in _recurrent(self.model) if hasattr(one, "cell")), None)
        if layer is None:
            raise UnavailableError("its recurrent layers return no state")
        more = {"return_state": True, "stateful": False, "dtype": "mixed_bfloat16"}
        copy = type(layer).from_config({**layer.get_config(), **more})
        x = np.zeros((2, 3, layer.input.shape[-1]), np.float32)
        _, *state = copy(_tensor(x))
        kinds = [str(keras.backend.standardize_dtype(part.dtype)) for part in state]
        return dict(zip("hc" if len(kinds) == 2 else map(str, range(9)), kinds, strict=False))

    # How Keras is called

    def _called(self, x: np.ndarray) -> np.ndarray:
        return _array(self.model(_tensor(x)))

    def _predicted(self, batches: Sequence[np.ndarray], _: int) -> list[np.ndarray]:
        rows = len(batches[0])
        y = self.model.predict(np.concatenate(batches), batch_size=rows, verbose=0)
        return np.split(np.asarray(y, np.float32), len(batches))

    def _evaluated(self, batches: Sequence[np.ndarray], _: int) -> list[np.ndarray]:
        losses = _losses()
        x, y, rows = self._data(batches)
        self.model.evaluate(x, y, batch_size=rows, verbose=0, callbacks=[losses])
        return list(losses.seen)

    def _fitted(self, batches: Sequence[np.ndarray], epochs: int) -> list[np.ndarray]:
        losses = _losses()
        x, y, rows = self._data(batches)
        self.model.fit(
            x, y, batch_size=rows, epochs=epochs, shuffle=False, verbose=0, callbacks=[losses]
        )
        return list(losses.seen)

    def _data(self, batches: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, int]:
        """Inputs and targets; a learning rate of zero leaves the weights as they are."""
        import keras

        if not self.compiled:
            self.model.compile(loss="mse", optimizer=keras.optimizers.SGD(0.0))
            self.compiled = True
        x = np.concatenate(batches)
        shape = self.model.compute_output_shape(x.shape)
        return x, np.full((len(x), *shape[1:]), 0.5, np.float32), len(batches[0])

    def _graph(self) -> Callable[[Sequence[np.ndarray], int], list[np.ndarray]]:
        loaded: list[Any] = []

        def serve(batches: Sequence[np.ndarray], _: int) -> list[np.ndarray]:
            import tensorflow as tf

            if not self.exported:
                self.folder = tempfile.TemporaryDirectory()  # goes with this adapter
                self.exported = str(Path(self.folder.name) / "graph")
                self.model.export(self.exported, verbose=False)
            if not loaded:
                loaded.append(tf.saved_model.load(self.exported))
            return [np.asarray(loaded[0].serve(tf.constant(x))) for x in batches]

        return serve


def _losses() -> Any:
    """A callback that keeps the loss of every batch, taken from the running means it is told."""
    import keras

    class Losses(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[np.ndarray] = []
            self._sum = 0.0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            before = self._sum if batch else 0.0
            self._sum = float(logs["loss"]) * (batch + 1)
            self.seen.append(np.array([self._sum - before]))

        on_test_batch_end = on_train_batch_end

    return Losses()


def _recurrent(model: Any) -> list[Any]:
    import keras

    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN)]


def _flat(states: Any) -> list[Any]:
    import keras

    return [] if states is None else list(keras.tree.flatten(states))


def _states(layer: Any) -> list[Any]:
    return [v for v in _flat(getattr(layer, "states", None)) if v is not None]


def _array(tensor: Any) -> np.ndarray:
    import keras

    if isinstance(tensor, (list, tuple)):
        tensor = tensor[0]  # outputs come before states
    return np.array(keras.ops.convert_to_numpy(tensor))


def _tensor(x: np.ndarray) -> Any:
    import keras

    return keras.ops.convert_to_tensor(x)


def _inputs(model: Any, shape: tuple[int | None, ...] | None) -> Inputs:
    import keras

    parts = getattr(model, "inputs", None)
    if parts is not None and len(parts) > 1:
        names = ", ".join(part.name for part in parts)
        raise InputError(
            f"the model takes several inputs ({names}); check a model of one sequence input"
        )
    tokens = next(
        (one for one in model._flatten_layers() if isinstance(one, keras.layers.Embedding)), None
    )
    if shape is None:
        if parts:
            shape = tuple(parts[0].shape)
        elif getattr(model, "input_spec", None) is not None and model.built:
            shape = tuple(model.input_spec[0].shape)
        elif isinstance(model, keras.layers.RNN):
            shape = (None, None, 3)
        else:
            raise InputError("the model is not built; give its --inputs rows,steps,features")
    if len(shape) not in (2, 3):
        raise InputError(f"the model reads {shape}; the check makes (rows, steps, features)")
    features = shape[2] if len(shape) == 3 else None
    return Inputs(features, tokens.input_dim if tokens else 2, shape[0], shape[1])


def _copied(model: Any, reads: Inputs) -> Any:
    """A functional copy without dropout; the model itself where Keras cannot copy it."""
    import keras

    def silenced(layer: Any) -> Any:
        config = layer.get_config()
        return type(layer).from_config({**config, **{k: SILENT[k] for k in SILENT if k in config}})

    if isinstance(model, (keras.Sequential, keras.src.models.functional.Functional)):
        made = keras.models.clone_model(model, clone_function=silenced)
        if len(made.outputs) > 1:
            made = keras.Model(made.inputs, made.outputs[0])
        return made
    if isinstance(model, keras.Model):
        return model
    inputs = keras.Input(batch_shape=(reads.rows, reads.steps, reads.features))
    layer = silenced(model)
    out = layer(inputs)
    if model.built:
        layer.set_weights(model.get_weights())
    model.built or model.build((reads.rows, reads.steps, reads.features))
    return keras.Model(inputs, out[0] if isinstance(out, (list, tuple)) else out)


def _weighted(y: Any, steps: int) -> Any:
    """A fixed sum of the last steps' outputs."""
    import keras

    part = y[:, -steps:] if len(y.shape) > 2 else y
    size = int(np.prod(part.shape))
    weights = np.linspace(-1, 1, size, dtype=np.float32).reshape(tuple(part.shape))
    return keras.ops.sum(part * _tensor(weights))


def _tensorflow(model: Any, x: np.ndarray, cut: int, whole: bool) -> np.ndarray:
    import tensorflow as tf

    before, after = tf.constant(x[:, :cut]), tf.constant(x[:, cut:])
    with tf.GradientTape() as tape:
        tape.watch(before)
        y = model(tf.concat([before, after], 1)) if whole else (model(before), model(after))[1]
        loss = _weighted(y, after.shape[1])
    found = tape.gradient(loss, before)
    return np.zeros_like(x[:, :cut]) if found is None else np.asarray(found)


def _torch(model: Any, x: np.ndarray, cut: int, whole: bool) -> np.ndarray:
    from statewise.check.adapters.torch import gradient_of

    return gradient_of(lambda x, _: (model(x), None), x, cut, whole)


def _jax(*_: Any) -> np.ndarray:
    raise UnavailableError(
        "on JAX a held state is changed outside of what is differentiated: stateless_call passes it"
    )


_GRADIENTS = {"tensorflow": _tensorflow, "torch": _torch, "jax": _jax}
