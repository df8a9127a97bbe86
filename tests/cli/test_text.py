import json
import re
from pathlib import Path

import pytest
from tests.cli.test_cli import call

import statewise as sw

RHYME = "one two three four five, once I caught a fish alive.\n"
SMALL = ["--units", 8, "--layers", 1, "--width", 4, "--lanes", 4, "--chunk", 20]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    (folder / "rhyme.txt").write_text(RHYME * 40)
    out = folder / "run"
    done = call(
        "text", "train", folder / "rhyme.txt", "--out", out, "--epochs", 2, "--every", 9, *SMALL
    )
    assert done.returncode == 0, done.stderr
    assert "held out" in done.stdout
    assert "best" in done.stdout
    assert {path.name for path in out.iterdir()} == {"model.safetensors", "training.safetensors"}
    return out


def test_generate_writes_from_a_prompt(trained):
    one = call("text", "generate", trained, "--prompt", "one", "--length", 40, "--seed", 1)
    assert one.returncode == 0, one.stderr
    assert one.stdout.startswith("one")
    assert len(one.stdout) == 3 + 40 + 1
    model = sw.TextModel.load(trained)
    assert one.stdout == "one" + model.generate("one", 40, seed=1) + "\n"
    options = ["--temperature", 0.5, "--top-k", 3, "--top-p", 0.9, "--weights", "bfloat16"]
    assert call("text", "generate", trained, *options, "--stats").returncode == 0


def test_a_state_file_goes_on(trained, tmp_path):
    words = ["text", "generate", trained, "--temperature", 0, "--state", tmp_path / "s.safetensors"]
    first = call(*words, "--prompt", "one", "--length", 10).stdout.removesuffix("\n")
    second = call(*words, "--length", 10).stdout.removesuffix("\n")
    model = sw.TextModel.load(trained)
    assert first + second == "one" + model.generate("one", 20, temperature=0)
    shown = call("state", tmp_path / "s.safetensors", "--json")
    assert json.loads(shown.stdout)["positions"] == [23]


def test_branches_are_shown_one_after_the_other(trained):
    done = call("text", "generate", trained, "--branches", 3, "--length", 9, "--prompt", "on")
    assert done.stdout.count("--- branch") == 3


def test_training_goes_on(trained):
    corpus = trained.parent / "rhyme.txt"
    words = ["text", "train", corpus, "--out", trained, "--every", 9, *SMALL, "--resume"]
    done = call(*words, "--epochs", 3)
    assert done.returncode == 0, done.stderr
    passes = [
        float(row.split()[1]) for row in done.stdout.splitlines() if re.search(r"\d:\d\d", row)
    ]
    assert 2 < passes[0] < 3 <= passes[-1]


def test_score_prints_bits(trained):
    done = call("text", "score", trained, trained.parent / "rhyme.txt")
    bits, path = done.stdout.split()
    assert 0 < float(bits) < 6
    assert path.endswith("rhyme.txt")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "none.txt"], "cannot read none.txt: No such file"),
        (["train", "empty.txt"], "there is no text in empty.txt"),
        (["train", "binary.txt"], "is no text"),
        (["train", "--cell", "rnn"], "--cell must be one of lstm, gru, elman, got 'rnn'"),
        (["train", "some.txt", "--level", "word"], "level must be 'byte' or 'char'"),
        (["train", "some.txt", "--out", "some.txt"], "is not a folder"),
        (["generate", "nowhere"], "nowhere holds no text model"),
    ],
)
def test_bad_input_is_one_line(tmp_path, words, message):
    (tmp_path / "empty.txt").touch()
    (tmp_path / "binary.txt").write_bytes(bytes(range(9)))
    (tmp_path / "some.txt").write_text("some")
    done = call("text", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--temperature", -1], "temperature must be a number of at least 0"),
        (["--prompt", "Z"], "the vocabulary lacks 'Z'"),
        (["--unknown", "skip"], "'error' or 'replace'"),
    ],
)
def test_bad_options_of_generate_are_one_line(trained, options, message):
    done = call("text", "generate", trained, *options)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr
