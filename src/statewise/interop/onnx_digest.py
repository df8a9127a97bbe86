"""`digest_graph`: what an ONNX graph computes, whatever its nodes are called and in which order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from statewise.extras import require


def digest_graph(graph: Any) -> str:
    """A digest that is equal for graphs with the same inputs, outputs, operators and weights.

    Names of inner values and the order of nodes that do not depend on each other do not count.
    """
    values = {given.name: f"input {given.name}" for given in graph.input}
    inputs = [given.SerializeToString(deterministic=True) for given in graph.input]
    outputs = [given.SerializeToString(deterministic=True) for given in graph.output]
    return _digest(inputs, outputs, _digest_outputs(graph, values))


def _digest_outputs(graph: Any, values: Mapping[str, str]) -> list[str]:
    """A digest of each output of a graph, given those of the values from outside."""
    onnx = require("onnx", "onnx", "comparing graphs")
    known = {"": "", **values}
    for tensor in graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        known[tensor.name] = _digest(array.dtype.str, array.shape, array.tobytes())
    for node in graph.node:
        attributes = []
        for attribute in sorted(node.attribute, key=lambda one: one.name):
            value: Any = onnx.helper.get_attribute_value(attribute)
            if isinstance(value, onnx.GraphProto):  # the body of a loop
                places = {given.name: f"place {place}" for place, given in enumerate(value.input)}
                value = _digest_outputs(value, known | places)
            elif isinstance(value, onnx.TensorProto):
                value = onnx.numpy_helper.to_array(value).tolist()
            attributes.append((attribute.name, value))
        base = _digest(
            node.domain, node.op_type, attributes, [known.get(name, name) for name in node.input]
        )
        known |= {name: _digest(base, place) for place, name in enumerate(node.output)}
    return [known[given.name] for given in graph.output]


def _digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
