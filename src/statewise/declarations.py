"""What a cell declares: the arrays that it remembers and those that it trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from statewise.errors import ArchitectureError
from statewise.initializers import Initializer


@dataclass(frozen=True)
class Field:
    """One array that a cell remembers, for one row.

    Arguments:
        shape: its shape without the batch axis; ``()`` for a number.
        kind: ``"value"`` has the model's dtype; ``"accumulator"`` is summed over many steps and
            never falls below float32; ``"integer"`` is int64.
        initial: the initial value, a number or one number for each element of the last axis.
    """

    shape: tuple[int, ...] = ()
    kind: Literal["value", "accumulator", "integer"] = "value"
    initial: float | tuple[float, ...] = 0.0

    def dtype(self, compute: str) -> str:
        """The declared dtype of this field in a model that computes in `compute`."""
        if self.kind == "integer":
            return "int64"
        if self.kind == "accumulator" and compute in ("float16", "bfloat16"):
            return "float32"
        return compute


@dataclass(frozen=True)
class Parameter:
    """One trained array of a cell.

    Arguments:
        shape: its shape.
        initializer: draws its first value, see `statewise.initializers`.
        blocks: how many gates are stacked along the first axis; each is drawn by itself, so that
            Glorot and orthogonal see one gate's matrix and not the stack.
    """

    shape: tuple[int, ...]
    initializer: Initializer
    blocks: int = 1

    def __post_init__(self) -> None:
        given: Any = self.initializer
        if isinstance(given, type) or not callable(given):
            raise ArchitectureError(
                f"a parameter needs an initialiser such as sw.Glorot(), got {given!r}"
            )

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """The first value, float64."""
        rows, *rest = self.shape or (1,)
        block = (rows // self.blocks, *rest)
        drawn = [self.initializer(rng, block) for _ in range(self.blocks)]
        return np.concatenate(drawn).reshape(self.shape)


def check_positive(spec: Any, *names: str) -> None:
    """Raise unless each of these hyperparameters is a whole number of at least one."""
    for name in names:
        value = getattr(spec, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ArchitectureError(
                f"{type(spec).__name__}: {name} must be a whole number of at least 1, got {value!r}"
            )


def check_fraction(spec: Any, name: str) -> None:
    """Raise unless this hyperparameter is a number in [0, 1)."""
    value = getattr(spec, name)
    if not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ArchitectureError(
            f"{type(spec).__name__}: {name} must be a number in [0, 1), got {value!r}"
        )
