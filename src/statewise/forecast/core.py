"""The trained core of a forecaster's model: its architecture, weights, state and training data.

Transforms have no weights, so what they make of a history never changes while the core is trained.
They run here once, with their state, one row a series, and the core trains on their outputs. The
full model, transforms included, then goes on from the same state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from statewise.architecture import Architecture, Linear, Vector
from statewise.cell import Cell, Transform, declared_fields
from statewise.declarations import Field
from statewise.errors import ArchitectureError, CellError
from statewise.runtime import Model
from statewise.state import State
from statewise.unroll import initial_fields, scanning

Arrays = Mapping[str, np.ndarray]


def build_architecture(transforms: Sequence[Transform], layers: Sequence[Cell]) -> Architecture:
    """A full model: values in, the next value out, in the units of the series."""
    for index, transform in enumerate(transforms):
        if not isinstance(transform, Transform):
            raise ArchitectureError(
                f"transform {index} must be a Transform (Difference, Standardize, Lags, "
                f"RunningScale), got {transform!r}; cells go into layers="
            )
    for index, cell in enumerate(layers):
        if isinstance(cell, Cell) and not cell.causal:
            raise ArchitectureError(
                f"layer {index} reads both ways, and a forecast only knows the past; use a cell "
                "that reads forward"
            )
    inverse = bool(transforms)
    return Architecture(
        Vector(1), [*transforms, *layers], Linear(1, inverse=inverse, remember=True)
    )


def extract_core(full: Architecture) -> Architecture:
    """The trained part: what stands behind the transforms."""
    count = len(full.transforms)
    return Architecture(Vector(full.widths[count]), full.layers[count:], Linear(1))


def rename_core_weights(full: Architecture, core: Arrays) -> dict[str, np.ndarray]:
    """The core's weights under the names they have in the full model, float64."""
    count = len(full.transforms)
    return {_shift_name(name, count): np.asarray(a, np.float64) for name, a in core.items()}


def replace_core_state(full: Architecture, state: State, core: State) -> State:
    """The state of a full model with the core's memory in place of its own."""
    count = len(full.transforms)
    memory = {_shift_name(name, count): array for name, array in core.items()}
    return state.replace(
        {name: np.asarray(array, state[name].dtype) for name, array in memory.items()}
    )


def reset_core_state(full: Architecture, state: State, initial: State) -> State:
    """The state with the core's memory back at its initial value; the transforms keep theirs."""
    count = len(full.transforms)
    return state.replace(
        {
            name: initial[name]
            for name in state
            if name.partition(".")[0].isdigit() and int(name.partition(".")[0]) >= count
        }
    )


@dataclass(frozen=True)
class TrainingData:
    """A history ready to train on.

    Arguments:
        start: the state before its first step, one row, with what the transforms learned of it.
        inputs: what enters the core, (T - 1, width).
        targets: what the core should predict, (T - 1, 1).
    """

    start: State
    inputs: np.ndarray
    targets: np.ndarray


def prepare(model: Model, values: np.ndarray) -> TrainingData:
    """Fit the transforms to a history and run them over it.

    Arguments:
        model: a full model; only its transforms and initial state are used.
        values: (T,) float64.
    """
    state = model.initial_state(1)
    x = values[None, :-1, None]  # (1, T - 1, 1)
    targets = values[None, 1:, None]
    learned: dict[str, np.ndarray] = {}
    for index, transform in enumerate(model.architecture.transforms):
        declared = _fit_fields(transform, x[0])
        s = initial_fields(declared, {}, 1, x.dtype.name, x)
        learned |= {f"{index}.{name}": array for name, array in s.items()}
        x, _, intermediates = scanning(transform, {}, x, s, True)
        targets = transform.forward(targets, intermediates)
    return TrainingData(state.replace(learned), x[0], targets[0])


def _fit_fields(transform: Transform, history: np.ndarray) -> dict[str, Field]:
    """The state fields of a transform that was fitted to a history, (T, inputs)."""
    fitted, width = transform.fit(history), history.shape[1]
    expected = declared_fields(transform, width)
    found = declared_fields(fitted, width) if isinstance(fitted, Transform) else None
    if found is None or _layout(found) != _layout(expected):
        raise CellError(
            f"{type(transform).__name__}.fit must return a transform whose state has the fields "
            f"{', '.join(expected) or '(none)'} in their shapes, got {fitted!r}; what it learns "
            "are their initial values"
        )
    return found


def _layout(declared: Mapping[str, Field]) -> dict[str, tuple[tuple[int, ...], str]]:
    return {name: (field.shape, field.kind) for name, field in declared.items()}


def _shift_name(name: str, count: int) -> str:
    block, _, own = name.partition(".")
    return f"{int(block) + count}.{own}" if block.isdigit() else name
