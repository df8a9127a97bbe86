"""What a model is, as data: inputs, layers and outputs, without weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from statewise.cell import Cell, Transform, declared_fields, declared_parameters
from statewise.declarations import Field, Parameter, check_positive
from statewise.errors import ArchitectureError
from statewise.initializers import Normal, Uniform, Zeros
from statewise.spec import Spec, check_frozen, decode, encode, format_spec

FORMAT = 1


@dataclass(frozen=True)
class Vector(Spec):
    """Inputs that are vectors of numbers, (B, T, features)."""

    features: int

    def __post_init__(self) -> None:
        check_positive(self, "features")


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
        check_positive(self, "size", "width")


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
        check_positive(self, "units")


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
                declared_fields(cell, widths[-2]), declared_parameters(cell, widths[-2])
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
            for name, field in declared_fields(cell, width).items()
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
            for name, parameter in declared_parameters(cell, width).items():
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

    def describe(self) -> str:
        """Describe every part on a line: its name, its options, its width in and out.

        Example::

            inputs   Vector(1)                         -> 1
            0        LSTM(32, learned_state=True)      1 -> 32
            1        Residual(GRU(32))                 32 -> 32
            outputs  Linear(1)                         32 -> 1
        """
        parts: list[tuple[str, Spec, str]] = [("inputs", self.inputs, f"-> {self.widths[0]:,}")]
        for index, cell in enumerate(self.layers):
            before, after = self.widths[index : index + 2]
            parts.append((str(index), cell, f"{before:,} -> {after:,}"))
        if self.outputs is not None:
            parts.append(("outputs", self.outputs, f"{self.widths[-1]:,} -> {self.width:,}"))
        rows = [(name, format_spec(part), widths) for name, part, widths in parts]
        longest = max(len(call) for _, call, _ in rows)
        return "\n".join(f"{name:7}  {call:{longest}}  {widths}" for name, call, widths in rows)

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
