"""Parts of every bridge: a draft of a model, gates in another order, lists of obstacles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from statewise.architecture import Architecture, Linear, Tokens, Vector
from statewise.cell import Cell
from statewise.cells import GRU, LSTM, Bidirectional, Dense, Elman
from statewise.errors import ConversionError
from statewise.types import Array, array_namespace


class Weighted(Protocol):
    """A model of either executor: what it is, and its weights by full name."""

    architecture: Architecture

    def weights(self) -> Mapping[str, Array]: ...


class Draft:
    """A model that is being converted, layer after layer. What cannot be converted is listed, so
    that one error names everything.

    Arguments:
        source: what the model is called in errors, ``"the Keras model"``.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.inputs: Vector | Tokens | None = None
        self.layers: list[Cell] = []
        self.arrays: dict[str, Array] = {}
        self.problems: list[str] = []

    def tokens(self, table: Array) -> None:
        """The inputs are tokens, looked up in this table, (size, width)."""
        self.inputs = Tokens(int(table.shape[0]), int(table.shape[1]))
        self.arrays["inputs.E"] = table

    def add(self, cell: Cell, arrays: Mapping[str, Array] | None = None) -> None:
        """The next layer with its parameters."""
        index = len(self.layers)
        self.layers.append(cell)
        self.arrays |= {f"{index}.{name}": value for name, value in (arrays or {}).items()}

    def activate(self, where: str, activation: str) -> None:
        """An activation by itself: part of the dense layer before it, and else refused."""
        last = self.layers[-1] if self.layers else None
        if isinstance(last, Dense) and last.activation == "linear":
            self.layers[-1] = replace(last, activation=activation)
        elif activation != "linear":
            self.refuse(where, "an activation by itself must follow a linear layer")

    def refuse(self, where: str, why: str) -> None:
        """This part cannot be carried over."""
        self.problems.append(f"{where}: {why}")

    def finish(self) -> tuple[Architecture, dict[str, Array]]:
        """The architecture and its weights; a last linear layer becomes the outputs.

        Raises:
            ConversionError: everything that was refused, or no recurrent layer.
        """
        raise_all(self.source, self.problems)
        if not any(isinstance(cell, (LSTM, GRU, Elman, Bidirectional)) for cell in self.layers):
            raise ConversionError(
                f"{self.source} has no recurrent layer (an RNN, LSTM or GRU), so it has no state "
                "to carry over"
            )
        assert self.inputs is not None
        last, outputs = self.layers[-1], None
        if isinstance(last, Dense) and last.activation == "linear":
            outputs, index = Linear(last.units), len(self.layers) - 1
            self.layers.pop()
            for name in "Wb":
                self.arrays[f"outputs.{name}"] = self.arrays.pop(f"{index}.{name}")
        return Architecture(self.inputs, self.layers, outputs), self.arrays


def raise_all(source: str, problems: Sequence[str]) -> None:
    """Raise one error that names every problem; nothing where there is none."""
    if problems:
        raise ConversionError(f"{source} cannot be carried over: {'; '.join(problems)}")


def reorder(array: Array, order: Iterable[int]) -> Array:
    """Gates stacked along the first axis in another order: block ``order[i]`` becomes block i."""
    chosen = list(order)
    size = array.shape[0] // (max(chosen) + 1)
    blocks = [array[index * size : (index + 1) * size] for index in chosen]
    return array_namespace(array).concat(blocks, axis=0)


def join_directions(
    forward: Mapping[str, Array], backward: Mapping[str, Array]
) -> dict[str, Array]:
    """The parameters of a `Bidirectional` from those of its two directions."""
    return {f"forward.{name}": value for name, value in forward.items()} | {
        f"backward.{name}": value for name, value in backward.items()
    }


def select_prefix(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The entries under a prefix, by their own names."""
    return {
        name.removeprefix(f"{prefix}."): value
        for name, value in arrays.items()
        if name.startswith(f"{prefix}.")
    }


def list_own_options(cell: Cell) -> list[str]:
    """The options of a recurrent cell that only statewise has, in words."""
    found = []
    if isinstance(cell, LSTM):
        found += [name for name in ("peepholes", "coupled", "layer_norm") if getattr(cell, name)]
    if getattr(cell, "learned_state", False):
        found.append("learned_state")
    return found
