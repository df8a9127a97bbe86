"""``statewise check``: what a model does with its state, observed by running it"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass

from statewise.check import Report, demo, run
from statewise.check.backends import choose_backends, compare_backends, run_python
from statewise.check.expectations import load_expectation
from statewise.check.page import render_page
from statewise.check.subject import parse_shape
from statewise.cli.check_text import print_demo, print_reports
from statewise.errors import InputError, MissingExtraError
from statewise.extras import is_installed
from statewise.loading import is_keras_file, load_model
from statewise.progress import Progress

THIS_PROCESS = "running"  # in place of a backend: the one on which Keras runs in this process


@dataclass(frozen=True)
class Options:
    """The options of the command."""

    target: str | None
    expect: str | None = None
    inputs: str | None = None
    backend: str | None = None
    unsafe: bool = False
    demo: bool = False
    html: bool = False
    json: bool = False


def check(options: Options) -> int:
    """Run the command; returns its exit status, 1 where an expectation is not met."""
    if options.demo:
        return _show_demo(options)
    if options.target is None:
        raise InputError("name a model file or module:function, or give --demo")
    expected = load_expectation(options.expect)
    if options.inputs is not None:
        parse_shape(options.inputs)
    with contextlib.redirect_stdout(sys.stderr):  # what the model prints is not part of the report
        reports = [report.expect(expected) for report in _make_reports(options.target, options)]
    if options.json or options.html:
        _print_for_programs(reports, options)
    else:
        print_reports(reports)
    return 0 if all(report.ok for report in reports) else 1


def _show_demo(options: Options) -> int:
    if options.target is not None:
        raise InputError(f"--demo takes no model of yours; leave out --demo or {options.target}")
    found = demo.run_demo()
    if options.json or options.html:
        _print_for_programs(list(found.reports.values()), options)
    else:
        print_demo(found)
    return 0


def _print_for_programs(reports: list[Report], options: Options) -> None:
    if options.json:
        print(json.dumps([report.as_json() for report in reports], indent=2))
    else:
        print(render_page(reports), end="")


def _make_reports(target: str, options: Options) -> list[Report]:
    """One report; for Keras one for each backend, and what they disagree on."""
    chosen = options.backend or ("all" if is_keras_file(target) else THIS_PROCESS)
    if chosen == THIS_PROCESS:
        with Progress(f"checking {target}"):
            model = load_model(target, unsafe=options.unsafe, trainable=is_installed("torch"))
            return [run(model, inputs=options.inputs, target=target)]
    if not is_installed("keras"):
        raise MissingExtraError("keras", "keras", f"checking {target}")
    arguments = ["-c", "from statewise.cli import main; main()", "check", target, "--json"]
    arguments += ["--backend", THIS_PROCESS]
    arguments += ["--unsafe"] if options.unsafe else []
    arguments += ["--inputs", options.inputs] if options.inputs else []
    backends = choose_backends(chosen)
    reports = []
    with Progress(f"checking {target}", len(backends)) as progress:
        for done, backend in enumerate(backends):
            progress.update(done, note=f"on {backend}")
            reports.append(Report.from_json(run_python(arguments, backend)[0]))
    return [*reports, *([compare_backends(reports)] if len(reports) > 1 else [])]
