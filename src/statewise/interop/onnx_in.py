"""`from_onnx`: an ONNX graph as a statewise model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from statewise.architecture import Architecture, Vector
from statewise.cell import Cell
from statewise.cells import Bidirectional, Dense, Dropout, LayerNorm
from statewise.errors import ConversionError
from statewise.extras import require
from statewise.interop.onnx_chain import RECURRENT, Chain, Link
from statewise.interop.onnx_digest import digest_graph
from statewise.interop.onnx_out import make_graph
from statewise.interop.onnx_recurrent import convert_directions
from statewise.interop.onnx_run import require_equal_outputs
from statewise.interop.parts import Draft, join_directions
from statewise.loading import describe_foreign, framework_of, load_onnx
from statewise.runtime import Model

_ACTIVATIONS = {
    "Relu": "relu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Softsign": "softsign",
    "Softmax": "softmax",
}


def from_onnx(path: str | Path | Any) -> Model:
    """A statewise model that computes what an ONNX graph does.

    Arguments:
        path: a file, or an ``onnx.ModelProto``: what `to_onnx` wrote, or a graph in which one
            input goes through Gather (an embedding), RNN, LSTM, GRU, MatMul, Add, Gemm,
            LayerNormalization and activations, one after the other. Initial states, and the lengths
            of rows, may be inputs: statewise takes both in every call.

    Returns:
        what `statewise.load` gives. It returns every step, batch first, also where the graph is
        time first or returns the last step alone. Where onnxruntime is installed, both were run
        on the same random inputs and agree.

    Raises:
        FileError: no ONNX file, one that is damaged, or weights outside of its folder.
        ConversionError: names every node that cannot be carried over, or a graph that was altered
            since `to_onnx` wrote it.

    Example::

        model = sw.interop.from_onnx("model.onnx")
        y, state = model(x)
    """
    require("onnx", "onnx", "from_onnx")
    is_path = isinstance(path, (str, Path))
    source = f"the ONNX graph {Path(path).name}" if is_path else "the ONNX graph"
    graph = load_onnx(path) if is_path else path
    if framework_of(graph) != "onnx":
        raise ConversionError(
            f"from_onnx takes a graph of ONNX or its path, got {describe_foreign(graph)}"
        )
    metadata = read_properties(graph)
    if "architecture" in metadata:
        return _read_own(graph, metadata, source)
    chain = Chain(graph, source)
    draft = Draft(source)
    draft.problems += chain.problems
    for link in chain.links:
        try:
            _add(draft, link)
        except ConversionError as reason:
            draft.refuse(link.name, str(reason))
    if not draft.problems and not any(link.op in RECURRENT for link in chain.links):
        raise ConversionError(f"{draft.source} has no recurrent node (RNN, LSTM or GRU)")
    model = Model(*draft.finish())
    require_equal_outputs(graph, model, chain, draft.source)
    return model


def read_properties(graph: Any) -> dict[str, str]:
    """The metadata that `to_onnx` wrote into a graph; empty for a graph from elsewhere."""
    prefix = "statewise."
    return {
        entry.key.removeprefix(prefix): entry.value
        for entry in graph.metadata_props
        if entry.key.startswith(prefix)
    }


def _read_own(graph: Any, metadata: dict[str, str], source: str) -> Model:
    """What `to_onnx` wrote: weights by name. The graph must compute what its architecture does."""
    onnx = require("onnx", "onnx", "from_onnx")
    architecture = Architecture.from_json(metadata["architecture"])
    named = {tensor.name: tensor for tensor in graph.graph.initializer}
    arrays = {
        name: onnx.numpy_helper.to_array(named[name])
        for name in architecture.parameters
        if name in named
    }
    model = Model(architecture, arrays)
    again = make_graph(model, reset=metadata.get("reset") == "true")
    if (
        digest_graph(again.graph) != digest_graph(graph.graph)
        or metadata.get("weights") != model.fingerprint()
    ):
        raise ConversionError(
            f"{source} says that statewise wrote it, but it is not the graph of the architecture "
            "that it names: it was altered since, or another version of statewise wrote it"
        )
    return model


def _add(draft: Draft, link: Link) -> None:
    """One node of the chain as the next layer."""
    constants = link.constants
    match link.op:
        case _ if link.op in RECURRENT:
            _add_recurrent(draft, link)
        case "Gather":
            if draft.inputs is not None:
                raise ConversionError("an embedding must come first")
            draft.tokens(constants[0])
        case "MatMul":
            _add_dense(draft, constants[1].T, np.zeros(constants[1].shape[1], constants[1].dtype))
        case "Gemm":
            w = constants[1] if link.attributes.get("transB") else constants[1].T
            b = constants[2] if 2 in constants else np.zeros(len(w), w.dtype)
            if (link.attributes.get("alpha", 1), link.attributes.get("beta", 1)) != (1, 1):
                raise ConversionError("alpha and beta other than 1 have no counterpart")
            _add_dense(draft, w, np.broadcast_to(b, len(w)))
        case "Add":
            _add_bias(draft, next(iter(constants.values())))
        case "LayerNormalization":
            scale = constants[1]
            shift = constants.get(2, np.zeros_like(scale))
            if link.attributes.get("axis", -1) not in (-1, 2) or scale.ndim != 1:
                raise ConversionError("only the last axis is normalised here")
            draft.inputs = draft.inputs or Vector(len(scale))
            epsilon = float(link.attributes.get("epsilon", 1e-5))
            draft.add(LayerNorm(epsilon), {"scale": scale, "shift": shift})
        case "Dropout":
            draft.add(Dropout(0.0))
        case _:
            draft.activate(link.name, _ACTIVATIONS[link.op])


def _add_dense(draft: Draft, w: np.ndarray, b: np.ndarray) -> None:
    draft.inputs = draft.inputs or Vector(w.shape[1])
    arrays = {"W": np.ascontiguousarray(w), "b": np.ascontiguousarray(b)}
    draft.add(Dense(len(w)), arrays)


def _add_bias(draft: Draft, b: np.ndarray) -> None:
    """An Add after a MatMul is the bias of its linear layer."""
    last = draft.layers[-1] if draft.layers else None
    key = f"{len(draft.layers) - 1}.b"
    if not isinstance(last, Dense) or last.activation != "linear" or b.size not in (1, last.units):
        raise ConversionError("what is added must be the bias of a linear layer")
    bias = draft.arrays[key]
    draft.arrays[key] = bias + np.broadcast_to(b.reshape(-1), bias.shape)


def _add_recurrent(draft: Draft, link: Link) -> None:
    both = convert_directions(link)
    cell: Cell = both[0][0]
    if len(both) == 1:
        arrays = both[0][1]
    else:
        if both[1][0] != cell:
            raise ConversionError(f"its directions differ: {cell} and {both[1][0]}")
        cell, arrays = Bidirectional(cell), join_directions(both[0][1], both[1][1])
    draft.inputs = draft.inputs or Vector(int(link.constants[1].shape[2]))
    draft.add(cell, arrays)
