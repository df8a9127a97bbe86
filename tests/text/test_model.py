import math
import signal
import unicodedata

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


def test_every_character_has_a_score_and_their_mean_is_the_score(learned):
    model, _ = learned
    bits = model.score_characters(RHYME)
    assert bits.shape == (len(RHYME),)
    assert np.isnan(bits[0])
    assert bits[1:].mean() == pytest.approx(model.score(RHYME), rel=1e-12)
    state = model.read("one")
    later = model.score_characters(RHYME[3:], state=state)
    np.testing.assert_allclose(later, bits[3:], rtol=1e-3, atol=1e-4)
    surprising = RHYME[:30] + "x" + RHYME[31:]
    assert np.nanargmax(model.score_characters(surprising, unknown="replace")) == 30


def test_a_long_text_is_scored_in_parts(learned, monkeypatch):
    model, _ = learned
    whole = model.score_characters(RHYME * 2)
    monkeypatch.setattr("statewise.text.scoring._PART", 7)
    np.testing.assert_allclose(model.score_characters(RHYME * 2), whole, rtol=1e-3, atol=1e-4)


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
    first, second = model.score_characters("éé")
    assert np.isnan(first)
    assert second == pytest.approx(sum(bits[1:]), rel=1e-5)


@pytest.mark.parametrize("level", ["char", "byte"])
@pytest.mark.parametrize("options", [{}, {"rare": 5000.0}, {"validation": RHYME + "ÿ"}])
def test_what_was_learned_from_can_be_scored(tmp_path, level, options):
    """Whatever is held out, and however rare a character is."""
    corpus = (
        RHYME * 20 + "\N{GREEK SMALL LETTER PI} \N{CJK UNIFIED IDEOGRAPH-65E5} \N{GRINNING FACE}."
    )
    model = small(level=level)
    model.fit(corpus, epochs=1, folder=tmp_path, **options)
    model = sw.TextModel.load(tmp_path)
    assert model.score(corpus) > 0
    assert len(model.score_characters(corpus)) == len(corpus)
    assert model.score(RHYME + options.get("validation", "")) > 0
    written = model.generate(length=2000, temperature=9.0, seed=0)
    assert level == "byte" or set(written) <= set(corpus + "ÿ")
    if level == "char":
        with pytest.raises(sw.DataError, match="lacks 'Z'"):
            model.score("Zebra")


def test_a_model_of_plain_letters_writes_nothing_else_from_bytes():
    model = small(level="byte")
    model.fit(RHYME * 20, epochs=1)
    assert set(model.generate(length=3000, temperature=50.0, seed=0)) <= set(RHYME)


@pytest.mark.parametrize("level", ["char", "byte"])
def test_forms_and_line_ends_of_a_text_make_no_difference(level):
    """Composed or decomposed, with line ends of any system, with or without a byte order mark."""
    corpus = "où est le café, là où il était\n" * 30
    forms = [
        corpus,
        unicodedata.normalize("NFD", corpus),
        corpus.replace("\n", "\r\n"),
        corpus.replace("\n", "\r"),
        "\ufeff" + corpus,
    ]
    models = [small(level=level) for _ in forms]
    for model, text in zip(models, forms, strict=True):
        model.fit(text, epochs=1)
    assert len({model.model.fingerprint() for model in models}) == 1
    model = models[0]
    assert len({model.score(text) for text in forms}) == 1
    assert {len(model.score_characters(text)) for text in forms} == {len(corpus)}
    assert len({model.read(text).position.item() for text in forms}) == 1
    assert model.generate("caf\u0065\u0301", 9, seed=1) == model.generate("caf\u00e9", 9, seed=1)


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
        ("a", {}, sw.DataError, "cannot learn from 1 character; give a text of at least 2"),
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
    with pytest.raises(sw.FileError, match="is a model without a vocabulary"):
        sw.TextModel.load(tmp_path)
    with pytest.raises(sw.DataError, match="'word'"):
        small(level="word")


def test_a_score_needs_something_to_predict(learned):
    with pytest.raises(sw.DataError, match="at least 2"):
        learned[0].score("o")
    with pytest.raises(sw.DataError, match="at least 1"):
        learned[0].score("", state=learned[0].read("o"))


def test_learning_scoring_and_reading_show_how_far_they_are(monkeypatch, capsys):
    monkeypatch.setattr("statewise.progress.DELAY", 0.0)
    monkeypatch.setattr("statewise.progress.INTERVAL", 0.001)
    monkeypatch.setattr(sw.progress.Progress, "everywhere", True)
    model = small()
    model.fit(RHYME * 40, epochs=2, lanes=4, chunk=50, every=5)
    model.score(RHYME * 200)
    model.read(RHYME * 200)
    shown, errors = capsys.readouterr()
    assert shown == ""
    for what in ("until the first report", "until the next report", "scoring: ", "reading: "):
        assert what in errors
