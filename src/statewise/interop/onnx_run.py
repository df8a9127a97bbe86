"""Running an ONNX graph beside the model made of it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from statewise.architecture import Tokens
from statewise.errors import ConversionError, ConversionWarning
from statewise.interop.onnx_chain import Chain
from statewise.runtime import Model

ROWS, STEPS = 3, 5
TOLERANCE = 1e-4


def require_equal_outputs(graph: Any, model: Model, chain: Chain, source: str) -> None:
    """Run both on the same inputs. Raise where they differ; warn where the graph cannot be run."""
    off = compare_with_graph(graph, model, chain)
    if off is None:
        warnings.warn(
            f"{source} could not be run to compare it with the model made of it; install "
            "onnxruntime, or compare them yourself",
            ConversionWarning,
            stacklevel=3,
        )
    elif not off <= TOLERANCE:
        raise ConversionError(
            f"{source} does more than its nodes one after the other: their outputs differ "
            f"(largest difference {off:.3g})"
        )


def compare_with_graph(graph: Any, model: Model, chain: Chain) -> float | None:
    """The largest difference between a graph's first output and the model's, relative to the
    largest value; None where no runtime runs the graph.
    """
    run = _make_runner(graph)
    given = {value.name: value for value in chain.inputs}
    rng = np.random.default_rng(0)
    found: list[float] = []
    for time_first in (False, True):
        axes = _read_shape(given[chain.input])
        shape = [axes[0] or (STEPS if time_first else ROWS)]
        shape += [axes[1] or (ROWS if time_first else STEPS)] if len(axes) > 1 else []
        inputs = model.architecture.inputs
        if isinstance(inputs, Tokens):
            x: Any = rng.integers(inputs.size, size=shape[:2])
        else:
            x = rng.normal(size=(*shape[:2], inputs.features)).astype(
                _read_dtype(given[chain.input])
            )
        rows, steps = (shape[1], shape[0]) if time_first else (shape[0], shape[1])
        feed = {chain.input: x.astype(_read_dtype(given[chain.input]))}
        for name in chain.states:
            sizes = [size or rows for size in _read_shape(given[name])]
            feed[name] = np.zeros(sizes, _read_dtype(given[name]))
        for name in chain.lengths:
            feed[name] = np.full(rows, steps, _read_dtype(given[name]))
        mine = np.swapaxes(x, 0, 1) if time_first else x
        y, _ = model(np.ascontiguousarray(mine))
        got = None if run is None else run(feed)
        if got is not None:
            found.append(_relative_difference(got, y, chain.last))
    return min(found) if found else None


def run_graph(graph: Any, feed: dict[str, np.ndarray]) -> np.ndarray | None:
    """A graph's first output for these inputs; None where no runtime runs it."""
    run = _make_runner(graph)
    got: np.ndarray | None = None if run is None else run(feed)
    return got


def _relative_difference(got: np.ndarray, y: np.ndarray, last: bool) -> float:
    """How far the graph's output is from the model's (B, T, O), in whichever layout it comes."""
    if last:
        expected, given = (
            [y[:, -1]],
            [got.reshape(y[:, -1].shape)] if got.size == y[:, -1].size else [],
        )
    else:
        expected, given = [y, y.swapaxes(0, 1)], [got]
        if got.ndim == 4:  # (time, directions, batch, H), or with layout 1 (.., .., directions, H)
            given = [each.reshape(*each.shape[:2], -1) for each in (got, got.transpose(0, 2, 1, 3))]
    scale = max(1.0, float(np.abs(y).max(initial=0.0)))
    return min(
        (
            float(np.abs(one - other).max(initial=0.0)) / scale
            for one in given
            for other in expected
            if one.shape == other.shape
        ),
        default=float("inf"),
    )


def _make_runner(graph: Any) -> Any:
    """What gives a graph's first output: onnxruntime, or where it refuses, ONNX's own reference."""
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        first = session.get_outputs()[0].name

        def run(feed: Any) -> Any:
            return session.run([first], feed)[0]
    except Exception:
        from onnx.reference import ReferenceEvaluator

        try:
            reference = ReferenceEvaluator(graph)
        except Exception:
            return None

        def run(feed: Any) -> Any:
            return reference.run(None, feed)[0]

    def run_or_none(feed: Any) -> np.ndarray | None:
        try:
            return np.asarray(run(feed))
        except Exception:
            return None

    return run_or_none


def _read_shape(value: Any) -> list[int]:
    """The axes of an input; 0 where one is dynamic."""
    return [axis.dim_value for axis in value.type.tensor_type.shape.dim]


def _read_dtype(value: Any) -> Any:
    from onnx import helper

    return helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
