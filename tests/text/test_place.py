"""The place of the draws: a seeded text that is written in parts is the text written at once."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import statewise as sw
from statewise import checkpoint
from statewise.text import Sampling, generation


def write(stream, model):
    """The text of each row."""
    rows = np.array(list(stream)).reshape(-1, stream.state.batch).T
    return [model.decode(row) for row in rows]


@pytest.mark.parametrize("options", [{}, {"top_k": 9}, {"top_p": 0.95}])
@pytest.mark.parametrize("branches", [1, 3])
@pytest.mark.parametrize("first", [1, 50, 64, 99])
def test_a_text_in_two_parts_is_the_text_at_once(learned, tmp_path, options, branches, first):
    model, _ = learned
    path = tmp_path / "place.safetensors"
    seeded = Sampling(4.0, seed=4, **options)
    whole = write(model.stream("one", 100, seeded, branches=branches), model)
    begin = model.stream("one", first, seeded, branches=branches)
    texts = write(begin, model)
    begin.save(path)
    state, sampling = sw.State.load(path), Sampling.load(path, temperature=4.0, **options)
    assert sampling == begin.sampling
    rest = write(model.stream("", 100 - first, sampling, state, branches), model)
    assert [a + b for a, b in zip(texts, rest, strict=True)] == whole
    other = write(
        model.stream("", 100 - first, Sampling(4.0, seed=5, **options), state, branches), model
    )
    assert other != rest or first == 99


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(0, 2**63 - 1))
def test_the_text_of_a_seed_does_not_depend_on_blocks(learned, block, seed):
    model, _ = learned
    texts = model.branch("one", 120, 2, seed=seed, temperature=4.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generation, "BLOCK", block)
        assert model.branch("one", 120, 2, seed=seed, temperature=4.0) == texts


def test_a_row_draws_the_same_whatever_runs_beside_it(learned):
    model, _ = learned
    five = model.branch("one", 60, 5, seed=9, temperature=4.0)
    assert len(set(five)) == 5
    assert model.branch("one", 60, 2, seed=9, temperature=4.0) == five[:2]
    assert model.generate("one", 60, seed=9, temperature=4.0) == five[0]


def test_a_fork_has_the_same_future(learned):
    model, _ = learned
    text = model.stream("one", 40, Sampling(4.0, seed=1))
    list(text)
    a, b = (write(model.stream("", 40, text.sampling, text.state), model) for _ in range(2))
    assert a == b


def test_a_row_of_a_saved_place_is_forked_into_several(learned, tmp_path):
    model, _ = learned
    text = model.stream("one", 40, Sampling(4.0, seed=1))
    list(text)
    text.save(tmp_path / "s")
    sampling = Sampling.load(tmp_path / "s", temperature=4.0)
    texts = write(model.stream("", 40, sampling, text.state, 3), model)
    assert texts[0] == write(model.stream("", 40, text.sampling, text.state), model)[0]
    assert len(set(texts)) == 3


def test_draws_without_a_seed_differ_and_can_be_gone_on_with(learned, tmp_path):
    model, _ = learned
    assert model.generate("one", 60, temperature=3.0) != model.generate("one", 60, temperature=3.0)
    text = model.stream("one", 20, Sampling(3.0))
    begin = write(text, model)[0]
    seed = text.sampling.seed
    assert text.sampling.count == 20
    rest = write(model.stream("", 20, text.sampling, text.state), model)[0]
    assert begin + rest == model.generate("one", 40, temperature=3.0, seed=seed)


def test_the_file_is_a_state_file_with_one_more_entry(learned, tmp_path):
    model, _ = learned
    text = model.stream("one", 20, Sampling(seed=6), branches=2)
    list(text)
    text.save(tmp_path / "a")
    text.state.save(tmp_path / "b")
    (arrays, own), (plain, others) = (
        checkpoint.read(tmp_path / name, "statewise.state") for name in "ab"
    )
    assert own.keys() - others.keys() == {"draws"}
    assert arrays.keys() == plain.keys()
    assert json.loads(own["draws"]) == {"seed": list(text.sampling.seed), "count": [20, 20]}
    assert sw.State.load(tmp_path / "a") == text.state
    assert Sampling.load(tmp_path / "b") == Sampling()


@pytest.mark.parametrize("written", ["", "[]", "{}", '{"seed": [-1], "count": [0]}', '{"seed": 1}'])
def test_a_place_that_cannot_be_read_is_named(learned, tmp_path, written):
    learned[0].read("one").save(tmp_path / "s", extra={"draws": written})
    with pytest.raises(sw.FileError, match="the place of the draws in"):
        Sampling.load(tmp_path / "s")


def test_a_place_of_other_rows_is_refused(learned):
    with pytest.raises(sw.InputError, match="2 seeds and 2 counts, and there are 3 rows"):
        learned[0].stream("one", 5, Sampling(seed=(1, 2), count=(0, 0)), branches=3)
