"""The same on every backend: one process each, and what they disagree on"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from statewise.check.report import Report, Row
from statewise.errors import InputError

BACKENDS = ("tensorflow", "torch", "jax")
TOLERANCE = 1e-4


def installed() -> list[str]:
    """The backends of Keras that can be imported here."""
    return [name for name in BACKENDS if importlib.util.find_spec(name) is not None]


def chosen(given: str) -> list[str]:
    """``all``, or names with commas between.

    Raises:
        InputError: a name that is no backend of Keras, or is not installed.
    """
    names = installed() if given == "all" else given.split(",")
    for name in names:
        if name not in BACKENDS:
            raise InputError(f"--backend takes all, or {', '.join(BACKENDS)}; got {name!r}")
        if name not in installed():
            extra = {"jax": "jax", "torch": "train"}.get(name)
            how = f"'statewise[{extra}]'" if extra else name
            raise InputError(f"the backend {name} is not installed; pip install {how}")
    if not names:
        raise InputError(f"none of Keras's backends is installed: {', '.join(BACKENDS)}")
    return names


def python(arguments: Sequence[str], backend: str) -> Any:
    """The JSON that a Python process prints, with Keras on one backend."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**quiet, **os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return json.loads(done.stdout)
    except ValueError:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        said = next((line for line in lines if line.startswith("error: ")), lines[-1])
        raise InputError(f"on {backend}: {said.removeprefix('error: ')}") from None


def agreement(reports: Sequence[Report]) -> Report:
    """What several backends disagree on, a row each."""
    names = [report.framework.rpartition(" ")[2] for report in reports]
    rows = [_outputs(names, reports)]
    shared = [fact for fact in reports[0].facts if all(fact in one.facts for one in reports)]
    for fact in shared:
        answers = [report[fact].answer for report in reports]
        if len(set(answers)) > 1:
            seen = ", ".join(
                f"{name}: {answer}" for name, answer in zip(names, answers, strict=True)
            )
            row = reports[0][fact]
            rows.append(
                Row(
                    f"backends.{fact}", row.question, "differ", seen, "surprise",
                    "The backend changes the speed, not the answer.",
                    "keep to one backend, or pass the state yourself",
                )
            )  # fmt: skip
    return Report(
        reports[0].target, f"{', '.join(names)} beside each other", reports[0].layers, tuple(rows)
    )


def _outputs(names: Sequence[str], reports: Sequence[Report]) -> Row:
    first = np.array(reports[0].sample)
    far = max(
        (float(np.abs(np.array(one.sample) - first).max()) if one.sample else 0.0)
        for one in reports
    )
    same = far <= TOLERANCE
    return Row(
        "backends",
        "Do all backends give the same outputs?",
        "same" if same else "differ",
        f"{', '.join(names)}: {'alike' if same else f'off by {far:.2g}'}",
        "ok" if same else "surprise",
        "Yes, up to rounding.",
        ""
        if same
        else "save the model to a file and check that: a callable may draw other weights",
    )
