import math
import signal

import numpy as np
import pytest
import torch

import statewise as sw
from statewise.text.learning import split_texts

from .conftest import RHYME


def small(**options):
    return sw.TextModel([sw.GRU(8)], width=4, **options)


def test_learning_lowers_the_bits(learned):
    model, _ = learned
    assert model.score(RHYME * 3) < 0.5 < 3 < model.score("evif ecno\n, tahtt owth")


def test_a_score_is_the_mean_of_the_bits_of_each_character(learned):
    model, folder = learned
    text = RHYME * 2
    ids = torch.from_numpy(model.encode(text))[None]
    y, _ = sw.nn.load(folder / "model.safetensors")(ids[:, :-1])
    expected = torch.nn.functional.cross_entropy(y[0], ids[0, 1:]).item() / math.log(2)
    assert model.score(text) == pytest.approx(expected, rel=1e-4)


def test_a_score_goes_on_from_a_state(learned):
    model, _ = learned
    text, cut = RHYME * 2, 31
    whole = model.score(text) * (len(text) - 1)
    first = model.score(text[:cut]) * (cut - 1)
    rest = model.score(text[cut:], state=model.read(text[:cut])) * (len(text) - cut)
    assert first + rest == pytest.approx(whole, rel=1e-4)


def test_bytes_are_scored_for_each_character():
    model = small(level="byte")
    model.fit("é" * 400, epochs=1, validation=0)
    state = model.model.initial_state(1)
    y, _ = model.model(model.encode("éé")[None, :-1], state)
    bits = [
        math.log2(np.exp(row).sum()) - row[one] / math.log(2)
        for row, one in zip(y[0], model.encode("éé")[1:], strict=True)
    ]
    assert model.score("éé") == pytest.approx(sum(bits) / 3 * 4 / 2, rel=1e-5)


def test_a_saved_model_is_the_same(learned):
    model, folder = learned
    again = sw.TextModel.load(folder)
    assert again.vocabulary == model.vocabulary
    assert again.layers == model.layers
    assert (again.level, again.width) == ("char", 16)
    assert again.generate("one", 50, seed=3) == model.generate("one", 50, seed=3)


def test_the_best_model_is_kept_and_reported():
    reports = []
    model = small()
    history = model.fit(RHYME * 40, epochs=3, lanes=4, chunk=50, every=2, on_report=reports.append)
    assert [one.number for one in reports] == list(range(1, len(history.epoch) + 1))
    assert reports[-1].epochs >= 3
    assert reports[0].best
    best = min(one.validation for one in reports)
    held_out = split_texts([RHYME * 40], 0.05)[1][0]
    assert model.score(held_out) == pytest.approx(best, rel=0.02)


def test_ctrl_c_keeps_the_best_and_the_run_goes_on_bit_for_bit(tmp_path):
    text, options = RHYME * 40, {"epochs": 4, "lanes": 4, "chunk": 20, "every": 3}
    whole = small()
    whole.fit(text, **options)
    stopped = small()

    def interrupt(report):
        if report.number == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        stopped.fit(text, folder=tmp_path, on_report=interrupt, **options)
    kept = sw.TextModel.load(tmp_path)
    assert kept.model.fingerprint() == stopped.model.fingerprint()
    stopped.fit(text, folder=tmp_path, resume=True, **options)
    assert stopped.model.fingerprint() == whole.model.fingerprint()


def test_minutes_end_the_learning():
    history = small().fit(RHYME * 40, epochs=10**6, minutes=0.005)
    assert history.stopped == "minutes"
    assert sum(history.seconds) < 20


def test_a_text_smaller_than_a_chunk_can_be_learned():
    model = small()
    model.fit("abcabc", epochs=1)
    assert len(model.generate("a", 3)) == 3


@pytest.mark.parametrize(
    ("texts", "options", "error", "message"),
    [
        ("", {}, sw.DataError, "empty"),
        ([], {}, sw.DataError, "empty"),
        ("a", {}, sw.DataError, "nothing to learn from 1 character"),
        ([b"a"], {}, sw.DataError, "got bytes"),
        ("ab" * 9, {"epochs": 0}, sw.TrainingError, "epochs"),
        ("ab" * 9, {"minutes": 0}, sw.TrainingError, "minutes"),
        ("ab" * 9, {"lanes": 0}, sw.TrainingError, "lanes"),
        ("ab" * 9, {"validation": 1.0}, sw.TrainingError, "validation"),
        ("ab" * 9, {"resume": True}, sw.TrainingError, "folder"),
    ],
)
def test_bad_input_is_named(texts, options, error, message):
    with pytest.raises(error, match=message):
        small().fit(texts, **options)


def test_a_model_that_has_learned_nothing_says_so(tmp_path):
    for use in (lambda: small().generate(), lambda: small().score("a"), lambda: small().save("x")):
        with pytest.raises(sw.InputError, match="learned nothing"):
            use()
    with pytest.raises(sw.FileError, match="no text model"):
        sw.TextModel.load(tmp_path)
    arch = sw.Architecture(sw.Vector(1), [sw.LSTM(2)])
    sw.nn.Model(arch).save(tmp_path / "model.safetensors")
    with pytest.raises(sw.FileError, match="says nothing of the text"):
        sw.TextModel.load(tmp_path)
    with pytest.raises(sw.DataError, match="'word'"):
        small(level="word")


def test_a_score_needs_something_to_predict(learned):
    with pytest.raises(sw.DataError, match="at least 2"):
        learned[0].score("o")
    with pytest.raises(sw.DataError, match="at least 1"):
        learned[0].score("", state=learned[0].read("o"))
