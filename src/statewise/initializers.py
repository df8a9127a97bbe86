"""First values of parameters, drawn with NumPy so that a seed gives every executor the same.

Each initialiser is a frozen dataclass: ``initializer(rng, shape) -> float64 array``. Matrices are
(outputs, inputs).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from statewise.errors import ArchitectureError
from statewise.spec import Spec

Shape = tuple[int, ...]


class Initializer(Spec):
    """Draws the first value of a parameter."""

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        """A float64 array of this shape."""
        raise ArchitectureError(f"{type(self).__name__} has no __call__(rng, shape)")


@dataclass(frozen=True)
class Constant(Initializer):
    """One value everywhere."""

    value: float

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return np.full(shape, self.value, dtype=np.float64)


@dataclass(frozen=True)
class Zeros(Initializer):
    """Zero everywhere."""

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return np.zeros(shape)


@dataclass(frozen=True)
class Normal(Initializer):
    """Normal with mean zero and the given standard deviation."""

    deviation: float = 1.0

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return rng.normal(0.0, self.deviation, shape)


@dataclass(frozen=True)
class Uniform(Initializer):
    """Uniform on ``[-1/sqrt(width), 1/sqrt(width)]``: what torch draws for its recurrent and linear
    layers, with the hidden and the input width.

    Arguments:
        width: the width in the bound; the last axis of the parameter where it is not given.
    """

    width: int | None = None

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        bound = 1.0 / math.sqrt(self.width or shape[-1])
        return rng.uniform(-bound, bound, shape)


@dataclass(frozen=True)
class Glorot(Initializer):
    """Uniform on ``[-b, b]`` with ``b = gain sqrt(6 / (inputs + outputs))``.

    Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural
    networks, AISTATS 2010.
    """

    gain: float = 1.0

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        bound = self.gain * math.sqrt(6.0 / (shape[0] + shape[-1]))
        return rng.uniform(-bound, bound, shape)


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """A matrix with orthonormal rows (or columns, where it is taller than wide), times `gain`.

    Source: Saxe, McClelland and Ganguli, Exact solutions to the nonlinear dynamics of learning in
    deep linear neural networks, 2013.
    """

    gain: float = 1.0

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        if len(shape) != 2:
            raise ArchitectureError(f"Orthogonal needs a matrix, got a parameter of shape {shape}")
        rows, columns = shape
        q, r = np.linalg.qr(rng.normal(size=(max(shape), min(shape))))
        q = q * np.sign(np.diag(r))
        return self.gain * (q if rows >= columns else q.T)


@dataclass(frozen=True)
class Chrono(Initializer):
    """Biases for memories of up to `longest` steps: the keeping gate gets ``log U(1, longest - 1)``
    and the writing gate its negative.

    Given as the `forget_bias` of an `LSTM` or the `update_bias` of a `GRU`.

    Source: Tallec and Ollivier, Can recurrent neural networks warp time?, ICLR 2018.
    """

    longest: int

    def __post_init__(self) -> None:
        if not isinstance(self.longest, int) or self.longest < 3:
            raise ArchitectureError(
                f"Chrono: longest must be a whole number of at least 3 steps, got {self.longest!r}"
            )

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return np.log(rng.uniform(1.0, self.longest - 1.0, shape))


@dataclass(frozen=True)
class GateBias(Initializer):
    """A bias of `gates` blocks, all zero but the keeping gate's.

    Arguments:
        gates: how many blocks the bias has.
        keep: the block that holds on to memory (the forget gate of an LSTM).
        value: its bias, a number or `Chrono`.
        write: the block that gets the negative under `Chrono` (the input gate of an LSTM), if any.
    """

    gates: int
    keep: int
    value: float | Chrono
    write: int | None = None

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        bias = np.zeros((self.gates, shape[0] // self.gates))
        if isinstance(self.value, Chrono):
            bias[self.keep] = self.value(rng, bias[self.keep].shape)
            if self.write is not None:
                bias[self.write] = -bias[self.keep]
        else:
            bias[self.keep] = self.value
        return bias.reshape(shape)
