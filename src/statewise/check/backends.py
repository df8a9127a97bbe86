"""The same model on every backend of Keras: one process each, and what they disagree on"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from statewise.check.report import Report, Row
from statewise.errors import InputError, MissingExtraError
from statewise.loading import installed_backends
from statewise.loading.keras_backend import INSTALL

TOLERANCE = 1e-4


def choose_backends(given: str) -> list[str]:
    """The backends that ``all``, or names with commas between, stand for.

    Raises:
        InputError: a name that is no backend of Keras, or one that is not installed.
        MissingExtraError: none is installed.
    """
    installed = installed_backends()
    names = installed if given == "all" else [name.strip() for name in given.split(",")]
    for name in names:
        if name not in INSTALL:
            raise InputError(f"backend='{given}' must be all, or of {', '.join(INSTALL)}")
        if name not in installed:
            raise InputError(f"the backend {name} of Keras is not installed; {INSTALL[name]}")
    if not names:
        backends = f"a backend of Keras (one of {', '.join(INSTALL)})"
        raise MissingExtraError(backends, "train", "running a Keras model")
    return names


def run_python(arguments: Sequence[str], backend: str) -> Any:
    """The JSON that a Python process prints with Keras on one backend.

    Its temporary files go to a folder that is removed afterwards, also if it is interrupted.

    Raises:
        InputError: the process failed; with its message.
    """
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "JAX_PLATFORMS": "cpu"}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = subprocess.run(
            [sys.executable, *arguments],
            env={**quiet, **os.environ, "KERAS_BACKEND": backend, "TMPDIR": folder},
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        return json.loads(process.stdout)
    except ValueError:
        lines = [line for line in process.stderr.splitlines() if line.strip()]
        last = lines[-1] if lines else f"the process ended with status {process.returncode}"
        message = next((line for line in lines if line.startswith("error: ")), last)
        raise InputError(f"on {backend}: {message.removeprefix('error: ')}") from None


def compare_backends(reports: Sequence[Report]) -> Report:
    """What several backends disagree on, a row each."""
    names = [report.framework.rpartition(" ")[2] for report in reports]
    rows = [_compare_outputs(names, reports)]
    shared = [fact for fact in reports[0].facts if all(fact in one.facts for one in reports)]
    for fact in shared:
        answers = [report[fact].answer for report in reports]
        if len(set(answers)) > 1:
            seen = "; ".join(
                f"{name}: {answer}" for name, answer in zip(names, answers, strict=True)
            )
            rows.append(
                Row(
                    f"backends.{fact}", reports[0][fact].question, "differ", seen, "surprise",
                    "The backend changes the speed, not the answer.",
                    "use one backend throughout, or pass the state yourself",
                )
            )  # fmt: skip
    framework = f"{', '.join(names)} compared"
    return Report(reports[0].target, framework, reports[0].layers, tuple(rows))


def _compare_outputs(names: Sequence[str], reports: Sequence[Report]) -> Row:
    first = np.array(reports[0].sample)
    largest = max(
        (float(np.abs(np.array(one.sample) - first).max()) if one.sample else 0.0)
        for one in reports
    )
    same = largest <= TOLERANCE
    return Row(
        "backends",
        "Do all backends give the same outputs?",
        "same" if same else "differ",
        f"{', '.join(names)}: {'the same outputs' if same else f'outputs off by {largest:.2g}'}",
        "ok" if same else "surprise",
        "Yes, up to rounding.",
        ""
        if same
        else "save the model to a file and check the file: a function may draw other weights",
    )
