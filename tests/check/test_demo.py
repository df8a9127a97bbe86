"""The founding question in every environment, and the document that answers it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .environments import block, has_keras

CODE = "from statewise.cli import main; main()"
DOCUMENT = Path(__file__).parents[2] / "docs" / "is-the-state-reset.md"


def demo(folder, *arguments, missing=(), **environment):
    keep = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, "check", "--demo", *arguments],
        cwd=folder,
        env={**keep, **block(folder, *missing), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_without_keras_torch_and_statewise_answer(tmp_path):
    text = demo(tmp_path, missing=["keras"], COLUMNS="200").stdout
    assert text.startswith(
        "A second call that is given no state starts from the initial state in torch `nn.LSTM`; "
        "statewise."
    )
    assert "| call it again: is the state carried? | reset | reset |" in text
    assert "Keras is not installed; add it with: pip install 'statewise[keras]'" in text


def test_without_torch_statewise_answers(tmp_path):
    text = demo(tmp_path, missing=["keras", "torch"]).stdout
    assert "| call it again: is the state carried? | reset |" in text
    assert "torch is not installed; add it with: pip install 'statewise[train]'" in text


def test_a_narrow_terminal_gets_the_answers_by_question(tmp_path):
    text = demo(tmp_path, missing=["keras"], COLUMNS="40").stdout
    assert max(map(len, text.splitlines())) <= 40
    assert "|" not in text
    assert "call it again: is the state carried?\n  reset" in text


def test_the_answers_as_json(tmp_path):
    reports = json.loads(demo(tmp_path, "--json", missing=["keras"]).stdout)
    assert [report["target"] for report in reports] == ["LSTM", "Model"]


@has_keras
def test_keras_answers_on_torch_alone(tmp_path):
    done = demo(tmp_path, missing=["tensorflow", "jax"], COLUMNS="400")
    assert "|  | Keras stateful, torch | Keras not stateful, torch | torch" in done.stdout
    assert "| what a reset returns to | initial | none needed | none needed |" in done.stdout
    assert "backend jax of Keras is not installed; add it with: pip install" in done.stdout
    assert "asking one LSTM of each framework" in done.stderr  # it takes longer than two seconds


@pytest.mark.parametrize("package", ["keras", "torch", "statewise"])
def test_the_document_says_what_to_write(tmp_path, package):
    if package == "keras":
        (has_keras.args[0]) and pytest.skip("Keras is not installed")
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    code = next(block for block in blocks if f"import {package}" in block)
    checks = {
        "keras": "\nassert len(stateful.states) == 2",
        "torch": "\nassert torch.equal(y, lstm(x)[0])",
        "statewise": "\nassert sw.State.load('state.safetensors').position.tolist()",
    }
    done = subprocess.run(
        [sys.executable, "-c", code + checks[package]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
