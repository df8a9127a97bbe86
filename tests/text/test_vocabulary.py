import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import statewise as sw
from statewise.text import Vocabulary

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT.filter(bool), st.sampled_from(["byte", "char"]))
def test_text_comes_back_from_its_tokens(text, level):
    vocabulary = Vocabulary.of([text], level)
    ids = vocabulary.encode(text)
    assert ids.dtype == np.int64
    assert vocabulary.decode(ids) == text
    decoder = vocabulary.decoder()
    assert "".join(decoder(int(one)) for one in ids) + decoder.end() == text


def test_characters_outside_are_refused_or_replaced():
    vocabulary = Vocabulary.of(["abba"])
    assert len(vocabulary) == 3
    with pytest.raises(sw.DataError, match=r"lacks 'c' .U\+0063., first at character 2.*replace"):
        vocabulary.encode("abc")
    assert vocabulary.decode(vocabulary.encode("abc", "replace")) == "ab\N{REPLACEMENT CHARACTER}"


def test_rare_characters_are_left_out():
    assert Vocabulary.of(["a" * 999_999 + "b"], rare=2).characters[1:] == "a"


def test_a_character_appears_with_its_last_byte():
    decoder = Vocabulary("byte").decoder()
    assert [decoder(byte) for byte in "é".encode()] == ["", "é"]
    assert decoder(0xC3) + decoder.end() == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Vocabulary("word"), "'byte' or 'char', got 'word'"),
        (lambda: Vocabulary("byte", "ab"), "only there"),
        (lambda: Vocabulary("char", "aa"), "once"),
        (lambda: Vocabulary("byte").encode(b"a"), "got bytes"),
        (lambda: Vocabulary("byte").encode("a", "skip"), "'error' or 'replace'"),
        (lambda: Vocabulary("byte").encode("\ud800"), "half a character"),
        (lambda: Vocabulary("byte").decode([256]), r"\[0, 256\), got 256 to 256"),
        (lambda: Vocabulary("byte").decode([0.5]), "whole numbers"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(sw.DataError, match=message):
        call()
