"""Models of statewise, in torch and in NumPy"""

from __future__ import annotations

import copy
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise import runtime
from statewise.architecture import Vector
from statewise.check.subject import (
    CallMode,
    Inputs,
    PaddedRun,
    Subject,
    UnavailableError,
    call_each,
)
from statewise.state import State

SNIPPETS = {
    "explicit": "y, state = model(x, state)",
    "reset": "y, state = model(x, state, reset=mask)",
    "padding": "y, state = model(x, state, lengths=lengths)",
    "held": "state.save('state.safetensors')",
}


def make_subject(model: Any, _: tuple[int | None, ...] | None = None) -> StatewiseSubject:
    """The model as the probes see it; its architecture names its inputs."""
    architecture = model.architecture
    given = architecture.inputs
    inputs = Inputs(given.features) if isinstance(given, Vector) else Inputs(None, given.size)
    layers = tuple(f"{i}: {type(cell).__name__}" for i, cell in enumerate(architecture.layers))
    version = f"statewise {importlib.metadata.version('statewise')}"
    if not isinstance(model, runtime.Model):
        model = copy.deepcopy(model).cpu().eval()
    return StatewiseSubject(version, layers, inputs, explicit=True, snippets=SNIPPETS, model=model)


@dataclass
class StatewiseSubject(Subject):
    """A model of statewise. It holds no state, so there is nothing to restore."""

    model: Any = None

    @property
    def is_torch(self) -> bool:
        """Whether the model is one in torch."""
        return hasattr(self.model, "train")

    def restore(self) -> Subject:
        return self

    def find_call_modes(self) -> Mapping[str, CallMode]:
        modes = {"call": call_each(self._call, "model(x)", evaluates=True)}
        if self.is_torch:
            modes["train()"] = call_each(self._call_in_training, "model.train(); model(x)")
        modes["runtime"] = call_each(self._call_in_runtime, "statewise.load(path)(x)")
        return modes

    def run(self, x: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
        return self._to_numpy(self.model(self._make_inputs(x), state))

    def step(self, x: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
        return self._to_numpy(self.model.step(self._make_inputs(x), state))

    def read_state(self, state: Any) -> Mapping[str, np.ndarray]:
        return {name: np.array(array) for name, array in state.numpy().items()}

    def rebuild_state(self, state: Any, arrays: Mapping[str, np.ndarray]) -> Any:
        rebuilt = State(arrays, np.asarray(state.numpy().position), origin=state.origin)
        return rebuilt.to("cpu") if self.is_torch else rebuilt

    def find_row_axes(self) -> dict[str, int]:
        names = self.read_state(self.run(self.inputs.draw(steps=1))[1])
        return dict.fromkeys(names, 0)

    def find_padding_modes(self) -> Mapping[str, PaddedRun]:
        return {
            "lengths": lambda x, n: self._to_numpy(
                self.model(self._make_inputs(x), None, lengths=n.tolist())
            )
        }

    def compute_gradient(self, x: np.ndarray, cut: int, whole: bool) -> np.ndarray:
        if not self.is_torch:
            raise UnavailableError("the runtime computes no gradients")
        from statewise.check.adapters.torch_tensors import compute_gradient

        return compute_gradient(self.model, x, cut, whole)

    def run_in_bfloat16(self) -> Mapping[str, str]:
        if not self.is_torch:
            raise UnavailableError("the runtime keeps its state in float32")
        import torch

        from statewise import nn

        weights = {name: w.detach() for name, w in self.model.weights().items()}
        model = nn.Model(self.model.architecture, weights=weights, dtype=torch.bfloat16).eval()
        x = torch.as_tensor(self.inputs.draw())
        _, state = model(x.bfloat16() if x.is_floating_point() else x)
        return {name: str(leaf.dtype).removeprefix("torch.") for name, leaf in state.items()}

    def _make_inputs(self, x: np.ndarray) -> Any:
        if not self.is_torch:
            return x.astype(self.model.dtype) if x.dtype.kind == "f" else x
        import torch

        tensor = torch.as_tensor(x)
        return tensor.to(self.model.dtype) if x.dtype.kind == "f" else tensor

    def _to_numpy(self, out: tuple[Any, Any]) -> tuple[np.ndarray, Any]:
        y, state = out
        return np.array(y.detach().numpy() if self.is_torch else y), state

    def _call(self, x: np.ndarray) -> np.ndarray:
        return self.run(x)[0]

    def _call_in_training(self, x: np.ndarray) -> np.ndarray:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            y = self._to_numpy(self.model.train()(self._make_inputs(x)))[0]
        self.model.eval()
        return y

    def _call_in_runtime(self, x: np.ndarray) -> np.ndarray:
        arrays = {
            name: w.detach().float().numpy() if self.is_torch else w
            for name, w in self.model.weights().items()
        }
        model = runtime.Model(self.model.architecture, arrays)
        return model(x.astype(model.dtype) if x.dtype.kind == "f" else x)[0]
