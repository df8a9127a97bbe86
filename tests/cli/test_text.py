import json
import re
from pathlib import Path

import pytest
from tests.cli.test_cli import call
from tests.commands import error_lines

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


@pytest.mark.parametrize("more", [[], ["--branches", 3], ["--top-k", 5]])
@pytest.mark.parametrize("second", [["--seed", 1], []])
def test_a_seeded_text_in_two_calls_is_the_text_of_one(trained, tmp_path, more, second):
    words = ["text", "generate", trained, "--temperature", 3, *more]
    kept = [*words, "--state", tmp_path / "s.safetensors", "--length", 50]
    whole = call(*words, "--prompt", "one", "--seed", 1, "--length", 100).stdout
    first = call(*kept, "--prompt", "one", "--seed", 1).stdout
    rest = call(*kept, *second).stdout

    def texts(shown):
        return re.sub("--- branch .\n", "\0", shown).strip("\0").split("\n\0")

    joined = [a.removesuffix("\n") + b for a, b in zip(texts(first), texts(rest), strict=True)]
    assert joined == texts(whole)


def test_another_seed_draws_anew_from_the_same_state(trained, tmp_path):
    path = tmp_path / "s.safetensors"
    words = ["text", "generate", trained, "--temperature", 3, "--length", 50, "--state", path]
    call(*words, "--seed", 1)
    state, model = sw.State.load(path), sw.TextModel.load(trained)
    other = call(*words, "--seed", 2).stdout.removesuffix("\n")
    assert other == model.generate(length=50, temperature=3, seed=2, state=state)


def test_a_state_without_a_place_of_draws_is_gone_on_from(trained, tmp_path):
    path, model = tmp_path / "s.safetensors", sw.TextModel.load(trained)
    state = model.read("one")
    state.save(path)
    done = call("text", "generate", trained, "--state", path, "--seed", 3, "--length", 20)
    assert done.stdout == model.generate(length=20, seed=3, state=state) + "\n"


def test_stop_strings_end_the_text(trained, tmp_path):
    words = ["text", "generate", trained, "--prompt", "one", "--seed", 1, "--length", 200]
    whole = call(*words).stdout.removesuffix("\n")
    a, b = whole[60:62], whole[80:90]
    kept = ["--state", tmp_path / "s.safetensors", "--stats"]
    done = call(*words, "--stop", b, "--stop", a, *kept)
    expected = min((whole[: whole.index(stop, 3)] for stop in (a, b)), key=len)
    assert done.stdout == expected + "\n"
    assert sw.State.load(kept[1]).position.tolist() == [len(expected)]


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


def test_score_shows_every_character(trained):
    rhyme, model = trained.parent / "rhyme.txt", sw.TextModel.load(trained)
    bits = model.score_characters(RHYME * 40)
    lines = call("text", "score", trained, rhyme, "--each").stdout.splitlines()
    assert lines[0].split()[0] == f"{model.score(RHYME * 40):.4f}"
    assert lines[1:3] == ["       -  'o'", f"{bits[1]:8.3f}  'n'"]
    assert len(lines) == 1 + len(RHYME) * 40
    [score] = json.loads(call("text", "score", trained, rhyme, "--each", "--json").stdout)
    assert score["path"] == str(rhyme)
    assert score["bits"] == model.score(RHYME * 40)
    assert score["characters"][0] == {"character": "o", "bits": None}
    assert [one["bits"] for one in score["characters"][1:]] == bits[1:].tolist()
    assert "characters" not in json.loads(call("text", "score", trained, rhyme, "--json").stdout)[0]


def test_score_takes_what_was_learned_in_any_form(tmp_path):
    """Held-out and rare characters, decomposed ones, line ends of any system."""
    corpus = (RHYME * 20 + "caf\u00e9 \N{GRINNING FACE}").replace("\n", "\r\n")
    (tmp_path / "a.txt").write_bytes(corpus.encode())
    (tmp_path / "b.txt").write_text(corpus.replace("\u00e9", "e\u0301"), newline="")
    for rare in (0, 2000):
        done = call(
            "text",
            "train",
            tmp_path / "a.txt",
            "--out",
            tmp_path / "run",
            "--epochs",
            1,
            "--rare",
            rare,
            *SMALL,
        )
        assert done.returncode == 0, done.stderr
        shown = call("text", "score", tmp_path / "run", tmp_path / "a.txt", tmp_path / "b.txt")
        assert shown.returncode == 0, shown.stderr
        assert len({line.split()[0] for line in shown.stdout.splitlines()}) == 1


def test_score_names_the_file_that_it_refuses(trained, tmp_path):
    for name, text in {"ok": "one two", "empty": "", "one": "o", "other": "Zebra"}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    for name, message in {
        "empty": "empty.txt: a score needs a text of at least 2 characters, got ''",
        "one": "one.txt: a score needs a text of at least 2 characters, got 'o'",
        "other": "other.txt: the vocabulary lacks 'Z' (U+005A)",
    }.items():
        done = call("text", "score", trained, "ok.txt", f"{name}.txt", cwd=tmp_path)
        assert (done.returncode, len(error_lines(done.stderr))) == (2, 1)
        assert message in done.stderr


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
    assert len(error_lines(done.stderr)) == 1


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
    assert (done.returncode, len(error_lines(done.stderr))) == (2, 1)
    assert message in done.stderr
