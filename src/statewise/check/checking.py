"""`run`: a model, a subject, the probes, a report"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import statewise.check.probes  # noqa: F401  registers the probes
from statewise.check.registry import PROBES
from statewise.check.report import Report
from statewise.check.subject import Subject, parse_shape
from statewise.errors import InputError

SHOWN = 64
# A model's framework is imported already: nothing is imported to find out whose it is.
FRAMEWORKS = {
    "statewise": "statewise",
    "keras": "keras",
    "flax": "flax",
    "torch": "torch",
    "onnxruntime": "onnx",
}


def run(
    model: Any,
    *,
    expect: str | dict[str, Any] | None = None,
    inputs: str | tuple[int | None, ...] | None = None,
    target: str | None = None,
    only: Sequence[str] | None = None,
) -> Report:
    """Run a model in every way it has, and say what it does with its state.

    Arguments:
        model: of torch, Keras, flax, onnxruntime (a session) or statewise; it is copied, or put
            back as it was.
        expect: ``"carry"`` or ``"reset"``, of every way of calling; or fact -> answer (or several
            that will do), where ``*`` in a fact stands for anything.
        inputs: the shape of what it reads, ``"rows,steps,features"`` with ``?`` for any size;
            found by trying where it is not given.
        target: what the report calls it.
        only: the names of the probes to run, such as ``["carry", "reset"]``; all of them.

    Returns:
        The report; ``report.ok`` says whether what was expected was seen.

    Raises:
        InputError: no model, no recurrent layer, several inputs, or no inputs that fit.

    Example::

        report = statewise.check.run(torch.nn.LSTM(3, 8), expect="reset")
        assert report.ok, report.failures
    """
    if isinstance(expect, str) and expect not in ("carry", "reset"):
        raise InputError(f"expect must be 'carry', 'reset' or a mapping, got {expect!r}")
    shape = parse_shape(inputs) if isinstance(inputs, str) else inputs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the model; what it raises is in the report
        examined = subject_of(model, shape)
        asked = [probe for probe in PROBES if only is None or probe.name in only]
        rows = [row for probe in asked for row in probe.rows(examined)]
        sample = _sample(examined)
    report = Report(
        target or type(model).__name__,
        examined.framework,
        examined.layers,
        tuple(rows),
        sample=sample,
    )
    return report.expecting(expect)


def _sample(examined: Subject) -> tuple[float, ...]:
    """The first outputs of a plain call, to hold beside those of another backend."""
    try:
        way = examined.fresh().ways()[examined.plain]
        (y,) = way.observe([examined.inputs.draw(seed=1)], 1)
    except Exception:  # a row says what it raised
        return ()
    return tuple(float(value) for value in y.ravel()[:SHOWN])


def subject_of(model: Any, inputs: tuple[int | None, ...] | None = None) -> Subject:
    """The model as the probes see it, by the adapter of its framework."""
    if isinstance(model, Subject):
        return model
    for package, name in FRAMEWORKS.items():
        if package in sys.modules:
            adapter = import_module(f"statewise.check.adapters.{name}")
            if adapter.handles(model):
                found: Subject = adapter.subject(model, inputs)
                return found
    raise InputError(
        f"{type(model).__name__} is no model that the check knows; it takes models of torch, "
        "Keras, flax, onnxruntime and statewise"
    )
