"""From series to what a network trains on: the leading transforms run once, outside of training.

Transforms have no weights, so what they make of a history never changes while the rest is trained.
They run here with their state, one row a series, and the network trains on their outputs. The full
model, transforms included, then goes on from the same state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from statewise.architecture import Architecture, Linear, Vector
from statewise.cell import Cell, Transform
from statewise.errors import ArchitectureError
from statewise.runtime import Model
from statewise.state import State
from statewise.transforms import Standardize
from statewise.unroll import scanning

Arrays = Mapping[str, np.ndarray]


def full_architecture(transforms: Sequence[Transform], layers: Sequence[Cell]) -> Architecture:
    """Values in, the next value out, in the units of the series."""
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


def core_architecture(full: Architecture) -> Architecture:
    """The trained part: what stands behind the transforms."""
    count = len(full.transforms)
    return Architecture(Vector(full.widths[count]), full.layers[count:], Linear(1))


def full_weights(full: Architecture, core: Arrays) -> dict[str, np.ndarray]:
    """The core's weights under the names they have in the full model, float64."""
    count = len(full.transforms)
    return {_shifted(name, count): np.asarray(a, np.float64) for name, a in core.items()}


def carried(full: Architecture, start: State, core: State) -> State:
    """The state of a full model with the core's memory in place of its own."""
    count = len(full.transforms)
    memory = {_shifted(name, count): array for name, array in core.items()}
    return start.replace(
        {name: np.asarray(array, start[name].dtype) for name, array in memory.items()}
    )


def cells_reset(full: Architecture, state: State, initial: State) -> State:
    """The state with the network's memory back at its initial value; the transforms keep theirs."""
    count = len(full.transforms)
    return state.replace(
        {
            name: initial[name]
            for name in state
            if name.partition(".")[0].isdigit() and int(name.partition(".")[0]) >= count
        }
    )


@dataclass(frozen=True)
class Prepared:
    """A history ready to train on.

    Arguments:
        start: the state before its first step, one row, with the series' own mean and scale.
        inputs: what enters the core, (T - 1, width).
        targets: what the core should say, (T - 1, 1).
    """

    start: State
    inputs: np.ndarray
    targets: np.ndarray


def prepare(model: Model, values: np.ndarray) -> Prepared:
    """Run the leading transforms over a history.

    Arguments:
        model: a full model; only its transforms and initial state are used.
        values: (T,) float64.
    """
    state = model.initial_state(1)
    x = values[None, :-1, None]  # (1, T - 1, 1)
    targets = values[None, 1:, None]
    own: dict[str, np.ndarray] = {}
    for index, transform in enumerate(model.architecture.transforms):
        s = {
            name.partition(".")[2]: array
            for name, array in state.items()
            if name.startswith(f"{index}.")
        }
        if isinstance(transform, Standardize):
            s = _measured(x)
            own |= {f"{index}.{name}": array for name, array in s.items()}
        x, _, intermediates = scanning(transform, {}, x, s, True)
        targets = transform.forward(targets, intermediates)
    return Prepared(state.replace(own), x[0], targets[0])


def _measured(x: np.ndarray) -> dict[str, np.ndarray]:
    """The mean and deviation of (1, T, F); 1 where nothing varies."""
    deviation = x[0].std(axis=0)
    scale = np.where(deviation > 1e-12 * np.abs(x[0]).max(axis=0), deviation, 1.0)
    return {"mean": x[0].mean(axis=0)[None], "scale": scale[None]}


def _shifted(name: str, count: int) -> str:
    block, _, own = name.partition(".")
    return f"{int(block) + count}.{own}" if block.isdigit() else name
