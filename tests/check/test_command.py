"""The command: targets, expectations and bad input, each in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import statewise as sw

MODULE = """
import torch
from torch import nn

def lstm():
    return nn.LSTM(3, 4)

def dense():
    return nn.Linear(3, 4)

def two():
    return nn.Bilinear(3, 4, 5)

def fails():
    raise ValueError("nothing today")

def nothing():
    return 3

def square():
    class Square(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(3, 4)

        def forward(self, x):
            return self.rnn(x)[0] if x.shape[-1] == x.shape[0] == 7 else x.no_such

    return Square()
"""


def command(*arguments, folder):
    code = "from statewise.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "check", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODULE)
    return tmp_path


def test_a_statewise_file_is_checked(folder):
    model = sw.nn.Model(sw.Architecture(sw.Vector(2), [sw.LSTM(4)], sw.Linear(1)))
    model.save(folder / "m.safetensors")
    done = command("m.safetensors", "--expect", "reset", "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)
    facts = {row["fact"]: row["answer"] for row in report["rows"]}
    assert facts["carry.call"] == "reset"
    assert facts["padding.lengths"] == "ignored"


def test_an_expectation_that_is_not_met_is_exit_status_1(folder):
    done = command("mine:lstm", "--expect", "carry", folder=folder)
    assert done.returncode == 1
    assert "not met: carry.call: expected carried, saw reset" in done.stdout
    wanted = folder / "wanted.json"
    wanted.write_text('{"carry.*": "reset", "swapped": ["refused", "accepted"]}')
    done = command("mine:lstm", "--expect", wanted, folder=folder)
    assert done.returncode == 0, done.stdout
    assert "as expected" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mine:dense"], "the model has no recurrent layer"),
        (["mine:two"], "takes several inputs (input1, input2)"),
        (["mine:fails"], "mine:fails raised ValueError: nothing today"),
        (["mine:nothing"], "int is no model that the check knows"),
        (["mine:square"], "give their shape with --inputs"),
        (["mine:absent"], "mine has no 'absent'"),
        (["absent:lstm"], "absent cannot be imported"),
        (["absent.safetensors"], "there is no file absent.safetensors"),
        (["mine.py"], "mine.py"),
        (["mine:lstm", "--inputs", "3,x"], "--inputs '3,x' is not a shape"),
        (["mine:lstm", "--expect", "mine.py"], "mine.py is not JSON"),
        (["mine:lstm", "--expect", "never"], "there is no file never"),
        ([], "name a model file"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_bad_input_is_one_line(folder, arguments, message):
    done = command(*arguments, folder=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
