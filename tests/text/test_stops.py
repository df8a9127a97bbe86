"""Strings before which a text ends, wherever the blocks of the draws happen to be cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import statewise as sw
from statewise.text import Sampling, generation

from .conftest import RHYME


def cut(text, *stops):
    """The text before the stop string that is complete first."""
    for end in range(len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))]
    return text


@settings(deadline=None)
@given(st.data())
def test_a_text_ends_before_the_stop_string(learned, data):
    model, _ = learned
    whole = model.generate("one", 300, temperature=3.0, seed=3)
    stops = []
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, 290))
        stops.append(whole[start : start + data.draw(st.integers(1, 150))])
    block = data.draw(st.sampled_from([1, 5, 64]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generation, "BLOCK", block)
        stream = model.stream("one", 300, Sampling(3.0, seed=3), stop=stops)
        text = model.decode([tokens[0] for tokens in stream])
    assert text == cut(whole, *stops)
    assert stream.state.position.tolist() == [3 + len(text)]
    own = model.stream("one", len(text), Sampling(3.0, seed=3))
    list(own)
    assert stream.state == own.state
    assert stream.sampling == own.sampling


def test_a_text_goes_on_from_its_end_and_not_from_the_stop_string(learned):
    model, _ = learned
    whole = model.generate("one", 200, temperature=0)
    stream = model.stream("one", 200, Sampling(0), stop="once I")
    begin = model.decode([tokens[0] for tokens in stream])
    assert begin == " two three four five, "
    assert begin + model.generate("", 200 - len(begin), temperature=0, state=stream.state) == whole


def test_each_row_ends_on_its_own(learned):
    model, _ = learned
    options = {"temperature": 4.0, "seed": 0}
    whole = model.branch("one ", 150, 4, **options)
    assert model.branch("one ", 150, 4, stop=[" "], **options) == [cut(own, " ") for own in whole]
    stream = model.stream("one ", 150, Sampling(4.0, seed=0), branches=4, stop=[" "])
    rows = np.array(list(stream)).T
    lengths = [len(cut(own, " ")) for own in whole]
    assert len(set(lengths)) > 1
    assert [(row >= 0).sum() for row in rows] == lengths
    assert stream.state.position.tolist() == [4 + length for length in lengths]
    assert stream.sampling.count == tuple(lengths)
    alone = [
        model.stream("one ", 150, Sampling(4.0, seed=seed), stop=[" "])
        for seed in stream.sampling.seed
    ]
    for row, own in enumerate(alone):
        list(own)
        assert own.state.allclose(stream.state.rows([row]), rtol=1e-4, atol=1e-5)


def test_what_may_begin_a_stop_string_is_given_out_at_the_end(learned):
    model, _ = learned
    assert model.generate("one", 9, temperature=0, stop="three four") == " two thre"
    assert model.generate("one", 14, temperature=0, stop="three four") == " two three fou"
    assert model.generate("one", 15, temperature=0, stop="three four") == " two "


def test_a_stop_string_is_read_as_texts_are(learned):
    model, _ = learned
    expected = RHYME[3:-1]
    assert model.generate("one", 80, temperature=0, stop="\r\n") == expected
    assert len(model.generate("one", 80, temperature=0, stop=["\N{GREEK SMALL LETTER PI}"])) == 80


def test_bytes_stop_at_whole_strings():
    model = sw.TextModel([sw.LSTM(24)], width=8, level="byte")
    model.fit("où é à\n" * 80, epochs=30, lanes=4, chunk=40, learning_rate=2e-2)
    assert model.generate("o", 40, temperature=0, stop="à") == "ù é "
