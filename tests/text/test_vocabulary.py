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
    text = vocabulary.normalize(text)
    assert ids.dtype == np.int64
    assert vocabulary.decode(ids) == text
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary
    decoder = vocabulary.decoder()
    assert "".join(decoder(int(one)) for one in ids) + decoder.end() == text


def test_characters_outside_are_refused_or_replaced():
    vocabulary = Vocabulary.of(["abba"])
    assert len(vocabulary) == 3
    with pytest.raises(
        sw.DataError, match=r"lacks 'c' .U\+0063., first at character 2.*unknown='replace'"
    ):
        vocabulary.encode("abc")
    assert vocabulary.decode(vocabulary.encode("abc", "replace")) == "ab\N{REPLACEMENT CHARACTER}"


def test_rare_characters_are_left_out():
    vocabulary = Vocabulary.of(["a" * 999_999 + "b"], rare=2)
    assert vocabulary.characters[1:] == "a"
    assert vocabulary.others == "b"
    assert vocabulary.encode("ab").tolist() == [1, 0]
    with pytest.raises(sw.DataError, match="lacks 'c'"):
        vocabulary.encode("abc")


def test_text_as_it_comes_is_read_so_where_that_is_asked_for():
    text = "e\u0301\r\n\u00e9"
    vocabulary = Vocabulary.of([text], normalization=None)
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert (
        Vocabulary("char", "\ufffdab").to_json() == '{"level": "char", "characters": "\\ufffdab"}'
    )


def test_what_is_never_written():
    assert Vocabulary.of(["ab"]).unwritable.tolist() == [0]
    assert Vocabulary("byte").unwritable.tolist() == []
    assert set(range(256)) - set(Vocabulary.of(["aé"], "byte").unwritable) == {0x61, 0xC3, 0xA9}


def test_stop_strings_are_tokens_if_they_can_be_written():
    vocabulary = Vocabulary.of(["ab\né"])
    assert vocabulary.encode_stops("ab") == [vocabulary.encode("ab").tolist()]
    assert vocabulary.encode_stops(["a", "c", "\r\n", "e\u0301"]) == [[2], [1], [4]]


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
        (lambda: Vocabulary("char", "ab", others="bc"), "once"),
        (lambda: Vocabulary("char", "ab", "NFKC"), "'NFC' or None, got 'NFKC'"),
        (lambda: Vocabulary.of(["a\ud800"]), "half a character"),
        (lambda: Vocabulary.of(["ab"]).encode_stops([""]), "at least one character"),
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
