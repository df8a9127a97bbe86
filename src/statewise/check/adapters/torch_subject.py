"""`TorchSubject`: a module of torch as the probes see it"""

from __future__ import annotations

import copy
import inspect
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from statewise.check.adapters.torch_tensors import (
    compute_gradient,
    map_tensors,
    name_tensors,
    to_array,
)
from statewise.check.subject import CallMode, PaddedRun, Subject, UnavailableError, call_each
from statewise.errors import InputError

RESETS = ("reset_state", "reset_states", "reset_hidden", "reset")
METHODS = ("predict", "forecast", "evaluate")


@dataclass
class TorchSubject(Subject):
    """A module of torch.

    Arguments:
        model: the copy that runs.
        pristine: a copy that never runs, from which the model is restored.
        time_first: inputs and outputs are (T, B, F).
    """

    model: Any = None
    pristine: Any = None
    time_first: bool = False

    def restore(self) -> TorchSubject:
        return replace(self, model=copy.deepcopy(self.pristine))

    def find_call_modes(self) -> Mapping[str, CallMode]:
        import torch

        graphs: list[Any] = []

        def export(x: np.ndarray) -> np.ndarray:
            args = self.make_arguments(x)
            if not graphs:
                with _compile_in_temporary_folder():
                    graphs.append(torch.export.export(self.model, args).module())
            return self.read_outputs(graphs[0](*args))

        found = {
            "call": call_each(lambda x: self.call(x)[0], "model(x)", evaluates=True),
            "train()": call_each(self._call_in_training, "model.train(); model(x)"),
        }
        for name in METHODS:
            if callable(getattr(self.model, name, None)):
                found[name] = call_each(self._make_method(name), f"model.{name}(x)", evaluates=True)
        if isinstance(self.model, torch.nn.RNNCellBase):
            return found  # the check runs a cell step by step
        found["exported graph"] = call_each(export, "torch.export.export(model, (x,)).module()(x)")
        return found

    def run(self, x: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
        if not self.explicit:
            return super().run(x, state)
        return self.call(x, state)

    def read_state(self, state: Any) -> Mapping[str, np.ndarray]:
        return {name: to_array(leaf) for name, leaf in name_tensors(state)}

    def rebuild_state(self, state: Any, arrays: Mapping[str, np.ndarray]) -> Any:
        import torch

        values = iter(
            torch.tensor(arrays[name]).to(leaf.dtype) for name, leaf in name_tensors(state)
        )
        return map_tensors(state, lambda _: next(values))

    def find_padding_modes(self) -> Mapping[str, PaddedRun]:
        import torch

        if isinstance(self.model, torch.nn.RNNBase):
            return {"packed": self._run_packed}
        names = list(inspect.signature(self.model.forward).parameters)
        return {
            name: (lambda x, n, name=name: self._run_with(name, x, n))  # type: ignore[misc]
            for name in names
            if "mask" in name or "length" in name
        }

    def reset(self) -> None:
        for name in RESETS:
            method = getattr(self.model, name, None)
            if callable(method):
                method()
                return
        super().reset()

    def read_held_state(self) -> Mapping[str, np.ndarray]:
        import torch

        return {
            name: to_array(value)
            for module in self.model.modules()
            for name, value in vars(module).items()
            if isinstance(value, torch.Tensor)
        }

    def save_and_load(self) -> Subject:
        import torch

        file = io.BytesIO()
        torch.save(self.model.state_dict(), file)
        file.seek(0)
        loaded = self.restore()
        loaded.model.load_state_dict(torch.load(file, weights_only=True))
        return loaded

    def compute_gradient(self, x: np.ndarray, cut: int, whole: bool) -> np.ndarray:
        return compute_gradient(
            lambda x, state: self.split_outputs(self.forward(x, state)), x, cut, whole
        )

    def run_in_bfloat16(self) -> Mapping[str, str]:
        import torch

        if not self.explicit:
            raise UnavailableError("the model returns no state")
        with torch.autocast("cpu", torch.bfloat16):
            _, state = self.call(self.inputs.draw())
        return {name: str(leaf.dtype).removeprefix("torch.") for name, leaf in name_tensors(state)}

    # How torch is called

    def make_arguments(self, x: np.ndarray) -> tuple[Any, ...]:
        """The arguments of a call without a state, for inputs (B, T, F)."""
        return self.arrange_inputs(self.make_tensor(x))

    def make_tensor(self, x: np.ndarray) -> Any:
        """The inputs as a tensor in the dtype of the weights."""
        import torch

        weight = next((p for p in self.model.parameters() if p.is_floating_point()), None)
        tensor = torch.tensor(x)
        return tensor.to(weight.dtype) if weight is not None and x.dtype.kind == "f" else tensor

    def arrange_inputs(self, x: Any) -> tuple[Any, ...]:
        """The inputs in the layout of the module."""
        return (x.swapaxes(0, 1) if self.time_first else x,)

    def forward(self, x: Any, state: Any = None, **more: Any) -> Any:
        """One call of the module; a cell is called step by step."""
        import torch

        if isinstance(self.model, torch.nn.RNNCellBase):
            ys = []
            for x_t in x.unbind(1):
                state = self.model(x_t, state)
                ys.append(state[0] if isinstance(state, tuple) else state)
            return torch.stack(ys, dim=1), state
        args = self.arrange_inputs(x) if state is None else (*self.arrange_inputs(x), state)
        return self.model(*args, **more)

    def split_outputs(self, out: Any) -> tuple[Any, Any]:
        """Outputs (B, T, O) or (B, O), and the state, None where the module returns none."""
        import torch

        y, state = (
            (out[0], out[1]) if isinstance(out, (tuple, list)) and len(out) == 2 else (out, None)
        )
        if not isinstance(y, torch.Tensor):
            raise InputError(
                f"{type(self.model).__name__} returns {type(y).__name__}; the check reads a tensor "
                "of outputs, or a tuple of outputs and state"
            )
        return (y.swapaxes(0, 1) if self.time_first and y.ndim > 2 else y), state

    def call(self, x: np.ndarray, state: Any = None, **more: Any) -> tuple[np.ndarray, Any]:
        """Outputs and state of one call, without a gradient."""
        import torch

        with torch.no_grad():
            y, state = self.split_outputs(self.forward(self.make_tensor(x), state, **more))
        return to_array(y), state

    def read_outputs(self, out: Any) -> np.ndarray:
        """The outputs alone, as an array."""
        return to_array(self.split_outputs(out)[0])

    def _call_in_training(self, x: np.ndarray) -> np.ndarray:
        import torch

        self.model.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            y = self.read_outputs(self.forward(self.make_tensor(x)))
        self.model.eval()
        return y

    def _make_method(self, name: str) -> Callable[[np.ndarray], np.ndarray]:
        return lambda x: self.read_outputs(getattr(self.model, name)(*self.make_arguments(x)))

    def _run_packed(self, x: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, Any]:
        import torch
        from torch.nn.utils import rnn

        first = self.model.batch_first
        packed = rnn.pack_padded_sequence(
            self.make_arguments(x)[0],
            torch.tensor(lengths),
            first,
            enforce_sorted=False,
        )
        with torch.no_grad():
            out, state = self.model(packed)
        y, _ = rnn.pad_packed_sequence(out, first, total_length=x.shape[1])
        return to_array(y.swapaxes(0, 1) if self.time_first else y), state

    def _run_with(self, name: str, x: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, Any]:
        """Run with an argument of the module's own: lengths, or a mask that is True for data; one
        whose name speaks of padding is True for padding.
        """
        import torch

        valid = np.arange(x.shape[1]) < lengths[:, None]
        value = lengths if "length" in name else ~valid if "pad" in name else valid
        y, state = self.call(x, **{name: torch.tensor(value)})
        return y, state if self.explicit else None


@contextmanager
def _compile_in_temporary_folder() -> Iterator[None]:
    """Within the block torch's compiler keeps its files in a folder that is removed afterwards."""
    name = "TORCHINDUCTOR_CACHE_DIR"
    if name in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ[name] = folder
        try:
            yield
        finally:
            del os.environ[name]
