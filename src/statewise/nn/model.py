"""`Model`: an architecture with weights, as a torch module."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from statewise import checkpoint
from statewise.architecture import Architecture
from statewise.cell import Cell
from statewise.errors import ArchitectureError
from statewise.model import ModelBase
from statewise.nn.fused import fastest, fused
from statewise.origin import Origin, RecordedOrigin
from statewise.program import Executor, Program
from statewise.state import State
from statewise.types import Array, Intermediates, Parameters
from statewise.unroll import Run, stepwise
from statewise.weights import check_weights, read_model, write_model

_RUNS: dict[str, Run] = {"auto": fastest, "fused": fused, "reference": stepwise}


class Model(ModelBase, nn.Module):
    """An architecture with weights: a torch module into which state goes and from which it comes.

    Arguments:
        architecture: what the model is.
        seed: of the first weights; the same seed gives the same weights on every executor.
        weights: arrays by full name to begin with, copied, instead of drawing any.
        executor: ``"auto"`` runs native kernels in float32 on the CPU, and elsewhere torch's own
            kernels, wherever they give the reference's result; ``"fused"`` knows torch's alone;
            ``"reference"`` always runs the cells' equations step by step.
        dtype: what to compute in.
        device: where to.

    Example::

        arch = sw.Architecture(sw.Vector(1), [sw.LSTM(64)], sw.Linear(1))
        model = sw.nn.Model(arch, seed=0)
        y, state = model(x)             # x (B, T, 1) -> y (B, T, 1)
        y, state = model(more, state)   # goes on from where it stood
    """

    _like: Tensor

    def __init__(
        self,
        architecture: Architecture,
        *,
        seed: int = 0,
        weights: Mapping[str, Array] | None = None,
        executor: str = "auto",
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(architecture, Architecture):
            raise ArchitectureError(
                f"Model takes an Architecture, got {architecture!r}; write "
                "sw.nn.Model(sw.Architecture(sw.Vector(1), [sw.LSTM(64)], sw.Linear(1)))"
            )
        if executor not in _RUNS:
            raise ArchitectureError(f"executor must be one of {', '.join(_RUNS)}, got {executor!r}")
        if not dtype.is_floating_point:
            raise ArchitectureError(f"a model computes in a floating dtype, got {dtype}")
        self.architecture = architecture
        self.executor = executor
        self._program = Program(architecture)
        self._attributes = {
            layer: {name: _attribute(name) for name in own}
            for layer, own in self._program.parameters.items()
        }
        for block in self._program.blocks:
            self.add_module(block, nn.Module())
        if weights is not None:
            check_weights(architecture, weights)
        values = architecture.draw(seed) if weights is None else weights
        for name in architecture.parameters:
            block, _, own = name.partition(".")
            given = torch.as_tensor(values[name]).detach()
            tensor = given.to(dtype=dtype, device=device, copy=True)
            self.get_submodule(block).register_parameter(_attribute(own), nn.Parameter(tensor))
        self.register_buffer("_like", torch.zeros((), dtype=dtype, device=device), persistent=False)

    # Running

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        *,
        reset: Array | None = None,
        lengths: Array | None = None,
        initial: State | None = None,
    ) -> tuple[Tensor, State]:
        """Run over a batch of sequences.

        Arguments:
            x: (B, T, features) of the model's dtype, or (B, T) integers for `Tokens`.
            state: where to go on from; the initial state where it is not given.
            reset: (B, T) bool: forget before consuming that step.
            lengths: (B,) whole numbers: how many steps of each row are not padding. Padding is
                never seen; the outputs there are zero.
            initial: what a reset returns to, a state of B rows or of one for all; the model's own
                initial state where it is not given.

        Returns:
            outputs (B, T, O) and the state after each row's last step.

        Raises:
            InputError: inputs or masks that do not fit.
            StateError: a state that does not fit.
        """
        if torch.compiler.is_compiling():
            from statewise.nn.tracing import trace_call  # imports Dynamo

            return trace_call(self, x, state, reset, lengths, initial)
        y, after, _ = self.make_executor().unroll(x, state, reset, lengths, initial)
        return y, after

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run one step, x (B, features) or (B,) tokens -> y (B, O) and the new state."""
        if torch.compiler.is_compiling():
            from statewise.nn.tracing import trace_step

            return trace_step(self, x, state)
        return self.make_executor().step(x, state)

    def trace(
        self,
        x: Tensor,
        state: State | None = None,
        *,
        reset: Array | None = None,
        lengths: Array | None = None,
        initial: State | None = None,
    ) -> tuple[Tensor, State, Intermediates]:
        """Like calling the model, and returns the intermediates as well.

        Returns:
            outputs, the new state, and every value a cell shows by its full name,
            ``"0.f"`` -> (B, T, units), zero where padded.
        """
        return self.make_executor().unroll(x, state, reset, lengths, initial, capture=True)

    def initial_state(self, rows: int) -> State:
        """The initial state of this many rows: zeros, or the model's learned one."""
        return self.make_executor().initial_state(rows)

    # For whoever builds on models

    @property
    def dtype(self) -> torch.dtype:
        return self._like.dtype

    @property
    def device(self) -> torch.device:
        return self._like.device

    @property
    def origin(self) -> Origin:
        return _ModelOrigin(self)

    def make_traced_executor(self, training: bool) -> Executor:
        """An executor for a call that `torch.compile` or `torch.export` traces."""
        from statewise.nn.tracing import TracedExecutor

        origin = RecordedOrigin(self.architecture.fingerprint, None)
        return self._fill(TracedExecutor, origin, training)

    def _base_executor(self) -> Executor:
        return self._fill(Executor, _ModelOrigin(self), self.training)

    def _fill(self, executor: type[Executor], origin: Origin, training: bool) -> Executor:
        return executor(
            self._program,
            self._parameters_by_layer(),
            self._like,
            origin,
            _RUNS[self.executor],
            self._integers if training else None,
        )

    def _integers(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randint(1, 2**32, shape, dtype=torch.int64, device=self._like.device)

    def _parameters_by_layer(self) -> dict[str, Parameters]:
        named: dict[str, Parameters] = {}
        for layer, attributes in self._attributes.items():
            block: Any = self._modules[layer]
            held = block._parameters  # a name that is not there is computed, by a parametrization
            named[layer] = {
                name: held[own] if own in held else getattr(block, own)
                for name, own in attributes.items()
            }
        return named

    # Weights

    def weights(self) -> dict[str, Tensor]:
        """Every parameter by its full name: ``"0.W"``, ``"outputs.b"``. The tensors themselves."""
        return {
            f"{layer}.{name}": value
            for layer, block in self._parameters_by_layer().items()
            for name, value in block.items()
        }

    def load_weights(self, arrays: Mapping[str, Array]) -> None:
        """Take over weights by full name, all of them or none.

        Raises:
            FileError: a name that is missing or unknown, or a shape that differs.
        """
        check_weights(self.architecture, arrays)
        with torch.no_grad():
            for name, own in self.weights().items():
                own.copy_(torch.as_tensor(arrays[name]))

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits for the weights, computed anew only when they changed."""
        return _ModelOrigin(self).weights() or ""

    def save(self, path: str | Path) -> None:
        """Write weights and architecture as one safetensors file, whole or not at all."""
        write_model(path, self.architecture, self.weights())

    def __repr__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return self.describe(f"{dtype} on {self.device}, executor={self.executor!r}")


def load(
    path: str | Path,
    *,
    cells: Iterable[type[Cell]] = (),
    executor: str = "auto",
    device: torch.device | str | None = None,
) -> Model:
    """The model that `Model.save` wrote, in the dtype it was saved in, ready to evaluate or train.

    Arguments:
        path: the file.
        cells: classes of a user's own cells, where they are not imported under the name the file
            gives.
        executor, device: as for `Model`.

    Raises:
        FileError: no model file, or one that is truncated or altered.
        ArchitectureError: an architecture that cannot be built, such as an unknown cell.
    """
    architecture, arrays = read_model(path, cells)
    dtypes = {torch.as_tensor(array).dtype for array in arrays.values()} or {torch.float32}
    dtype = dtypes.pop()
    return Model(architecture, weights=arrays, executor=executor, dtype=dtype, device=device).eval()


class _ModelOrigin:
    """The model a state comes from, with its weights as they are now."""

    def __init__(self, model: Model) -> None:
        self.architecture: str | None = model.architecture.fingerprint
        self._model = weakref.ref(model)
        self._versions = _versions(model)

    def weights(self) -> str | None:
        model = self._model()
        if model is None or _versions(model) != self._versions:
            return None
        return _fingerprint(model, self._versions)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ModelOrigin) and self._model() is other._model()

    __hash__ = None  # type: ignore[assignment]


_FINGERPRINTS: weakref.WeakKeyDictionary[Model, tuple[Any, str]] = weakref.WeakKeyDictionary()


def _fingerprint(model: Model, versions: Any) -> str:
    known = _FINGERPRINTS.get(model)
    if known is None or known[0] != versions:
        known = (versions, checkpoint.fingerprint(model.weights()))
        _FINGERPRINTS[model] = known
    return known[1]


def _versions(model: Model) -> tuple[tuple[int, int], ...]:
    """Changes whenever a weight does: torch counts the writes to each tensor."""
    found: list[tuple[int, int]] = []
    blocks: list[Any] = [model]
    while blocks:  # model.parameters() would do, at five times the price in every call
        block = blocks.pop()
        found += [
            (p.data_ptr(), 0 if p.is_inference() else p._version)  # one does not count its writes
            for p in block._parameters.values()
            if p is not None
        ]
        blocks += block._modules.values()
    return tuple(found)


def _attribute(name: str) -> str:
    """A parameter's name as torch allows it: without dots."""
    return name.replace(".", "__")
