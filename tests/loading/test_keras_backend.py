"""Keras on a backend that is installed; what is missing is named precisely."""

import json
import os
import subprocess
import sys

import pytest

from tests.check.environments import block, has_keras

CODE = """
import warnings
import statewise as sw
from statewise.loading import require_keras
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        keras = require_keras("this test")
    except (sw.MissingExtraError, sw.InputError) as error:
        print(type(error).__name__, error)
    else:
        print(keras.backend.backend(), [str(w.message) for w in caught if "Keras runs" in str(w)])
"""


def ask(folder, *missing, **environment):
    keep = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    home = {"KERAS_HOME": str(folder / "home")}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**keep, **home, **block(folder, *missing), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_keras_the_extra_is_named(tmp_path):
    assert "pip install 'statewise[keras]'" in ask(tmp_path, "keras")


@has_keras
def test_torch_is_chosen_where_the_default_is_not_installed(tmp_path):
    said = ask(tmp_path, "tensorflow", "jax")
    assert said.startswith("torch ")
    assert "Keras runs on torch here" in said
    assert "tensorflow, is not installed" in said


@has_keras
def test_a_configured_backend_is_taken_without_a_word(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "keras.json").write_text(json.dumps({"backend": "torch"}))
    assert ask(tmp_path, "tensorflow", "jax").strip() == "torch []"
    assert ask(tmp_path, "tensorflow", KERAS_BACKEND="torch").strip() == "torch []"


@has_keras
@pytest.mark.parametrize(
    ("missing", "backend", "message"),
    [
        (("jax",), "jax", "pip install 'statewise[jax]', or set KERAS_BACKEND to"),
        (("tensorflow",), "tensorflow", "pip install tensorflow, or set KERAS_BACKEND to torch"),
    ],
)
def test_a_backend_that_is_asked_for_is_not_replaced(tmp_path, missing, backend, message):
    said = ask(tmp_path, *missing, KERAS_BACKEND=backend)
    assert said.startswith("InputError")
    assert message in said
    assert "statewise[keras]" not in said


@has_keras
def test_keras_alone_needs_a_backend(tmp_path):
    said = ask(tmp_path, "tensorflow", "jax", "torch")
    assert "needs a backend of Keras (one of tensorflow, torch, jax)" in said
    assert "statewise[keras]" not in said
