"""Models of statewise, in torch and in NumPy"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from statewise import runtime
from statewise.architecture import Architecture, Vector
from statewise.check.subject import Inputs, Subject, UnavailableError, Way
from statewise.state import State

LINES = {
    "explicit": "y, state = model(x, state)",
    "reset": "y, state = model(x, state, reset=mask)",
    "padding": "y, state = model(x, state, lengths=lengths)",
    "held": "state.save('state.safetensors')",
}


def handles(model: Any) -> bool:
    """Whether this is a model of statewise."""
    return isinstance(getattr(model, "architecture", None), Architecture)


def subject(model: Any, _: tuple[int | None, ...] | None = None) -> Subject:
    """The model as the probes see it; its architecture says what it reads."""
    architecture = model.architecture
    reads = architecture.inputs
    wanted = (
        Inputs(reads.features) if isinstance(reads, Vector) else Inputs(None, tokens=reads.size)
    )
    layers = tuple(f"{i}: {type(cell).__name__}" for i, cell in enumerate(architecture.layers))
    version = f"statewise {importlib.metadata.version('statewise')}"
    return _Statewise(version, layers, wanted, explicit=True, lines=LINES, model=model)


@dataclass
class _Statewise(Subject):
    model: Any = None

    @property
    def _torch(self) -> bool:
        return hasattr(self.model, "train")

    def fresh(self) -> Subject:
        return self  # a model holds no state

    def ways(self) -> Mapping[str, Way]:
        found = {"call": self._way(self._called, "model(x)", evaluates=True)}
        if self._torch:
            found["train()"] = self._way(self._trained, "model.train(); model(x)")
        if isinstance(self.model, runtime.Model) or _torch_here():
            found["runtime"] = self._way(self._runtime, "statewise.load(path)(x)")
        return found

    def run(self, x: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
        return self._numpy(self._evaluating()(self._given(x), state))

    def step(self, x: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
        return self._numpy(self._evaluating().step(self._given(x), state))

    def leaves(self, state: Any) -> Mapping[str, np.ndarray]:
        held = state.numpy()
        return {name: np.array(held[name]) for name in held}

    def rebuilt(self, state: Any, leaves: Mapping[str, np.ndarray]) -> Any:
        made = State(leaves, np.asarray(state.numpy().position), origin=state.origin)
        return made.to("cpu") if self._torch else made

    def row_axes(self) -> dict[str, int]:
        names = self.leaves(self.run(self.inputs.draw(steps=1))[1])
        return dict.fromkeys(names, 0)

    def paddings(self) -> Mapping[str, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, Any]]]:
        return {
            "lengths": lambda x, n: self._numpy(
                self._evaluating()(self._given(x), None, lengths=n.tolist())
            )
        }

    def reloaded(self) -> Subject:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.safetensors"
            self.model.save(path)
            if not self._torch:
                return subject(runtime.load(path))
            from statewise import nn

            return subject(nn.load(path))

    def gradient(self, x: np.ndarray, cut: int, whole: bool) -> np.ndarray:
        if not self._torch:
            raise UnavailableError("the runtime computes no gradients")
        from statewise.check.adapters.torch import gradient_of

        model = self._evaluating()
        return gradient_of(model, x, cut, whole)

    def half(self) -> Mapping[str, str]:
        if not self._torch:
            raise UnavailableError("the runtime computes in float32")
        import torch

        from statewise import nn

        weights = {name: w.detach() for name, w in self.model.weights().items()}
        model = nn.Model(self.model.architecture, weights=weights, dtype=torch.bfloat16).eval()
        x = torch.as_tensor(self.inputs.draw())
        _, state = model(x.bfloat16() if x.is_floating_point() else x)
        return {name: str(leaf.dtype).removeprefix("torch.") for name, leaf in state.items()}

    def _evaluating(self) -> Any:
        return self.model.eval() if self._torch else self.model

    def _given(self, x: np.ndarray) -> Any:
        if not self._torch:
            floating = next((w.dtype for w in self.model.weights().values()), x.dtype)
            return x.astype(floating) if x.dtype.kind == "f" else x
        import torch

        weight = next(iter(self.model.parameters()), None)
        tensor = torch.as_tensor(x)
        return tensor.to(weight.dtype) if weight is not None and x.dtype.kind == "f" else tensor

    def _numpy(self, out: tuple[Any, Any]) -> tuple[np.ndarray, Any]:
        y, state = out
        return np.array(y.detach().numpy() if self._torch else y), state

    def _way(self, call: Callable[[np.ndarray], np.ndarray], code: str, **about: Any) -> Way:
        return Way(lambda xs, _: [call(x) for x in xs], code, **about)

    def _called(self, x: np.ndarray) -> np.ndarray:
        return self.run(x)[0]

    def _trained(self, x: np.ndarray) -> np.ndarray:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            y = self._numpy(self.model.train()(self._given(x)))[0]
        self.model.eval()
        return y

    def _runtime(self, x: np.ndarray) -> np.ndarray:
        arrays = {
            name: w.detach().float().numpy() if self._torch else w
            for name, w in self.model.weights().items()
        }
        model = runtime.Model(self.model.architecture, arrays)
        kind = next((w.dtype for w in arrays.values()), x.dtype)
        return model(x.astype(kind) if x.dtype.kind == "f" else x)[0]


def _torch_here() -> bool:
    return importlib.util.find_spec("torch") is not None
