import json
import re
import sys
import warnings
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.conformance.zoo import weights

import statewise as sw
from statewise import inspect
from statewise.cli import inspect_input, main
from statewise.cli.inspect_input import WindowOptions, read_window
from statewise.forecast.sources import load
from statewise.inspect.page.packing import unpack

SOURCE = 'def one(x):\n    """First."""\n    return [x, "two"]\n\n\n' * 12
Run = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Models of text, of a series and of two numbers a step, with what they read."""
    place = tmp_path_factory.mktemp("inspect")
    for level in ("char", "byte"):
        model = sw.TextModel([sw.LSTM(6), sw.GRU(4)], width=4, level=level)
        model.fit(SOURCE + "ä€", epochs=1, lanes=4, chunk=20, validation=0)
        model.save(place / level)
    (place / "some.py").write_text(SOURCE)
    frame = load("shampoo")
    names = {"id_col": None, "time_col": frame.columns[0], "target_col": frame.columns[1]}
    sw.Forecaster([sw.LSTM(3)], epochs=1).fit(frame, **names, progress=False).save(place / "sales")
    arch = sw.Architecture(sw.Vector(2), [sw.Elman(3)], sw.Linear(2))
    sw.runtime.Model(arch, weights(arch)).save(place / "two.safetensors")
    arch = sw.Architecture(sw.Tokens(9, 2), [sw.Elman(3)], sw.Linear(9))
    sw.runtime.Model(arch, weights(arch)).save(place / "tokens.safetensors")
    rows = {"day": list("abcd"), "up": [1.0, 2, 3, 4], "down": [0.5, 0.25, 0, -1]}
    pd.DataFrame(rows).to_csv(place / "two.csv", index=False)
    pd.DataFrame({**rows, "up": [1, None, 3, 4]}).to_csv(place / "gap.csv", index=False)
    (place / "empty.txt").write_text("")
    (place / "program").write_bytes(b"\x7fELF\0\0")
    (place / "strange.txt").write_text("def \N{SNOWMAN}\n")
    return place


@pytest.fixture
def run(folder: Path, tmp_path: Path, monkeypatch, capsys) -> Run:
    """The command, its first two words names in the folder; what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)

    def call(model: str, source: str, *words: object, status: int = 0) -> str:
        files = [str(folder / one) if (folder / one).exists() else one for one in (model, source)]
        monkeypatch.setattr(sys, "argv", ["statewise", "inspect", *files, *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert ended.value.code == status, printed.err
        return printed.err if status else printed.out

    return call


def held(page: Path) -> dict[str, Any]:
    found = re.search(r'id="recording">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def test_a_text_is_on_its_page(run: Run, folder: Path) -> None:
    printed = run("char", "some.py", "--cards", 3)
    page = held(Path("some.html"))
    trace = inspect.record(sw.TextModel.load(folder / "char"), SOURCE, names="*")
    assert set(page["values"]) == set(trace)
    for name in trace:
        values = unpack(page["values"][name]).T
        np.testing.assert_allclose(values, trace[name][0], rtol=1e-3, atol=1e-11)
    assert ("".join(page["labels"]), page["title"], page["total"]) == (SOURCE, "some.py", 636)
    assert [len(page["cards"]), len(page["horizon"]["units"])] == [3, 6]
    assert all(card["effects"] for card in page["cards"])
    assert page["unit"] == {word: page["cards"][0][word] for word in ("name", "unit")}
    assert "some.html: steps 0 to 635 of 636 of " in printed
    for card in page["cards"]:
        label = card["labels"][0]["label"]
        assert f"{card['name']}.{card['unit']}: follows {label} " in printed
    assert page["notes"] == []


def test_a_part_begins_with_the_state_of_what_precedes_it(run: Run, folder: Path) -> None:
    printed = run("char/model.safetensors", "some.py", "--from", 300, "--steps", 50,
                  "--unit", "1.h.2", "--names", "1.*", "--out", "part.html")  # fmt: skip
    page = held(Path("part.html"))
    before = sw.TextModel.load(folder / "char").read(SOURCE[:300])
    np.testing.assert_allclose(unpack(page["before"]["1.h"])[:, 0], before["1.h"][0], rtol=1e-3)
    assert (page["first"], page["steps"], page["unit"]) == (300, 50, {"name": "1.h", "unit": 2})
    assert page["labels"] == list(SOURCE[300:350])
    assert set(page["values"]) == {"1.r", "1.z", "1.n", "1.h"}
    assert page["cards"][0]["unit"] == 2
    assert {card["name"] for card in page["cards"]} == {"1.h"}
    assert page["cards"][0]["top"][0]["step"] is not None
    assert "the state before step 300 is exact" in printed.lower()
    assert page["horizon"]["name"] == "1.h"


@pytest.mark.parametrize("first", [0, 155])
def test_one_step_is_a_page(run: Run, first: int) -> None:
    printed = run("char", "some.py", "--from", first, "--steps", 1)
    page = held(Path("some.html"))
    assert (page["steps"], page["cards"], page["horizon"]) == (1, [], None)
    assert f"some.html: step {first} of 636 of " in printed
    assert "The memory horizon is left out: a horizon needs at least 2 steps" in printed


def test_cards_are_of_each_memory(folder: Path, run: Run) -> None:
    """The h of a projected LSTM remembers beside its c, and each direction by itself."""
    x = np.random.default_rng(0).normal(size=(60, 1)).cumsum(axis=0)
    pd.DataFrame({"day": range(60), "y": x[:, 0]}).to_csv("walk.csv", index=False)
    for cell, memories in [
        (sw.LSTM(6, projection=2), {"0.c", "0.h"}),
        (sw.Bidirectional(sw.GRU(2)), {"0.forward.h", "0.backward.h"}),
        (sw.Residual(sw.LSTM(1)), {"0.c"}),
    ]:
        arch = sw.Architecture(sw.Vector(1), [cell], sw.Linear(1))
        sw.runtime.Model(arch, weights(arch)).save(folder / "cell.safetensors")
        run("cell.safetensors", "walk.csv", "--cards", 20)
        assert {card["name"] for card in held(Path("walk.html"))["cards"]} == memories
    for unit, horizon in [("0.h.1", "0.h"), ("0.o.1", "0.c"), ("0.c.5", "0.c")]:
        arch = sw.Architecture(sw.Vector(1), [sw.LSTM(6, projection=2)], sw.Linear(1))
        sw.runtime.Model(arch, weights(arch)).save(folder / "cell.safetensors")
        run("cell.safetensors", "walk.csv", "--cards", 0, "--unit", unit)
        assert held(Path("walk.html"))["horizon"]["name"] == horizon


def test_what_takes_long_is_said_on_standard_error(folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("statewise.progress.DELAY", 0.0)
    monkeypatch.setattr("statewise.progress.INTERVAL", 0.01)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(sys, "argv", ["statewise", "inspect", "char", "some.py", "--cards", "1"])
    with pytest.raises(SystemExit):
        main()
    printed = capsys.readouterr()
    for stage in ("testing units of 0.c: ", "measuring the memory horizon: "):
        assert f"\n{stage}" in printed.err
        assert stage not in printed.out


def test_line_ends_of_windows_are_line_ends(run: Run, folder: Path) -> None:
    (folder / "windows.py").write_bytes(SOURCE.replace("\n", "\r\n").encode())
    run("char", "windows.py", "--cards", 0)
    assert "".join(held(Path("windows.html"))["labels"]) == SOURCE


def test_far_into_a_text_the_last_steps_before_are_read(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(inspect_input, "EXACT", 100)
    monkeypatch.setattr(inspect_input, "SEED", 30)
    model = sw.TextModel.load(folder / "char")
    for first, read in ((90, SOURCE[:90]), (200, SOURCE[170:200])):
        window = read_window(
            str(folder / "char"), str(folder / "some.py"), WindowOptions(first, 10)
        )
        assert window.before is not None
        assert window.before.allclose(model.read(read))
        assert ("is exact" in window.notes[0]) == (first == 90)
    assert "comes from the 30 steps before it" in window.notes[0]


def test_bytes_are_cut_between_characters(folder: Path, tmp_path: Path) -> None:
    text = "aä€" * 20
    (tmp_path / "wide.txt").write_text(text)
    for first, whole in ((0, 0), (1, 1), (2, 3), (4, 6), (6, 6)):
        window = read_window(
            str(folder / "byte"), str(tmp_path / "wide.txt"), WindowOptions(first, 7)
        )
        assert (window.first, window.total) == (whole, 120)
        assert text.encode()[whole:].startswith(window.data.encode())
        assert 6 <= len(window.data.encode()) <= 9
        assert window.before is None or window.before.position[0] == whole


def test_a_series_is_above_its_gates(run: Run, folder: Path) -> None:
    printed = run("sales", "shampoo", "--from", 6, "--unit", "2.c.1")
    page, frame = held(Path("shampoo.html")), load("shampoo")
    values = frame[frame.columns[1]].to_numpy()
    (curve,) = page["curves"].values()
    np.testing.assert_allclose(unpack(curve)[0], values[6:], rtol=1e-3)
    assert page["labels"][0] == "0001-07-01"
    forecaster = sw.Forecaster.load(folder / "sales")
    track = next(iter(forecaster.states.tracks.values()))
    for name in ("1.mean", "1.scale"):
        np.testing.assert_allclose(
            unpack(page["values"][name])[0], track.state[name][0, 0], rtol=1e-3
        )
    # the memory at the end is that which the forecaster goes on with
    last = unpack(page["values"]["2.c"])[:, -1]
    np.testing.assert_allclose(last, track.state["2.c"][0], rtol=1e-3)
    assert page["loss"]["unit"] == "squared error"
    assert "Difference, Standardize, LSTM(3): 9 values at each step" in printed


def test_numbers_of_several_columns(run: Run) -> None:
    run("two.safetensors", "two.csv")
    page = held(Path("two.html"))
    assert list(page["curves"]) == ["up", "down"]
    assert page["labels"] == list("abcd")


def test_it_is_opened_where_that_is_asked(run: Run, monkeypatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    run("two.safetensors", "two.csv", "--cards", 0)
    assert opened == []
    run("two.safetensors", "two.csv", "--cards", 0, "--open")
    assert opened == [Path("two.html").resolve().as_uri()]


def test_without_torch_the_horizon_is_left_out(run: Run, monkeypatch) -> None:
    def missing(model: object) -> None:
        raise sw.errors.MissingExtraError("torch", "train", "derivatives")

    monkeypatch.setattr("statewise.inspect.remembering.float64_reference", missing)
    printed = run("char", "some.py", "--cards", 0, "--steps", 40)
    page = held(Path("some.html"))
    assert page["horizon"] is None
    assert "torch, which is not installed" in page["notes"][-1]
    assert page["notes"][-1] in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere", "some.py"], "there is no file"),
        ([".", "some.py"], "holds no model.safetensors"),
        (["char", "nothing.py"], "cannot read nothing.py: No such file"),
        (["char", "empty.txt"], "empty.txt is empty"),
        (["char", "program"], "is no text: it has zero bytes"),
        (["char", "char"], "is a folder; give a file as INPUT"),
        (["char", "strange.txt"], r"the vocabulary lacks '\\u2603'|the vocabulary lacks '☃'"),
        (["char", "some.py", "--from", "636"], "has 636 steps, so --from is at most 635, got 636"),
        (["char", "some.py", "--steps", "0"], "--steps must be at least 1, got 0"),
        (["char", "some.py", "--names", "0.x"], "nothing in this model is called '0.x'; did you"),
        (["char", "some.py", "--unit", "0.cc.1"], "got '0.cc.1'; did you mean '0.c'"),
        (["char", "some.py", "--unit", "0.c.6"], "'0.c' has units 0 to 5, got --unit 0.c.6"),
        (["char", "some.py", "--out", "no/page.html"], "there is no folder no"),
        (["sales", "some.py"], "is not a .csv or .parquet file"),
        (["sales", "two.csv", "--value", "upp"], "there is no column 'upp'"),
        (["sales", "shampoo", "--series", "x"], "there is no series 'x'. The file has series"),
        (
            ["two.safetensors", "shampoo"],
            "the model reads 2 columns of numbers, and shampoo has",
        ),
        (["two.safetensors", "gap.csv"], "has no number in column 'up' of row 1"),
        (["tokens.safetensors", "some.py"], "has no vocabulary to turn a text into tokens"),
        (["some.py", "some.py"], "is not a model; give the folder that text train --out or"),
        (["char", "some.py", "--cards", "-1"], "--cards must be at least 0, got -1"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(run: Run, words: list[str], message: str) -> None:
    said = run(*words, status=2)
    assert re.search(message, said) or message in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert list(Path().iterdir()) == []


def test_strange_characters_are_replaced_where_that_is_asked(run: Run) -> None:
    run("char", "strange.txt", "--unknown", "replace", "--cards", 0)
    assert "\N{SNOWMAN}" in held(Path("strange.html"))["labels"]


def test_too_much_for_a_page(run: Run, monkeypatch) -> None:
    monkeypatch.setattr("statewise.cli.inspect.LARGEST", 10_000)
    said = run("char", "some.py", status=2)
    assert "636 steps of 10 values are 33,072 numbers, and a page holds at most 10,000" in said
    assert "give --steps 192, or fewer values, such as --names 0.i" in said
    run("char", "some.py", "--steps", 192, "--cards", 0)
