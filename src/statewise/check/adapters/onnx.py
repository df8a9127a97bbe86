"""Graphs of ONNX, in onnxruntime"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from statewise.check.subject import CallMode, Inputs, PaddedRun, Subject, call_each
from statewise.errors import InputError
from statewise.extras import require

SNIPPETS = {
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


def make_subject(model: Any, inputs: tuple[int | None, ...] | None = None) -> OnnxSubject:
    """The graph as the probes see it: its sequence input, its lengths, and its states in pairs.

    Arguments:
        model: an ``onnx.ModelProto``.
        inputs: the shape of its inputs; None takes the one that the graph states.

    Raises:
        InputError: no recurrent node, or inputs that are neither sequence, lengths nor state.
    """
    onnxruntime = require("onnxruntime", "onnx", "running an ONNX graph")
    recurrent = [node for node in model.graph.node if node.op_type in RECURRENT]
    if not recurrent:
        raise InputError(
            f"the model has no recurrent layer: no node is one of {', '.join(RECURRENT)}"
        )
    session = _start_session(onnxruntime, model)
    x, *others = session.get_inputs()
    lengths = [one.name for one in others if "len" in one.name and len(one.shape) == 1]
    states = [one for one in others if one.name not in lengths]
    y, *ends = session.get_outputs()
    ends = [one for one in ends if len(one.shape) > 1]
    if len(states) > len(ends):
        names = ", ".join(one.name for one in [x, *others])
        raise InputError(
            f"the model takes several inputs ({names}) and returns {len(ends)} states; the "
            "check takes one sequence, then lengths, then states that it returns in the same order"
        )
    sizes = [size if isinstance(size, int) else None for size in x.shape]
    shape = tuple(sizes) if inputs is None else inputs
    if len(shape) not in (2, 3):
        raise InputError(
            f"the input {x.name} is {x.shape}; the check takes (rows, steps, features)"
        )
    features = (shape[2] or 1) if len(shape) == 3 else None
    gathered = {node.input[0] for node in model.graph.node if node.op_type == "Gather"}
    sizes_of_tables = [i.dims[0] for i in model.graph.initializer if i.name in gathered]
    tokens = sizes_of_tables[0] if sizes_of_tables else 2
    subject = OnnxSubject(
        f"onnxruntime {onnxruntime.__version__}",
        tuple(f"{node.name or node.op_type}: {node.op_type}" for node in recurrent),
        Inputs(features, tokens, shape[0], shape[1]),
        explicit=bool(states),
        snippets={k: v for k, v in SNIPPETS.items() if states or k == "padding"},
        session=session,
        x=x,
        states=states,
        ends=[one.name for one in ends[: len(states)]],
        lengths=lengths,
        y=y.name,
    )
    time_first = _is_time_first(subject)
    if time_first and inputs is None:
        subject = replace(subject, inputs=Inputs(features, tokens, shape[1], shape[0]))
    return replace(subject, time_first=time_first)


@dataclass
class OnnxSubject(Subject):
    """A graph in a session of onnxruntime. It holds no state, so there is nothing to restore."""

    session: Any = None
    x: Any = None
    states: list[Any] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    lengths: list[str] = field(default_factory=list)
    y: str = ""
    time_first: bool = False

    def restore(self) -> Subject:
        return self

    def find_call_modes(self) -> Mapping[str, CallMode]:
        return {
            "call": call_each(
                lambda x: self.call(x)[0], "session.run(None, {'x': x})", evaluates=True
            )
        }

    def run(self, x: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
        return self.call(x, state) if self.explicit else super().run(x, state)

    def read_state(self, state: Any) -> Mapping[str, np.ndarray]:
        return {name: np.array(leaf) for name, leaf in state.items()}

    def rebuild_state(self, state: Any, arrays: Mapping[str, np.ndarray]) -> Any:
        return {name: np.array(arrays[name], leaf.dtype) for name, leaf in state.items()}

    def find_padding_modes(self) -> Mapping[str, PaddedRun]:
        return {
            name: lambda x, n: self.call(x, lengths=n)  # one input of lengths is all there is
            for name in self.lengths[:1]
        }

    def call(
        self, x: np.ndarray, state: Any = None, lengths: np.ndarray | None = None
    ) -> tuple[np.ndarray, Any]:
        rows, steps = x.shape[:2]
        feed = {self.x.name: x.swapaxes(0, 1) if self.time_first else x}
        for one in self.session.get_inputs():
            if one.name in self.lengths:
                given = np.full(rows, steps) if lengths is None else lengths
                feed[one.name] = given.astype(DTYPES.get(one.type, "i8"))
        for one in self.states:
            shape = [size if isinstance(size, int) else rows for size in one.shape]
            feed[one.name] = np.zeros(shape, DTYPES[one.type]) if state is None else state[one.name]
        feed[self.x.name] = feed[self.x.name].astype(DTYPES.get(self.x.type, "f4"))
        y, *ends = self.session.run([self.y, *self.ends], feed)
        after = dict(zip([one.name for one in self.states], ends, strict=True))
        return self._put_rows_first(np.asarray(y)), after

    def _put_rows_first(self, y: np.ndarray) -> np.ndarray:
        if y.ndim == 4:  # a bare node: (steps, directions, rows, hidden)
            y = y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1)
        return y.swapaxes(0, 1) if self.time_first and y.ndim > 2 else y


def _start_session(onnxruntime: Any, model: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, ["CPUExecutionProvider"]
        )
    except Exception as error:
        raise InputError(f"onnxruntime cannot run the graph: {error}") from error


def _is_time_first(subject: OnnxSubject) -> bool:
    """Whether time is the first axis: the one along which the first step changes later outputs."""
    if subject.inputs.rows is not None and subject.inputs.rows == subject.inputs.steps:
        return False
    size = subject.inputs.rows or subject.inputs.steps or 3
    x = subject.inputs.draw(rows=size, steps=size)
    changed = x.copy()
    changed[0, 0] = subject.inputs.draw(rows=size, steps=size, seed=8)[0, 0]
    if x.shape[0] != x.shape[1]:
        return False
    y, z = subject.call(x)[0], subject.call(changed)[0]
    if y.ndim < 3 or y.shape[:2] != x.shape[:2]:
        return False
    return not np.array_equal(y[1:, 0], z[1:, 0]) and np.array_equal(y[0, 1:], z[0, 1:])
