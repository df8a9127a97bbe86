"""`KerasSubject`: a model of Keras as the probes see it"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from statewise.check.adapters.keras_gradients import compute_gradient
from statewise.check.adapters.keras_layers import (
    flatten,
    list_recurrent,
    list_states,
    to_array,
    to_tensor,
)
from statewise.check.subject import CallMode, PaddedRun, Subject, UnavailableError, call_each


@dataclass
class KerasSubject(Subject):
    """A model of Keras.

    Arguments:
        model: the copy that runs.
        initial_values: the values of all its variables, from which it is restored.
    """

    model: Any = None
    initial_values: list[np.ndarray] = field(default_factory=list)
    exported: tempfile.TemporaryDirectory[str] | None = None
    compiled: bool = False

    def restore(self) -> Subject:
        for variable, value in zip(self.list_variables(), self.initial_values, strict=True):
            variable.assign(value)
        return self

    def list_variables(self) -> list[Any]:
        """Weights, seeds, and the states that layers hold, which ``model.variables`` leaves out."""
        held = [v for layer in list_recurrent(self.model) for v in list_states(layer)]
        return [*self.model.variables, *held]

    def find_call_modes(self) -> Mapping[str, CallMode]:
        import keras

        modes = {
            "call": call_each(self._call, "model(x)"),
            "predict": CallMode(
                self._predict, "model.predict(x)", takes_batches=True, evaluates=True
            ),
            "evaluate": CallMode(
                self._evaluate, "model.evaluate(x, y)", takes_batches=True, evaluates=True
            ),
            "fit": CallMode(self._fit, "model.fit(x, y)", takes_batches=True, trains=True),
        }
        if keras.backend.backend() == "tensorflow":
            modes["exported graph"] = CallMode(self._make_graph_mode(), "model.export(path)")
        return modes

    def find_padding_modes(self) -> Mapping[str, PaddedRun]:
        def run_masked(x: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, Any]:
            valid = np.arange(x.shape[1]) < lengths[:, None]
            return to_array(self.model(to_tensor(x), mask=to_tensor(valid))), None

        return {"mask": run_masked}

    def reset(self) -> None:
        if not any(list_states(layer) for layer in list_recurrent(self.model)):
            raise UnavailableError("no layer holds a state")
        self.reset_all()

    def reset_all(self) -> None:
        """Reset every layer that holds a state; before the first call, to its initial state."""
        for layer in list_recurrent(self.model):
            if not list_states(layer):
                continue
            if self.initial_values:
                layer.reset_state()
                continue
            initial = layer.get_initial_state(list_states(layer)[0].shape[0])
            for variable, value in zip(list_states(layer), flatten(initial), strict=True):
                variable.assign(value)

    def read_held_state(self) -> Mapping[str, np.ndarray]:
        return {
            f"{layer.name}.{i}": to_array(variable)
            for layer in list_recurrent(self.model)
            for i, variable in enumerate(list_states(layer))
        }

    def save_and_load(self) -> Subject:
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
        return KerasSubject(
            self.framework, self.layers, self.inputs, snippets=self.snippets, model=loaded
        )

    def compute_gradient(self, x: np.ndarray, cut: int, whole: bool) -> np.ndarray:
        if whole and any(list_states(layer) for layer in list_recurrent(self.model)):
            self.reset_all()
        return compute_gradient(self.model, x, cut, whole)

    def run_in_bfloat16(self) -> Mapping[str, str]:
        import keras

        layer = next((one for one in list_recurrent(self.model) if hasattr(one, "cell")), None)
        if layer is None:
            raise UnavailableError("the recurrent layers return no state")
        more = {"return_state": True, "stateful": False, "dtype": "mixed_bfloat16"}
        copy = type(layer).from_config({**layer.get_config(), **more})
        x = np.zeros((2, 3, layer.input.shape[-1]), np.float32)
        _, *state = copy(to_tensor(x))
        kinds = [str(keras.backend.standardize_dtype(part.dtype)) for part in state]
        return dict(zip("hc" if len(kinds) == 2 else map(str, range(9)), kinds, strict=False))

    # How Keras is called

    def _call(self, x: np.ndarray) -> np.ndarray:
        return to_array(self.model(to_tensor(x)))

    def _predict(self, batches: Sequence[np.ndarray], _: int) -> list[np.ndarray]:
        rows = len(batches[0])
        y = self.model.predict(np.concatenate(batches), batch_size=rows, verbose=0)
        return np.split(np.asarray(y, np.float32), len(batches))

    def _evaluate(self, batches: Sequence[np.ndarray], _: int) -> list[np.ndarray]:
        recorder = _make_loss_recorder()
        x, y, rows = self._make_data(batches)
        self.model.evaluate(x, y, batch_size=rows, verbose=0, callbacks=[recorder])
        return list(recorder.losses)

    def _fit(self, batches: Sequence[np.ndarray], epochs: int) -> list[np.ndarray]:
        recorder = _make_loss_recorder()
        x, y, rows = self._make_data(batches)
        self.model.fit(
            x, y, batch_size=rows, epochs=epochs, shuffle=False, verbose=0, callbacks=[recorder]
        )
        return list(recorder.losses)

    def _make_data(self, batches: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, int]:
        """Inputs and targets; a learning rate of zero leaves the weights as they are."""
        import keras

        if not self.compiled:
            self.model.compile(loss="mse", optimizer=keras.optimizers.SGD(0.0))
            self.compiled = True
        x = np.concatenate(batches)
        shape = self.model.compute_output_shape(x.shape)
        return x, np.full((len(x), *shape[1:]), 0.5, np.float32), len(batches[0])

    def _make_graph_mode(self) -> Callable[[Sequence[np.ndarray], int], list[np.ndarray]]:
        loaded: list[Any] = []

        def serve(batches: Sequence[np.ndarray], _: int) -> list[np.ndarray]:
            import tensorflow as tf

            if self.exported is None:
                self.exported = tempfile.TemporaryDirectory()  # removed with this subject
                self.model.export(self.exported.name, verbose=False)
            if not loaded:
                loaded.append(tf.saved_model.load(self.exported.name))
            return [np.asarray(loaded[0].serve(tf.constant(x))) for x in batches]

        return serve


def _make_loss_recorder() -> Any:
    """A callback that keeps the loss of every batch, computed from the running means."""
    import keras

    class Losses(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.losses: list[np.ndarray] = []
            self._sum = 0.0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            before = self._sum if batch else 0.0
            self._sum = float(logs["loss"]) * (batch + 1)
            self.losses.append(np.array([self._sum - before]))

        on_test_batch_end = on_train_batch_end

    return Losses()
