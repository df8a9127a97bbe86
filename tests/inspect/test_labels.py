import io
import sysconfig
import tokenize
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import statewise as sw
from statewise import inspect
from statewise.inspect.labels import (
    as_label,
    check_labels,
    compute_label,
    compute_labels,
    correlate_labels,
    locate_labels,
)
from statewise.inspect.trace import Trace

CODE = '''def f(a, *b):
    """Say "no"."""
    x = 'it\\'s' + "" # don't
\treturn [x, 12]
'''


def on(name, text=CODE):
    """The characters at which a label is on."""
    (label,) = inspect.text_labels(text, [name]).values()
    return "".join(text[k] for k in np.flatnonzero(label))


def test_what_the_labels_say_of_a_small_source():
    assert on("inside triple quotes") == '"Say "no".""'
    assert on("inside single quotes") == "'it\\'s"
    assert on("inside double quotes") == '""'
    assert on("inside quotes") == '""Say "no".""' + "'it\\'s" + '"'
    assert on("inside comment") == "# don't"
    assert on("digit") == "12"
    assert on("word start") == "dfabSnxisdtrx1"
    found = inspect.text_labels(CODE)
    assert set(found) == set(inspect.TEXT)
    assert found["word position"][:8].tolist() == [1, 2, 3, 0, 1, 0, 1, 0]
    assert found["bracket depth"][4:14].tolist() == [0, 1, 1, 1, 1, 1, 1, 0, 0, 0]
    end = CODE.index("\n")
    assert found["line position"][end - 1 : end + 3].tolist() == [13, 0, 1, 2]
    assert found["at indentation"][end - 1 : end + 6].tolist() == [0, 1, 1, 1, 1, 1, 0]
    assert found["indentation"][end : end + 6].tolist() == [0, 0, 0, 0, 0, 4]
    assert found["indentation"][-2:].tolist() == [8, 8]
    assert found["line end near"][end - 6 : end + 1].tolist() == [0, 1, 1, 1, 1, 1, 0]


def by_tokenizer(text):
    """Strings, comments and depth as Python's own tokenizer finds them."""
    lines = np.cumsum([0, *(len(line) + 1 for line in text.split("\n"))])
    found = {name: np.zeros(len(text)) for name in ("inside quotes", "inside comment")}
    depth = found["bracket depth"] = np.zeros(len(text))
    opened = []
    starts = {getattr(tokenize, f"{kind}STRING_START", None) for kind in "FT"} - {None}
    ends = {getattr(tokenize, f"{kind}STRING_END", None) for kind in "FT"} - {None}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        start, end = (lines[row - 1] + column for row, column in (token.start, token.end))
        if token.type in starts:
            opened.append(start)
        elif token.type in ends:
            start = opened.pop()
        if token.type == tokenize.COMMENT:
            found["inside comment"][start:end] = 1
        elif not opened and (token.type == tokenize.STRING or token.type in ends):
            start += (
                min(text.index(mark, start) for mark in "\"'" if mark in text[start:end]) - start
            )
            found["inside quotes"][start : end - 1] = 1
            if text[start : start + 3] in ('"""', "'''"):  # could yet be an empty string
                found["inside quotes"][start + 1] = 0
        elif not opened and token.type == tokenize.OP and token.string in "()[]{}":
            depth[start:] += 1 if token.string in "([{" else -1
    return found


NAMES = ("argparse", "ast", "csv", "enum", "inspect", "shlex", "string", "textwrap", "tokenize")


@pytest.mark.parametrize("name", NAMES)
def test_strings_comments_and_brackets_are_those_of_the_tokenizer(name):
    text = (Path(sysconfig.get_paths()["stdlib"]) / f"{name}.py").read_text("utf-8")
    for label, expected in by_tokenizer(text).items():
        found = inspect.text_labels(text, [label])[label]
        wrong = np.flatnonzero(found != expected)
        around = text[max(0, wrong[0] - 40) : wrong[0] + 20] if wrong.size else ""
        assert not wrong.size, (label, around)


PIECES = ['"', "'", '"""', "'''", "\\", "\n", "#", "(", ")", "]", " ", "\t", "ab", "R", "don't",
          "else", "7", "\u00e9", "\U0001f600", "\ud800", "\0", "\r", "\x0c", "\u2028"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join), st.integers(0, 40))
def test_any_text_has_labels_and_none_knows_what_is_to_come(text, cut):
    whole, part = inspect.text_labels(text), inspect.text_labels(text[:cut])
    for name, label in whole.items():
        assert label.shape == (len(text),)
        assert np.isfinite(label).all()
        if name != "line end near":
            np.testing.assert_array_equal(label[:cut], part[name], err_msg=name)


def test_prose_opens_no_quotation_by_an_apostrophe():
    assert on("inside quotes", "I don't, the boys' dog's \"own\" else'x'") == '"own' + "'x"


def test_a_character_of_several_bytes_is_known_with_its_last():
    text = 'x"\u00e9"'
    trace = Trace({}, inputs=np.zeros((1, 5), np.int64), before=None, after=None).align(text)
    found = compute_labels(trace)
    assert found["letter"].tolist() == [1, 0, 0, 1, 0]
    assert found["inside quotes"].tolist() == [0, 1, 1, 1, 0]
    first = Trace({}, inputs=np.zeros((1, 2), np.int64), before=None, after=None).align("\u00e9")
    assert compute_labels(first)["letter"].tolist() == [0, 1]


# Series


def test_what_the_labels_say_of_a_series():
    t = np.arange(120)
    wave = np.sin(2 * np.pi * t / 12)
    found = inspect.series_labels(0.5 * t + 3 * wave)
    assert set(found) == set(inspect.SERIES)
    np.testing.assert_allclose(found["season cosine"], np.cos(2 * np.pi * t / 12))
    np.testing.assert_allclose(
        inspect.series_labels(2 - 0.25 * t, names=["trend"])["trend"][1:], -0.25
    )
    np.testing.assert_allclose(found["running level"][11:], 0.5 * (t[11:] - 5.5), atol=1e-9)
    assert found["change"][0] == 0
    rng = np.random.default_rng(0)
    noise = rng.normal(size=120)
    noise[60:] += 30
    found = inspect.series_labels(noise)
    assert np.flatnonzero(found["event"]).tolist() == [60]
    assert "season sine" not in found
    assert found["spread"][65] > 5 * found["spread"][50]
    assert set(inspect.series_labels(noise[:, None])) == set(found)
    both = inspect.series_labels(np.stack([noise, wave], axis=1))
    assert "event of feature 0" in both
    assert "season sine of feature 1" in both


@pytest.mark.parametrize("season", [5, 12, 60])
@pytest.mark.parametrize("given_season", [True, False])
def test_the_trend_is_not_the_season(season, given_season):
    t = np.arange(8 * season)
    wave = 10 * np.sin(2 * np.pi * t / season) + 4 * (t % season == 0)
    options = {"season": season} if given_season else {}
    still = inspect.series_labels(wave, **options)
    np.testing.assert_allclose(still["trend"], 0, atol=1e-12)
    np.testing.assert_allclose(still["running level"][season:], wave[:season].mean(), atol=1e-9)
    assert np.ptp(still["spread"][season:]) < 1e-6
    slope = np.where(t < 4 * season, 0.1, -0.3)
    found = inspect.series_labels(wave + np.cumsum(slope), **options)["trend"]
    np.testing.assert_allclose(found[season : 4 * season], 0.1, atol=1e-12)
    np.testing.assert_allclose(found[6 * season :], -0.3, atol=1e-12)
    assert (np.diff(found[4 * season : 6 * season]) < 1e-12).all()  # goes over without a wave
    noise = np.random.default_rng(0).normal(size=len(t))
    noisy = inspect.series_labels(wave + noise, **options)
    phases = np.stack([still["season sine"], still["season cosine"]], axis=1)
    for name in ("trend", "running level"):
        rest = noisy[name][2 * season :] - noisy[name][2 * season :].mean()
        fitted = phases[2 * season :] @ np.linalg.lstsq(phases[2 * season :], rest)[0]
        assert (fitted**2).sum() < 0.2 * (rest**2).sum()


def test_an_event_is_not_the_season():
    t = np.arange(240)
    rng = np.random.default_rng(0)
    december = 50 * (t % 12 == 11) + rng.normal(size=240)
    assert inspect.series_labels(december)["event"].sum() <= 2
    december[100] += 40  # no December
    assert np.flatnonzero(inspect.series_labels(december)["event"]).tolist() == [100, 101]
    exact = (13 + 3 * np.sin(2 * np.pi * t / 12) + 9 * (t == 70)).astype(np.float32)
    assert np.flatnonzero(inspect.series_labels(exact)["event"]).tolist() == [70, 71]


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=0, max_size=40),
    st.integers(1, 40),
)
def test_any_series_has_labels_and_none_knows_what_is_to_come(values, cut):
    whole = inspect.series_labels(values, season=4)
    part = inspect.series_labels(values[:cut], season=4)
    usual = inspect.series_labels(values)
    for name, label in whole.items():
        assert label.shape == (len(values),)
        assert np.isfinite(label).all()
        assert name not in usual or np.isfinite(usual[name]).all()
        if name != "event" and len(values) >= 16 and cut >= 16:  # a season fits four times
            np.testing.assert_allclose(label[:cut], part[name], rtol=1e-6, atol=1.0, err_msg=name)


@pytest.mark.parametrize(("season", "noise"), [(7, 0.3), (12, 0.5), (125, 0.4)])
def test_the_season_is_found(season, noise):
    t = np.arange(8 * season)
    rng = np.random.default_rng(season)
    series = np.sin(2 * np.pi * t / season) ** 3 + noise * rng.normal(size=len(t)) + 0.01 * t
    sine = inspect.series_labels(series)["season sine"]
    found = 2 * np.pi / np.arcsin(sine[1])
    assert abs(found - season) <= max(1, season // 25)


# What is wrong


def test_bad_labels():
    for use, message in (
        (lambda: inspect.text_labels("a", ["inside quote"]), "did you mean 'inside quotes'"),
        (lambda: inspect.series_labels([1.0, 2], names=["levels"]), "did you mean 'level'"),
        (lambda: inspect.series_labels(np.zeros((1, 2, 3))), "a series is"),
        (lambda: inspect.series_labels([1.0, 2], season=1), "season must be .* at least 2, got 1"),
        (lambda: inspect.series_labels([1.0, 2], season=2.5), "at least 2, got 2.5"),
    ):
        with pytest.raises(sw.InputError, match=message):
            use()
    with pytest.raises(sw.DataError, match="2 of 4 steps, first at step 1"):
        inspect.series_labels([1.0, np.nan, np.inf, 2])
    for use in (lambda: inspect.text_labels(b"a"), lambda: inspect.series_labels("abc")):
        with pytest.raises(sw.DataError, match=r"expected a text|array of numbers"):
            use()
    numbers = Trace({}, inputs=np.zeros((1, 9, 1)), before=None, after=None)
    tokens = Trace({}, inputs=np.zeros((1, 9), np.int64), before=None, after=None)
    assert compute_labels(tokens) == {}
    for trace, name, message in (
        (numbers, "inside quotes", "no ready-made label"),
        (numbers, "season sine", "no label of this series 'season sine'"),
        (tokens, "digit", r"trace\.align"),
    ):
        with pytest.raises(sw.InputError, match=message):
            compute_label(trace, name)


def test_labels_of_many_types_are_read_and_others_are_refused_by_name():
    words = ["a", "b", "a"]
    for source, expected in (
        (torch.tensor([1.0, 2, 3], requires_grad=True), [1, 2, 3]),
        (pd.Series(words), words),
        (pd.Series(words, dtype="category"), words),
        (pd.Series([True, False, True]), [True, False, True]),
        ((1, 2, 3), [1, 2, 3]),
        (words, words),
    ):
        assert as_label(source, 3, "it").tolist() == expected
    for source, came in (
        (None, "NoneType"),
        (3, "int"),
        ("abc", "str"),
        ([1, [2, 3], 4], "list"),
        ({"a": 1}, "dict"),
        ([1, 2], r"\(2,\) int64"),
        (np.zeros((3, 1)), r"\(3, 1\) float64"),
        (pd.DataFrame({"a": [1, 2, 3]}), r"\(3, 1\) int64"),
        (pd.date_range("2020", periods=3), r"\(3,\) datetime64"),
        ([1, "a", None], r"\(3,\) object"),
    ):
        message = f"it must hold a number or a word for each of 3 steps, .*got {came}"
        with pytest.raises(sw.InputError, match=message):
            as_label(source, 3, "it")
    with pytest.raises(sw.InputError, match="NaN or infinite at 1 of 3 steps"):
        as_label([1, np.nan, 2], 3, "it")
    with pytest.raises(sw.InputError, match=r"label 'x' holds words.*label == 'word'"):
        check_labels({"x": words}, 3)
    for labels, message in (([1, 2], "a dict of name"), ({"x": [1, 2]}, "label 'x' must hold")):
        with pytest.raises(sw.InputError, match=message):
            check_labels(labels, 3)
    series = pd.DataFrame({"ds": pd.date_range("2020", periods=3), "y": [1.0, 2, 3]})
    with pytest.raises(sw.DataError, match=r"got DataFrame of object.*df\['y'\]"):
        inspect.series_labels(series)
    assert inspect.series_labels(torch.ones(3, requires_grad=True))["level"].tolist() == [1, 1, 1]


# Following


def test_a_displaced_label_is_followed_by_nothing():
    rng = np.random.default_rng(0)
    slow = (np.sin(np.arange(2000) / 40 + rng.normal(0, 0.1, 2000)) > 0.5).astype(float)
    values = np.stack([slow, -slow, rng.normal(size=2000), np.full(2000, 0.1)], axis=1)
    score, control, chance = correlate_labels(values, [slow, np.ones(2000)])
    np.testing.assert_allclose(score[:2], [[1, 0], [-1, 0]], atol=1e-12)
    assert abs(score[2, 0]) < 0.1
    assert control[2, 0] < 0.1
    assert 0.1 < control[0, 0] < 0.8  # a slow label meets itself again
    assert score[3].tolist() == control[3].tolist() == [0, 0]
    np.testing.assert_array_equal(chance <= 0.02, [[1, 0], [1, 0], [0, 0], [0, 0]])


def test_where_labels_are_on():
    labels = {"flag": np.array([0, 1, 0, 1.0]), "count": np.arange(4.0), "flat": np.ones(4)}
    assert {name: at.tolist() for name, at in locate_labels(labels, off=True).items()} == {
        "flag": [False, True, False, True],
        "not flag": [True, False, True, False],
        "count": [False, False, False, True],
    }
