"""`Model`: a saved model in NumPy, without torch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from statewise import checkpoint, kernels
from statewise.architecture import Architecture
from statewise.cell import Cell
from statewise.errors import FileError, InputError
from statewise.model import ModelBase
from statewise.origin import Origin, RecordedOrigin
from statewise.program import Program
from statewise.runtime.native import NativeExecutor
from statewise.state import State
from statewise.types import Array, Intermediates, Parameters, is_torch
from statewise.weights import check_weights, read_model, write_model

Weights = Literal["float32", "bfloat16"]


class Model(ModelBase):
    """A model that evaluates in NumPy: the same call, and the same states, as in torch.

    Native kernels run what they can, the cells' own equations the rest.

    Arguments:
        architecture: what the model is.
        arrays: the weights by full name, NumPy arrays of one floating dtype.
        weights: ``"bfloat16"`` keeps the matrices that the kernels read in half the memory, which
            is quicker where they do not fit the cache. Sums and states stay float32;
            outputs then differ by 0.25% in the root mean square, at freshly drawn weights.

    Raises:
        FileError: weights that are not this architecture's.
    """

    def __init__(
        self,
        architecture: Architecture,
        arrays: Mapping[str, np.ndarray],
        *,
        weights: Weights = "float32",
    ) -> None:
        if weights not in ("float32", "bfloat16"):
            raise InputError(f"weights must be 'float32' or 'bfloat16', got {weights!r}")
        check_weights(architecture, arrays)
        self.architecture = architecture
        self._arrays = dict(arrays)
        program = Program(architecture)
        params: dict[str, Parameters] = {
            layer: {name: self._arrays[f"{layer}.{name}"] for name in own}
            for layer, own in program.parameters.items()
        }
        dtypes = {array.dtype for array in self._arrays.values()} or {np.dtype(np.float32)}
        self._origin = RecordedOrigin(
            architecture.fingerprint, checkpoint.fingerprint(self._arrays)
        )
        self._executor = NativeExecutor(
            program, params, np.zeros((), dtypes.pop()), self._origin, bf16=weights == "bfloat16"
        )
        if self._executor.packed is not None:
            self._executor.packed.make_states(State, self._origin)
        self._packed = self._executor.packed  # None while calls are altered, see `overridden`
        self._initial: State | None = None  # the initial state last asked for

    @property
    def executor(self) -> str:
        """What runs it: ``"native"`` for one kernel call a step, ``"reference"`` otherwise."""
        return "native" if self._executor.packed is not None else "reference"

    @property
    def isa(self) -> str | None:
        """The instruction set of the kernels, None without them."""
        return kernels.get_isa()

    def __call__(
        self,
        x: np.ndarray,
        state: State | None = None,
        *,
        reset: Array | None = None,
        lengths: Array | None = None,
        initial: State | None = None,
    ) -> tuple[np.ndarray, State]:
        """Run over a batch of sequences, see `statewise.nn.Model.forward`."""
        if self._packed is not None and reset is None and lengths is None and initial is None:
            done = self._packed.advance(x, self._find_initial(x) if state is None else state, True)
            if done is not None:
                return done
        y, after, _ = self._current_executor().unroll(x, state, reset, lengths, initial)
        return y, after

    def step(self, x: np.ndarray, state: State | None = None) -> tuple[np.ndarray, State]:
        """Run one step, x (B, features) or (B,) tokens -> y (B, O) and the new state."""
        if self._packed is not None:
            # one call for a state that this model made, which has been checked; the kernel looks at
            # shapes and dtypes, and gives None where something needs a closer look
            done = self._packed.advance(x, self._find_initial(x) if state is None else state, False)
            if done is not None:
                return done
        return self._current_executor().step(x, state)

    def sample(self, noise: np.ndarray, state: State) -> tuple[np.ndarray, Callable[[int], State]]:
        """Steps that read what they draw: at each, the largest of the last outputs and noise.

        With Gumbel noise that is a draw from the softmax of the outputs, with zeros the
        most likely one.

        Arguments:
            noise: (T, B, outputs), float32 for the kernels.
            state: from where to go on, B rows.

        Returns:
            the tokens (T, B), and a function that gives the state after step t.

        Raises:
            InputError: noise of another shape, or a model whose state does not hold its last
                outputs, as it does with ``Linear(remember=True)``.
            StateError: a state that does not fit.

        Source: Gumbel, Statistical theory of extreme values, 1954.
        """
        if "outputs.y" not in self.architecture.fields or noise.ndim != 3:
            raise InputError(
                "sample takes noise (steps, rows, outputs) for a model that ends in "
                f"Linear(remember=True), got {noise.shape} for {self.architecture.outputs!r}"
            )
        state = self.validate_state(state, noise.shape[1])
        done = None if self._packed is None else self._packed.sample(noise, state._arrays)
        if done is None:
            return self._sample_steps(noise, state)
        tokens, fields = done

        def after(t: int) -> State:
            own = {name: values[t].copy() for name, values in fields.items()}
            return State({**state, **own}, state.position + (t + 1), origin=self._origin)

        return tokens, after

    def _sample_steps(
        self, noise: np.ndarray, state: State
    ) -> tuple[np.ndarray, Callable[[int], State]]:
        """The same step by step."""
        tokens, states = np.empty(noise.shape[:2], np.int64), []
        for t, own in enumerate(noise):
            tokens[t] = (state["outputs.y"] + own).argmax(axis=1)
            _, state = self.step(tokens[t], state)
            states.append(state)
        return tokens, states.__getitem__

    def _find_initial(self, x: Any) -> State | None:
        """The initial state of as many rows as x has, if it has any."""
        if type(x) is not np.ndarray or x.ndim == 0:
            return None
        if self._initial is None or self._initial.batch != x.shape[0]:
            self._initial = self._executor.initial_state(x.shape[0]).clone()
        return self._initial

    def trace(
        self,
        x: np.ndarray,
        state: State | None = None,
        *,
        reset: Array | None = None,
        lengths: Array | None = None,
        initial: State | None = None,
    ) -> tuple[np.ndarray, State, Intermediates]:
        """Like calling the model, and returns the intermediates, see `statewise.nn.Model`."""
        return self.make_executor().unroll(x, state, reset, lengths, initial, capture=True)

    def initial_state(self, rows: int) -> State:
        """The initial state of this many rows: zeros, or the model's learned one."""
        return self._executor.initial_state(rows)

    # For whoever builds on models

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._executor.like.dtype  # type: ignore[no-any-return]

    @property
    def device(self) -> str:
        return "cpu"

    @property
    def origin(self) -> Origin:
        return self._origin

    @property
    def packed(self) -> Any:
        """The whole model in the native kernels, or None where a part of it has none."""
        return self._executor.packed

    def make_executor(self) -> NativeExecutor:
        executor = super().make_executor()
        assert isinstance(executor, NativeExecutor)
        return executor

    def _current_executor(self) -> NativeExecutor:
        """What a call runs on: the model's own executor unless calls are altered; no copy then."""
        return self.make_executor() if self._override_count else self._executor

    def _base_executor(self) -> NativeExecutor:
        return copy.copy(self._executor)

    def _switch_fast_path(self) -> None:
        self._packed = None if self._override_count else self._executor.packed

    # Weights

    def weights(self) -> dict[str, np.ndarray]:
        """Every parameter by its full name."""
        return dict(self._arrays)

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits for the weights."""
        return self._origin.weights() or ""

    def save(self, path: str | Path) -> None:
        """Write weights and architecture as one safetensors file, whole or not at all."""
        write_model(path, self.architecture, self._arrays)

    def __repr__(self) -> str:
        return self.describe(f"{self.dtype}, executor={self.executor!r}")


def load(
    path: str | Path, *, cells: Iterable[type[Cell]] = (), weights: Weights = "float32"
) -> Model:
    """The model of a file, in NumPy: no torch is imported.

    Arguments:
        path: what `statewise.nn.Model.save` wrote.
        cells: classes of a user's own cells, where they are not imported under the name the file
            gives.
        weights: as for `Model`.

    Raises:
        FileError: no model file, one that is truncated or altered, or one in bfloat16, which NumPy
            lacks.
        ArchitectureError: an architecture that cannot be built, such as an unknown cell.
    """
    architecture, arrays = read_model(path, cells)
    if any(is_torch(array) for array in arrays.values()):
        raise FileError(f"{path} holds bfloat16 weights, which NumPy lacks; use sw.nn.load")
    return Model(architecture, arrays, weights=weights)
