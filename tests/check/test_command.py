"""The command: targets, expectations and bad input, each in one line."""

import json
import os
import signal
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

def state_dict():
    return lstm().state_dict()

class Stateful(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.state = nn.LSTM(3, 5, batch_first=True), None

    def forward(self, x):
        print("a model that prints")
        y, state = self.rnn(x - x.mean(0, keepdim=True), self.state)
        self.state = tuple(part.detach() for part in state)
        return y

class Slow(Stateful):
    def forward(self, x):
        import time
        time.sleep(0.1)
        return super().forward(x)

def square():
    class Square(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(3, 4)

        def forward(self, x):
            return self.rnn(x)[0] if x.shape[-1] == x.shape[0] == 7 else x.no_such

    return Square()
"""


CODE = "from statewise.cli import main; main()"


def command(*arguments, folder, **environment):
    return subprocess.run(
        [sys.executable, "-c", CODE, "check", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "weights.pt").write_bytes(b"")
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
        (["mine:nothing"], "got int"),
        (["mine:square"], "give their shape: --inputs rows,steps,features"),
        (["mine:absent"], "mine has no 'absent'"),
        (["absent:lstm"], "absent cannot be imported"),
        (["absent.safetensors"], "there is no file absent.safetensors"),
        (["mine.py"], "give mine:NAME"),
        (["weights.pt"], "can run code"),
        (["mine:state_dict"], "load_state_dict"),
        (["mine:lstm", "--demo"], "leave out --demo or mine:lstm"),
        (
            ["mine:lstm", "--inputs", "3,x"],
            "write --inputs rows,steps,features such",
        ),
        (["mine:lstm", "--expect", "mine.py"], "mine.py is not JSON"),
        (["mine:lstm", "--expect", "never"], "there is no file never"),
        ([], "name a model file"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_bad_input_is_one_line(folder, arguments, message):
    done = command(*arguments, folder=folder)
    assert done.returncode == 2
    progress = "checking "  # on a busy machine
    (line,) = [one for one in done.stderr.splitlines() if not one.startswith(progress)]
    assert line.startswith("error: ")
    assert message in line
    assert done.stdout == ""


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_report_fits_any_width_and_begins_with_what_is_wrong(folder, width):
    done = command("mine:Stateful", folder=folder, COLUMNS=str(width), NO_COLOR="1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= width
    assert not any(line != line.rstrip() for line in lines)
    assert "\x1b" not in done.stdout
    text = " ".join(done.stdout.split())
    order = ["wrong,", "reset: wrong", "rows: wrong", "carry.call: surprising"]
    order += ["As expected", "repeat", "Not asked"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_what_a_model_prints_is_not_in_the_json(folder):
    done = command("mine:Stateful", "--json", folder=folder)
    (report,) = json.loads(done.stdout)
    assert report["rows"][0]["fact"] == "repeat"
    assert "a model that prints" in done.stderr


def test_progress_goes_to_standard_error(folder):
    done = command("mine:Slow", "--json", folder=folder)
    assert "checking mine:Slow: " in done.stderr
    json.loads(done.stdout)


@pytest.mark.parametrize("target", ["mine:lstm", "mine:fails", "--demo"])
def test_no_temporary_file_is_left(folder, target):
    temporary = folder / "temporary"
    temporary.mkdir()
    command(target, folder=folder, TMPDIR=str(temporary))
    left = {path.name for path in temporary.iterdir()}
    assert left <= {".ses"}  # of onnxruntime itself


def test_no_temporary_file_is_left_by_an_interrupt(folder):
    temporary = folder / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, "check", "mine:Slow"],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while "a model that prints" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted"
    left = {path.name for path in temporary.iterdir()}
    assert left <= {".ses"}  # of onnxruntime itself
