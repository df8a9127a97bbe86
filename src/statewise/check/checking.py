"""`run`: run a model in every way it can be called, and report what it does with its state"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import statewise.check.probes  # noqa: F401  registers the probes
from statewise.check.registry import PROBES
from statewise.check.report import Report, Row
from statewise.check.subject import Subject, parse_shape
from statewise.errors import InputError
from statewise.loading import describe_foreign, framework_of
from statewise.progress import Progress

SAMPLE_SIZE = 64


def run(
    model: Any,
    *,
    expect: str | dict[str, Any] | None = None,
    inputs: str | tuple[int | None, ...] | None = None,
    target: str | None = None,
    only: Sequence[str] | None = None,
) -> Report:
    """Run a model in every way it can be called, and report what it does with its state.

    Arguments:
        model: of torch, Keras, flax, ONNX (an ``onnx.ModelProto``) or statewise; the check runs a
            copy, or restores the model afterwards.
        expect: ``"carry"`` or ``"reset"``, for every mode of calling; or fact -> answer (or a list
            of answers that are accepted), where ``*`` in a fact stands for anything.
        inputs: the shape of its inputs, ``"rows,steps,features"`` with ``?`` for any size; None
            finds it by trying.
        target: the name of the model in the report.
        only: the names of the probes to run, such as ``["carry", "reset"]``; None runs all.

    Returns:
        The report; ``report.ok`` says whether the expectations were met.

    Raises:
        InputError: no model, no recurrent layer, several inputs, or no inputs that fit.

    Example::

        report = statewise.check.run(torch.nn.LSTM(3, 8), expect="reset")
        assert report.ok, report.failures
    """
    if isinstance(expect, str) and expect not in ("carry", "reset"):
        raise InputError(f"expect must be 'carry', 'reset' or a mapping, got {expect!r}")
    names = {probe.name for probe in PROBES}
    if only is not None and (unknown := sorted(set(only) - names)):
        raise InputError(f"there is no probe {unknown[0]!r}; there are {', '.join(sorted(names))}")
    shape = parse_shape(inputs) if isinstance(inputs, str) else inputs
    target = target or type(model).__name__
    with warnings.catch_warnings(), Progress(f"checking {target}") as progress:
        warnings.simplefilter("ignore")  # of the model; what it raises is in the report
        subject = make_subject(model, shape)
        probes = [probe for probe in PROBES if only is None or probe.name in only]
        progress.total = len(probes)
        rows: list[Row] = []
        for done, probe in enumerate(probes):
            progress.update(done, note=probe.name)
            rows += probe.make_rows(subject)
        sample = _take_sample(subject)
    report = Report(target, subject.framework, subject.layers, tuple(rows), sample=sample)
    return report.expect(expect)


def make_subject(model: Any, inputs: tuple[int | None, ...] | None = None) -> Subject:
    """The model as the probes see it, by the adapter of its framework.

    Raises:
        InputError: what is no model of a framework that the check knows.
    """
    if isinstance(model, Subject):
        return model
    framework = framework_of(model)
    if framework is None:
        raise InputError(
            "the check takes a model of torch, Keras, flax, ONNX or statewise, got "
            f"{describe_foreign(model)}"
        )
    adapter = import_module(f"statewise.check.adapters.{framework}")
    subject: Subject = adapter.make_subject(model, inputs)
    return subject


def _take_sample(subject: Subject) -> tuple[float, ...]:
    """The first outputs of a plain call, to compare with those of another backend."""
    try:
        (y,) = subject.observe(subject.plain_mode, [subject.inputs.draw(seed=1)])
    except Exception:  # a row says what it raised
        return ()
    return tuple(float(value) for value in y.ravel()[:SAMPLE_SIZE])
