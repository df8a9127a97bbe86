"""Folders that version 0.1.0 wrote open, and give what they gave then.

``expected.json`` was written by that version beside the folders.
"""

import json
import shutil
from pathlib import Path

import pytest

import statewise as sw
from statewise import checkpoint
from statewise.text.vocabulary import REPLACEMENT

GOLDEN = Path(__file__).parent.parent / "golden" / "0.1.0" / "text"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())
FOLDERS = pytest.mark.parametrize("name", ["char", "byte", "rare"])


@FOLDERS
def test_texts_are_read_and_scored_as_before(name):
    model, expected = sw.TextModel.load(GOLDEN / name), EXPECTED[name]
    assert model.vocabulary.characters == expected["characters"]
    for text, ids in expected["ids"].items():
        assert model.encode(text, "replace").tolist() == ids
    for text, bits in expected["scores"].items():
        assert model.score(text, unknown="replace") == pytest.approx(bits, rel=1e-5)
    for text in expected["refused"]:
        with pytest.raises(sw.DataError, match="the vocabulary lacks"):
            model.encode(text)


@FOLDERS
def test_texts_are_written_as_before_but_for_the_unknown_symbol(name):
    model, expected = sw.TextModel.load(GOLDEN / name), EXPECTED[name]
    for prompt, text in expected["written"].items():
        written = model.generate(prompt, len(text), temperature=0, unknown="replace")
        known = len(text.partition(REPLACEMENT)[0])
        assert written[:known] == text[:known]
        assert REPLACEMENT not in written
    state = sw.State.load(GOLDEN / name / "place.safetensors")
    known = len(expected["goes_on"].partition(REPLACEMENT)[0])
    written = model.generate(length=40, temperature=0, state=state)
    assert written[:known] == expected["goes_on"][:known]


@FOLDERS
def test_a_folder_is_saved_again_as_it_was(name, tmp_path):
    sw.TextModel.load(GOLDEN / name).save(tmp_path)
    mine, golden = (
        checkpoint.read(folder / "model.safetensors", "statewise.model")[1]
        for folder in (tmp_path, GOLDEN / name)
    )
    assert mine == golden


def test_a_run_goes_on_with_its_vocabulary(tmp_path):
    shutil.copytree(GOLDEN / "char", tmp_path / "char")
    model = sw.TextModel([sw.GRU(12)], width=6)
    history = model.fit(
        EXPECTED["corpus"], folder=tmp_path / "char", resume=True, **EXPECTED["fit"]
    )
    assert model.vocabulary.characters == EXPECTED["char"]["characters"]
    assert history.loss == pytest.approx(EXPECTED["char"]["resumed"]["loss"], rel=1e-3)
