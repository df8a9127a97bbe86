"""Graphs of ONNX, in onnxruntime"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from statewise.check.subject import Inputs, Subject, Way
from statewise.errors import InputError

LINES = {
    "explicit": "y, *state = session.run(None, {'x': x, 'h0': h, 'c0': c})",
    "held": "np.savez('state.npz', *state)",
    "padding": "give the graph's recurrent nodes their sequence_lens",
}
RECURRENT = ("RNN", "LSTM", "GRU", "Scan", "Loop")
DTYPES = {
    "tensor(float)": "f4",
    "tensor(double)": "f8",
    "tensor(int64)": "i8",
    "tensor(int32)": "i4",
}


@dataclass(frozen=True)
class Graph:
    """An ONNX model in a session, with the kinds and attributes of its recurrent nodes."""

    session: Any
    nodes: tuple[str, ...]
    tokens: int = 2

    @classmethod
    def load(cls, path: Path) -> Graph:
        """Read and prepare a file."""
        import onnx
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        model = onnx.load(str(path), load_external_data=False)
        nodes = [node for node in model.graph.node if node.op_type in RECURRENT]
        gathered = {node.input[0] for node in model.graph.node if node.op_type == "Gather"}
        tokens = [i.dims[0] for i in model.graph.initializer if i.name in gathered]
        return cls(
            session, tuple(f"{n.name or n.op_type}: {n.op_type}" for n in nodes), *tokens[:1]
        )


def handles(model: Any) -> bool:
    """Whether this is a graph that was read from a file."""
    return isinstance(model, Graph)


def subject(model: Graph, inputs: tuple[int | None, ...] | None = None) -> Subject:
    """The graph as the probes see it: its sequence input, its lengths, and states by pairs.

    Raises:
        InputError: no recurrent node, or inputs that are neither sequence, lengths nor state.
    """
    import onnxruntime

    if not model.nodes:
        raise InputError(f"the model has no recurrent layer: none of {', '.join(RECURRENT)}")
    x, *others = model.session.get_inputs()
    lengths = [one.name for one in others if "len" in one.name and len(one.shape) == 1]
    states = [one for one in others if one.name not in lengths]
    y, *ends = model.session.get_outputs()
    ends = [one for one in ends if len(one.shape) > 1]
    if len(states) > len(ends):
        named = ", ".join(one.name for one in [x, *others])
        raise InputError(
            f"the model takes several inputs ({named}) and gives {len(ends)} states back; the "
            "check reads one sequence, then lengths, then states that come out in the same order"
        )
    sizes = [size if isinstance(size, int) else None for size in x.shape]
    shape = tuple(sizes) if inputs is None else inputs
    if len(shape) not in (2, 3):
        raise InputError(f"the input {x.name} is {x.shape}; the check makes rows, steps, features")
    features = (shape[2] or 1) if len(shape) == 3 else None
    found = _Onnx(
        f"onnxruntime {onnxruntime.__version__}",
        model.nodes,
        Inputs(features, model.tokens, shape[0], shape[1]),
        explicit=bool(states),
        lines={k: v for k, v in LINES.items() if states or k == "padding"},
        graph=model,
        x=x,
        states=states,
        ends=[one.name for one in ends[: len(states)]],
        lengths=lengths,
        y=y.name,
    )
    time_first = _time_first(found)
    if time_first and inputs is None:
        found = replace(found, inputs=Inputs(features, model.tokens, shape[1], shape[0]))
    return replace(found, time_first=time_first)


@dataclass
class _Onnx(Subject):
    graph: Any = None
    x: Any = None
    states: list[Any] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    lengths: list[str] = field(default_factory=list)
    y: str = ""
    time_first: bool = False

    def fresh(self) -> Subject:
        return self  # a session holds no state

    def ways(self) -> Mapping[str, Way]:
        return {
            "call": Way(
                lambda xs, _: [self._through(x)[0] for x in xs],
                "session.run(None, {'x': x})",
                evaluates=True,
            )
        }

    def run(self, x: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
        return self._through(x, state) if self.explicit else super().run(x, state)

    def leaves(self, state: Any) -> Mapping[str, np.ndarray]:
        return {name: np.array(leaf) for name, leaf in state.items()}

    def rebuilt(self, state: Any, leaves: Mapping[str, np.ndarray]) -> Any:
        return {name: np.array(leaves[name], leaf.dtype) for name, leaf in state.items()}

    def paddings(self) -> Mapping[str, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, Any]]]:
        return {
            name: lambda x, n: self._through(x, lengths=n)  # one input of lengths is all there is
            for name in self.lengths[:1]
        }

    def _through(
        self, x: np.ndarray, state: Any = None, lengths: np.ndarray | None = None
    ) -> tuple[np.ndarray, Any]:
        rows, steps = x.shape[:2]
        feed = {self.x.name: x.swapaxes(0, 1) if self.time_first else x}
        for one in self.graph.session.get_inputs():
            if one.name in self.lengths:
                told = np.full(rows, steps) if lengths is None else lengths
                feed[one.name] = told.astype(DTYPES.get(one.type, "i8"))
        for one in self.states:
            shape = [size if isinstance(size, int) else rows for size in one.shape]
            feed[one.name] = np.zeros(shape, DTYPES[one.type]) if state is None else state[one.name]
        feed[self.x.name] = feed[self.x.name].astype(DTYPES.get(self.x.type, "f4"))
        y, *ends = self.graph.session.run([self.y, *self.ends], feed)
        after = dict(zip([one.name for one in self.states], ends, strict=True))
        return self._rows_first(np.asarray(y)), after

    def _rows_first(self, y: np.ndarray) -> np.ndarray:
        if y.ndim == 4:  # a bare node: (steps, directions, rows, hidden)
            y = y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1)
        return y.swapaxes(0, 1) if self.time_first and y.ndim > 2 else y


def _time_first(found: _Onnx) -> bool:
    """Intermediates by running: along which axis does the first step reach the later ones?"""
    if found.inputs.rows is not None and found.inputs.rows == found.inputs.steps:
        return False
    size = found.inputs.rows or found.inputs.steps or 3
    x = found.inputs.draw(rows=size, steps=size)
    changed = x.copy()
    changed[0, 0] = found.inputs.draw(rows=size, steps=size, seed=8)[0, 0]
    if x.shape[0] != x.shape[1]:
        return False
    y, z = found._through(x)[0], found._through(changed)[0]
    if y.ndim < 3 or y.shape[:2] != x.shape[:2]:
        return False
    return not np.array_equal(y[1:, 0], z[1:, 0]) and np.array_equal(y[0, 1:], z[0, 1:])
