"""What a model is, as data: inputs, layers and outputs, without weights.

`Cell` is the contract that every layer obeys, built in or a user's own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from statewise.errors import ArchitectureError, CellError
from statewise.initializers import Initializer, Normal, Uniform, Zeros
from statewise.spec import Spec, check_frozen, decode, encode
from statewise.types import Array, Fields, Integers, Parameters, Seen

FORMAT = 1


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


class Cell(Spec):
    """One recurrence: ``step(params, x_t, state) -> (y_t, state', seen)``.

    A cell is a frozen dataclass of hyperparameters. It must give `step`; what it remembers
    (`state`), what it trains (`parameters`) and how wide its output is (`outputs`) have defaults.
    `step` is written against the array API standard, so that it runs on torch tensors under
    autograd and on NumPy arrays without torch, and must not change the arrays it is given.

    A parameter called ``<field>0`` with the field's shape is that field's learned initial value.

    Example::

        @dataclass(frozen=True)
        class Leaky(sw.Cell):
            units: int
            leak: float = 0.1

            def state(self, inputs):
                return {"h": (self.units,)}

            def parameters(self, inputs):
                return {"W": ((self.units, inputs), sw.Glorot())}

            def step(self, p, x, s):
                h = (1 - self.leak) * s["h"] + self.leak * (x @ p["W"].T)
                return h, {"h": h}, {"h": h}
    """

    causal: ClassVar[bool] = True
    """False for a layer whose output at t depends on steps after t."""

    def outputs(self, inputs: int) -> int:
        """The width of ``y_t`` for inputs of this width; ``units`` where the cell has them."""
        return int(getattr(self, "units", inputs))

    def state(self, inputs: int) -> Mapping[str, Field | tuple[int, ...]]:
        """What the cell remembers: field name -> `Field`, or just its shape without the batch."""
        return {}

    def parameters(
        self, inputs: int
    ) -> Mapping[str, Parameter | tuple[tuple[int, ...], Initializer]]:
        """What the cell trains: name -> `Parameter`, or just (shape, initialiser)."""
        return {}

    def step(self, p: Parameters, x: Array, s: Fields) -> tuple[Array, Fields, Seen]:
        """One time step.

        Arguments:
            p: the parameters by name.
            x: the inputs of this step, (B, inputs).
            s: the state before this step by field name, each (B, ...).

        Returns:
            the output (B, outputs), the new state with the same names and shapes, and what was
            seen inside by name (gates, candidates), for tracing.
        """
        raise CellError(f"{type(self).__name__} has no step(p, x, s)")

    def evaluating(self) -> Cell:
        """The cell to run outside training: itself, unless it draws at random."""
        return self

    def draw(self, s: Fields, integers: Integers) -> Fields:
        """Fill what a cell draws at random once per sequence; called in training only, on the
        state before a call and on the fresh state at every reset.
        """
        return s


class Transform(Cell):
    """A cell without parameters that brings series to a scale or form easier to learn, and back.

    `step` remembers what the way back needs and shows it in `seen`.
    """

    def inverse(self, y: Array, seen: Seen) -> Array:
        """Bring a prediction of the next step, (B, T, O), back to the units of the inputs.

        Arguments:
            y: predictions of the transformed next step; output j belongs to feature j.
            seen: what `step` saw, stacked to (B, T, ...).
        """
        raise CellError(f"{type(self).__name__} has no inverse(y, seen)")

    def forward(self, target: Array, seen: Seen) -> Array:
        """Bring the next step, (B, T, O) in the units of the inputs, to what `inverse` undoes."""
        raise CellError(f"{type(self).__name__} has no forward(target, seen)")


@dataclass(frozen=True)
class Vector(Spec):
    """Inputs that are vectors of numbers, (B, T, features)."""

    features: int

    def __post_init__(self) -> None:
        positive(self, "features")


@dataclass(frozen=True)
class Tokens(Spec):
    """Inputs that are integers in [0, size), (B, T), each looked up in a trained table.

    Arguments:
        size: how many different tokens there are.
        width: the width of a token's vector.
    """

    size: int
    width: int

    def __post_init__(self) -> None:
        positive(self, "size", "width")


@dataclass(frozen=True)
class Linear(Spec):
    """Outputs as a trained linear map of the last layer, ``y = W x + b``.

    Arguments:
        units: the width of the output.
        inverse: bring the outputs back through the transforms that lead the layers, last first:
            the model then takes and predicts values in the units of its inputs, output j being
            the next value of feature j.
        remember: keep the last output in the state, as ``outputs.y``: a forecast or a text then
            goes on from the state alone.
    """

    units: int
    inverse: bool = False
    remember: bool = False

    def __post_init__(self) -> None:
        positive(self, "units")


@dataclass(frozen=True)
class Architecture(Spec):
    """What a model is: inputs, layers and outputs. Frozen, without weights.

    Arguments:
        inputs: `Vector` or `Tokens`.
        layers: cells and transforms, first to last.
        outputs: `Linear`, or None for the last layer's own output.

    Raises:
        ArchitectureError: a part that is not what it should be, or widths that do not fit.

    Example::

        sw.Architecture(sw.Vector(1), [sw.LSTM(64), sw.Residual(sw.GRU(64))], sw.Linear(1))
    """

    inputs: Vector | Tokens
    layers: tuple[Cell, ...]
    outputs: Linear | None = None

    def __init__(
        self,
        inputs: Vector | Tokens,
        layers: Iterable[Cell],
        outputs: Linear | None = None,
    ) -> None:
        object.__setattr__(self, "inputs", inputs)
        listed: Any = (layers,) if isinstance(layers, Cell) else layers
        if not isinstance(listed, Iterable):
            raise ArchitectureError(f"layers must be a list of cells, got {layers!r}")
        object.__setattr__(self, "layers", tuple(listed))
        object.__setattr__(self, "outputs", outputs)
        self._check()

    def _check(self) -> None:
        if not isinstance(self.inputs, (Vector, Tokens)):
            raise ArchitectureError(
                f"inputs must be Vector or Tokens, got {self.inputs!r}; "
                "for series of one value write inputs=sw.Vector(1)"
            )
        if self.outputs is not None and not isinstance(self.outputs, Linear):
            raise ArchitectureError(f"outputs must be Linear or None, got {self.outputs!r}")
        layers: tuple[object, ...] = self.layers
        for index, cell in enumerate(layers):
            if not isinstance(cell, Cell):
                hint = "; write an instance, with its units" if isinstance(cell, type) else ""
                raise ArchitectureError(f"layer {index} is not a cell: {cell!r}{hint}")
            check_frozen(cell)
        encode(self)
        widths = self.widths
        if self.outputs is not None and self.outputs.inverse:
            if not self.transforms:
                raise ArchitectureError(
                    "outputs=Linear(inverse=True) goes back through the transforms that lead the "
                    "layers, and there are none; put them first, or leave inverse out"
                )
            if self.outputs.units > widths[0]:
                raise ArchitectureError(
                    f"outputs=Linear({self.outputs.units}, inverse=True) has more outputs than the "
                    f"inputs have features ({widths[0]}); output j is the next value of feature j"
                )

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """The width of what enters each layer, then of what leaves the last one."""
        widths = [self.inputs.width if isinstance(self.inputs, Tokens) else self.inputs.features]
        for index, cell in enumerate(self.layers):
            try:
                widths.append(cell.outputs(widths[-1]))
                fields(cell, widths[-2]), parameters(cell, widths[-2])
            except ArchitectureError as error:
                raise type(error)(f"layer {index}: {error}") from error
        return tuple(widths)

    @cached_property
    def transforms(self) -> tuple[Transform, ...]:
        """The transforms that lead the layers, before the first other cell."""
        leading = []
        for cell in self.layers:
            if not isinstance(cell, Transform):
                break
            leading.append(cell)
        return tuple(leading)

    @property
    def width(self) -> int:
        """The width of the model's output."""
        return self.widths[-1] if self.outputs is None else self.outputs.units

    @cached_property
    def fields(self) -> dict[str, Field]:
        """Every state field by its full name: ``<layer>.<field>``, ``outputs.y``."""
        named = {
            f"{index}.{name}": field
            for index, (cell, width) in enumerate(zip(self.layers, self.widths, strict=False))
            for name, field in fields(cell, width).items()
        }
        if self.outputs is not None and self.outputs.remember:
            named["outputs.y"] = Field((self.outputs.units,))
        return named

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Every parameter by its full name: ``inputs.E``, ``<layer>.<name>``, ``outputs.W``."""
        named: dict[str, Parameter] = {}
        if isinstance(self.inputs, Tokens):
            shape = (self.inputs.size, self.inputs.width)
            named["inputs.E"] = Parameter(shape, Normal(1.0))
        for index, (cell, width) in enumerate(zip(self.layers, self.widths, strict=False)):
            for name, parameter in parameters(cell, width).items():
                named[f"{index}.{name}"] = parameter
        if self.outputs is not None:
            width = self.widths[-1]
            named["outputs.W"] = Parameter((self.outputs.units, width), Uniform(width))
            named["outputs.b"] = Parameter((self.outputs.units,), Zeros())
        return named

    def draw(self, seed: int) -> dict[str, np.ndarray]:
        """First values for all parameters, float64, the same for a seed in every executor."""
        rng = np.random.default_rng(seed)
        return {name: parameter.draw(rng) for name, parameter in self.parameters.items()}

    def to_json(self) -> str:
        """The architecture as canonical JSON, see docs/formats.md."""
        written = {"statewise": FORMAT, **encode(self)}
        return json.dumps(written, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, *, cells: Iterable[type[Cell]] = ()) -> Architecture:
        """Read what `to_json` wrote.

        Arguments:
            text: the JSON.
            cells: classes of a user's own cells, where they are not imported under the name
                the file gives.
        """
        try:
            written = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ArchitectureError(f"the architecture is not JSON: {error}") from error
        if not isinstance(written, dict) or written.get("kind") != "Architecture":
            raise ArchitectureError("the JSON is not a statewise architecture")
        version = written.pop("statewise", None)
        if version != FORMAT:
            raise ArchitectureError(
                f"the architecture has format {version}; this statewise reads format {FORMAT}"
            )
        read = decode(written, cells)
        assert isinstance(read, Architecture)
        return read

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of the SHA-256 of `to_json`: equal for equal architectures."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]


def fields(cell: Cell, inputs: int) -> dict[str, Field]:
    """The state fields of a cell, shapes given bare turned into `Field`."""
    return {
        name: value if isinstance(value, Field) else Field(_shape(cell, name, value))
        for name, value in cell.state(inputs).items()
    }


def parameters(cell: Cell, inputs: int) -> dict[str, Parameter]:
    """The parameters of a cell, pairs given bare turned into `Parameter`."""
    return {
        name: value if isinstance(value, Parameter) else _pair(cell, name, value)
        for name, value in cell.parameters(inputs).items()
    }


def _pair(cell: Cell, name: str, value: Any) -> Parameter:
    if not isinstance(value, Sequence) or len(value) != 2:
        raise CellError(
            f"{type(cell).__name__}: parameters gives {name!r} as {value!r}; give a shape and an "
            "initialiser, such as ((8, inputs), sw.Glorot()), or a Parameter"
        )
    return Parameter(_shape(cell, name, value[0]), value[1])


def _shape(cell: Cell, name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, Sequence) or not all(isinstance(axis, int) for axis in value):
        raise CellError(
            f"{type(cell).__name__} gives {name!r} the shape {value!r}; a shape is a tuple of "
            "whole numbers without the batch, such as (8,)"
        )
    return tuple(value)


def positive(spec: Any, *names: str) -> None:
    """Raise unless each of these hyperparameters is a whole number of at least one."""
    for name in names:
        value = getattr(spec, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ArchitectureError(
                f"{type(spec).__name__}: {name} must be a whole number of at least 1, got {value!r}"
            )


def fraction(spec: Any, name: str) -> None:
    """Raise unless this hyperparameter is a number in [0, 1)."""
    value = getattr(spec, name)
    if not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ArchitectureError(
            f"{type(spec).__name__}: {name} must be a number in [0, 1), got {value!r}"
        )
