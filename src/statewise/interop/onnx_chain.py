"""An ONNX graph as a chain of nodes, from its input to its first output.

Nodes that only move axes are left out: a run of both models shows whether the rest is complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise.errors import ConversionError
from statewise.extras import require

RECURRENT = ("RNN", "LSTM", "GRU")
_LAYERS = {"MatMul", "Gemm", "Add", "LayerNormalization", *RECURRENT}
_ACTIVATIONS = {"Relu", "Tanh", "Sigmoid", "Softsign", "Softmax"}
_MOVES = {"Transpose", "Squeeze", "Unsqueeze", "Reshape", "Identity", "Cast", "Flatten", "Dropout"}
_STATE = {*_MOVES, "Slice", "Gather", "Split", "Expand", "Concat", "ConstantOfShape"}


@dataclass(frozen=True)
class Link:
    """One node of the chain.

    Arguments:
        name, op: the node's.
        constants: its inputs that are weights, by place.
        attributes: the node's.
    """

    name: str
    op: str
    constants: Mapping[int, np.ndarray]
    attributes: Mapping[str, Any]


class Chain:
    """The nodes from a graph's input to its first output.

    Arguments:
        model: the ONNX model.
        source: what it is called in errors.
    """

    def __init__(self, model: Any, source: str) -> None:
        onnx = require("onnx", "onnx", "from_onnx")
        self.graph = model.graph
        self._array = onnx.numpy_helper.to_array
        self._value = onnx.helper.get_attribute_value
        self.weights = {tensor.name: tensor for tensor in self.graph.initializer}
        self.producers = {name: node for node in self.graph.node for name in node.output if name}
        self.inputs = [given for given in self.graph.input if given.name not in self.weights]
        self.states: set[str] = set()
        self.lengths: set[str] = set()
        self.last = False
        self.links: list[Link] = []
        self.problems: list[str] = []
        for node in self.graph.node:
            if node.op_type in RECURRENT:
                self._find_states(node)
        main = [g.name for g in self.inputs if g.name not in self.states | self.lengths]
        if len(main) != 1:
            raise ConversionError(
                f"{source} has {len(main)} inputs besides states and lengths "
                f"({', '.join(main) or 'none'}); one is carried over"
            )
        self.input = main[0]
        self._follow()
        self.links.reverse()

    def _follow(self) -> None:
        """Follow the nodes from the first output back to the input."""
        name = self.graph.output[0].name
        while name in self.producers:
            node = self.producers[name]
            dynamic = [
                i for i, given in enumerate(node.input) if given and self.constant(given) is None
            ]
            if node.op_type in RECURRENT:
                self._note_final_state(node, name)
                dynamic = [0]
            elif node.op_type == "Reshape":
                dynamic = [0]
            if len(dynamic) != 1:
                self.problems.append(
                    f"{_describe(node)}: it combines several values; only a chain is carried over"
                )
                return
            self._add_link(node)
            name = node.input[dynamic[0]]
        if name != self.input:
            self.problems.append(f"{name}: the first output does not come from {self.input}")

    def _add_link(self, node: Any) -> None:
        """Add a node to the chain, unless it only moves axes."""
        op = node.op_type
        constants = {
            i: value
            for i, given in enumerate(node.input)
            if given and (value := self.constant(given)) is not None
        }
        if op in _MOVES:
            return
        picks = op == "Slice" or (op == "Gather" and 1 in constants)
        if picks:
            self.last = True
            return
        if op not in _LAYERS | _ACTIVATIONS | {"Gather"}:
            self.problems.append(f"{_describe(node)}: no counterpart")
            return
        if op in ("MatMul", "Gemm", "LayerNormalization", *RECURRENT) and 1 not in constants:
            self.problems.append(f"{_describe(node)}: its weights are computed as the graph runs")
            return
        self.links.append(Link(_describe(node), op, constants, self.attributes(node)))

    def _note_final_state(self, node: Any, name: str) -> None:
        """Whether the chain leaves a recurrent node by its final state."""
        if name != node.output[0]:
            self.last = True
            attributes = self.attributes(node)
            if attributes.get("direction", b"forward") == b"bidirectional":
                self.problems.append(
                    f"{_describe(node)}: the final state of both directions is no step's output"
                )
            if len(node.output) > 2 and name == node.output[2]:
                self.problems.append(f"{_describe(node)}: the chain goes through its cell state")

    def _find_states(self, node: Any) -> None:
        """The inputs that are initial states and lengths; a fixed initial state must be zero."""
        for place, found in ((4, self.lengths), (5, self.states), (6, self.states)):
            if len(node.input) <= place or not node.input[place]:
                continue
            origin = self._find_origin(node.input[place])
            if isinstance(origin, str):
                found.add(origin)
            elif origin is None or origin.any():
                what = "the lengths of its rows are" if place == 4 else "its initial state is"
                self.problems.append(f"{_describe(node)}: {what} fixed in the graph or computed")

    def _find_origin(self, name: str) -> str | np.ndarray | None:
        """The input that a value comes from, or the constant; None where it is neither."""
        for _ in range(100):
            value = self.constant(name)
            if value is not None:
                return value
            node = self.producers.get(name)
            if node is None:
                return name
            if node.op_type == "ConstantOfShape":
                filled = self.attributes(node).get("value")
                return np.zeros(1) if filled is None else np.asarray(self._array(filled))
            if node.op_type not in _STATE:
                return None
            name = node.input[0]
        return None

    def constant(self, name: str) -> np.ndarray | None:
        """The value of a weight or constant, or None."""
        if name in self.weights:
            return np.asarray(self._array(self.weights[name]))
        node = self.producers.get(name)
        if node is not None and node.op_type == "Constant":
            held = self.attributes(node).get("value")
            return None if held is None else np.asarray(self._array(held))
        if node is not None and node.op_type == "Identity":
            return self.constant(node.input[0])
        return None

    def attributes(self, node: Any) -> dict[str, Any]:
        """A node's attributes by name."""
        return {given.name: self._value(given) for given in node.attribute}


def _describe(node: Any) -> str:
    return f"{node.name or node.output[0]} ({node.op_type})"
