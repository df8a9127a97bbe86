"""A layer that reads the sequence in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from statewise.cell import Cell, LayerCall, declared_fields, declared_parameters
from statewise.declarations import Field, Parameter
from statewise.errors import ArchitectureError, CarryError
from statewise.types import Array, Fields, Integers, Intermediates, Parameters, array_namespace

DIRECTIONS = ("forward", "backward")


@dataclass(frozen=True)
class Bidirectional(Cell):
    """A cell run forward and another like it run backward, their outputs side by side.

    Its output at a step depends on steps still to come, so it reads a whole sequence at once. It
    refuses a carry: a state that has consumed steps raises `CarryError`, unless a reset at the
    first step forgets it. The state it returns holds where each direction ended.

    Arguments:
        inner: the cell of each direction; each has parameters and state of its own.

    State, parameters and intermediates: the inner cell's, as ``forward.<name>`` and
    ``backward.<name>``.

    Source: Schuster and Paliwal, Bidirectional recurrent neural networks, 1997.
    """

    inner: Cell
    causal: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Cell) or not self.inner.causal:
            raise ArchitectureError(
                f"Bidirectional wraps a cell that reads forward, got {self.inner!r}"
            )

    def outputs(self, inputs: int) -> int:
        return 2 * self.inner.outputs(inputs)

    def state(self, inputs: int) -> Mapping[str, Field]:
        inner = declared_fields(self.inner, inputs)
        return {f"{way}.{name}": field for way in DIRECTIONS for name, field in inner.items()}

    def parameters(self, inputs: int) -> Mapping[str, Parameter]:
        inner = declared_parameters(self.inner, inputs)
        return {f"{way}.{name}": value for way in DIRECTIONS for name, value in inner.items()}

    def evaluating(self) -> Cell:
        return Bidirectional(self.inner.evaluating())

    def draw(self, s: Fields, integers: Integers) -> Fields:
        drawn = {way: self.inner.draw(select_direction(s, way), integers) for way in DIRECTIONS}
        return {f"{way}.{name}": value for way in DIRECTIONS for name, value in drawn[way].items()}

    def unroll(
        self, p: Parameters, x: Array, s: Fields, call: LayerCall
    ) -> tuple[Array, Fields, Intermediates]:
        forward, after, seen = self._run("forward", p, x, s, call)
        backward, end, back = self._run("backward", p, call.reverse_sequences(x), s, call)
        state = {f"forward.{name}": value for name, value in after.items()}
        state |= {f"backward.{name}": value for name, value in end.items()}
        values = {f"forward.{name}": value for name, value in seen.items()}
        values |= {f"backward.{name}": call.reverse_sequences(v) for name, v in back.items()}
        xp = array_namespace(x)
        return xp.concat([forward, call.reverse_sequences(backward)], axis=-1), state, values

    def _run(
        self, way: str, p: Parameters, x: Array, s: Fields, call: LayerCall
    ) -> tuple[Array, Fields, Intermediates]:
        """One direction of a call, x in the order in which it reads."""

        def select(fields: Fields) -> Fields:
            return select_direction(fields, way)

        inner = call.select_initial(select)
        return self.inner.unroll(select_direction(p, way), x, select(s), inner)

    def step(self, p: Parameters, x: Array, s: Fields) -> tuple[Array, Fields, Intermediates]:
        raise CarryError(
            "a Bidirectional layer cannot be stepped: its output depends on steps still to come; "
            "call the model on whole sequences, or use a cell that only reads forward"
        )


def select_direction(named: Mapping[str, Array], way: str) -> dict[str, Array]:
    """The entries of one direction, under the inner cell's names."""
    return {
        name.removeprefix(f"{way}."): value
        for name, value in named.items()
        if name.startswith(f"{way}.")
    }
