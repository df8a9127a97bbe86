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


def check(made: Any, model: Model, chain: Chain, source: str) -> None:
    """Run both on the same inputs. Raise where they differ; warn where the graph cannot be run."""
    off = difference(made, model, chain)
    if off is None:
        warnings.warn(
            f"{source} could not be run to compare it with the model made of it; install "
            "onnxruntime, or compare them yourself",
            ConversionWarning,
            stacklevel=3,
        )
    elif not off <= TOLERANCE:
        raise ConversionError(
            f"{source} was taken apart, but its nodes in order give something else than the graph "
            f"(largest difference {off:.3g}): it does more than one after the other"
        )


def difference(made: Any, model: Model, chain: Chain) -> float | None:
    """The largest difference between a graph's first output and the model's, relative to the
    largest value; None where no runtime runs the graph.
    """
    run = _runner(made)
    given = {value.name: value for value in chain.inputs}
    rng = np.random.default_rng(0)
    found: list[float] = []
    for turned in (False, True):
        axes = _shape(given[chain.input])
        shape = [axes[0] or (STEPS if turned else ROWS)]
        shape += [axes[1] or (ROWS if turned else STEPS)] if len(axes) > 1 else []
        inputs = model.architecture.inputs
        if isinstance(inputs, Tokens):
            x: Any = rng.integers(inputs.size, size=shape[:2])
        else:
            x = rng.normal(size=(*shape[:2], inputs.features)).astype(_dtype(given[chain.input]))
        rows, steps = (shape[1], shape[0]) if turned else (shape[0], shape[1])
        feed = {chain.input: x.astype(_dtype(given[chain.input]))}
        for name in chain.states:
            sizes = [size or rows for size in _shape(given[name])]
            feed[name] = np.zeros(sizes, _dtype(given[name]))
        for name in chain.lengths:
            feed[name] = np.full(rows, steps, _dtype(given[name]))
        mine = np.swapaxes(x, 0, 1) if turned else x
        y, _ = model(np.ascontiguousarray(mine))
        got = None if run is None else run(feed)
        if got is not None:
            found.append(_apart(got, y, chain.last))
    return min(found) if found else None


def first_output(made: Any, feed: dict[str, np.ndarray]) -> np.ndarray | None:
    """A graph's first output for these inputs; None where no runtime runs it."""
    run = _runner(made)
    got: np.ndarray | None = None if run is None else run(feed)
    return got


def _apart(got: np.ndarray, y: np.ndarray, last: bool) -> float:
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


def _runner(made: Any) -> Any:
    """What gives a graph's first output: onnxruntime, or where it refuses, ONNX's own reference."""
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(
            made.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        first = session.get_outputs()[0].name

        def run(feed: Any) -> Any:
            return session.run([first], feed)[0]
    except Exception:
        from onnx.reference import ReferenceEvaluator

        try:
            reference = ReferenceEvaluator(made)
        except Exception:
            return None

        def run(feed: Any) -> Any:
            return reference.run(None, feed)[0]

    def tried(feed: Any) -> np.ndarray | None:
        try:
            return np.asarray(run(feed))
        except Exception:
            return None

    return tried


def _shape(value: Any) -> list[int]:
    """The axes of an input; 0 where one is dynamic."""
    return [axis.dim_value for axis in value.type.tensor_type.shape.dim]


def _dtype(value: Any) -> Any:
    from onnx import helper

    return helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
