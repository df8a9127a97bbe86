import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import statewise as sw
from statewise.text.sampling import Sampler, Sampling

from .conftest import RHYME


class Constant:
    """Stands for a model whose outputs never change, without kernels."""

    def step(self, tokens, state):
        return None, state

    def sample(self, noise, state):
        tokens = (state["outputs.y"] + noise).argmax(axis=2)
        return tokens, lambda _: state


def draw(outputs, unwritable=(), **options):
    """One token of every row of outputs."""
    sampler = Sampler(Sampling(**options).spread(len(outputs)), np.array(unwritable, np.int64))
    return sampler.draw(Constant(), sw.State({"outputs.y": outputs}), 0, 1)[0][0]


def frequencies(outputs, count=20_000, **options):
    """How often each token is drawn, of many rows of the same outputs."""
    rows = np.tile(np.float32(outputs), (count, 1))
    return np.bincount(draw(rows, seed=0, **options), minlength=len(outputs)) / count


def softmax(values):
    powers = np.exp(np.asarray(values) - np.max(values))
    return powers / powers.sum()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax(temperature):
    outputs = [0.0, 1.0, -1.0, 2.5]
    expected = softmax(np.divide(outputs, temperature))
    np.testing.assert_allclose(frequencies(outputs, temperature=temperature), expected, atol=0.015)


def test_top_k_and_top_p_leave_the_unlikely_out():
    outputs = np.log([0.5, 0.1, 0.3, 0.1])
    np.testing.assert_allclose(frequencies(outputs, top_k=2), [0.625, 0, 0.375, 0], atol=0.015)
    np.testing.assert_allclose(frequencies(outputs, top_p=0.75), [0.625, 0, 0.375, 0], atol=0.015)
    np.testing.assert_allclose(frequencies(outputs, top_p=0.01), [1, 0, 0, 0])
    np.testing.assert_allclose(
        frequencies(outputs, top_k=9, top_p=1.0), [0.5, 0.1, 0.3, 0.1], atol=0.015
    )


@given(st.integers(1, 5), st.integers(2, 9), st.integers(0, 2**32), st.integers(1, 9))
def test_greedy_is_the_likeliest_in_every_row(rows, size, seed, top_k):
    outputs = np.random.default_rng(seed).normal(size=(rows, size)).astype(np.float32)
    likeliest = outputs.argmax(axis=1)
    assert (draw(outputs, temperature=0, top_k=top_k) == likeliest).all()
    assert (draw(outputs, top_k=1) == likeliest).all()


@pytest.mark.parametrize("options", [{}, {"temperature": 0}, {"top_k": 2}, {"top_p": 0.9}])
def test_what_may_not_be_written_is_never_drawn(options):
    rows = np.tile(np.float32([9.0, 1.0, 8.0, 0.5]), (500, 1))
    assert set(draw(rows, unwritable=[0, 2], seed=0, **options)) <= {1, 3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1}, "at least 0, got -1"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "below 2..63"),
        ({"seed": 1.5}, "seed"),
        ({"seed": (1, 2)}, "2 seeds and 1 counts, and there are 1 rows"),
        ({"stop": ["a", ""]}, "stop must be strings of at least one character"),
        ({"stop": [3]}, "expected a text, got int"),
    ],
)
def test_options_out_of_range_are_refused(learned, options, message):
    with pytest.raises((sw.InputError, sw.DataError), match=message):
        learned[0].generate("one", 3, **options)


def test_what_was_learned_is_written(learned):
    model, _ = learned
    assert model.generate("one two thr", 30, temperature=0) == RHYME[11:41]
    assert "caught a fish" in model.generate("once I ", 60, temperature=0.3, seed=1)


def test_a_seed_gives_the_same_text_and_lengths_are_kept(learned):
    model, _ = learned
    texts = [model.generate("one", 80, temperature=2.0, seed=seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert [len(text) for text in texts] == [80] * 3
    assert model.generate("one", 0) == ""


def test_a_text_goes_on_from_its_state_alone(learned, tmp_path):
    model, _ = learned
    whole = model.generate("one two", 40, temperature=0)
    first = model.stream("one two", 15, Sampling(0))
    begin = model.decode([tokens[0] for tokens in first])
    first.state.save(tmp_path / "s.safetensors")
    later = model.generate(
        length=25, temperature=0, state=sw.State.load(tmp_path / "s.safetensors")
    )
    assert begin + later == whole
    assert first.state.position.tolist() == [7 + 15]


@pytest.mark.parametrize("options", [{}, {"temperature": 0}, {"top_k": 5, "temperature": 0.8}])
def test_the_state_has_read_what_was_given_out_and_nothing_more(learned, options):
    model, _ = learned
    text = model.stream("one", 150, Sampling(seed=3, **options), branches=2)
    state = text.state
    for count, tokens in enumerate(text, 1):
        _, state = model.model.step(tokens, state)
        if count % 49 == 0:
            assert state.position.tolist() == text.state.position.tolist() == [3 + count] * 2
            for name, value in state.items():
                np.testing.assert_array_equal(value, text.state[name])
    assert count == 150


def test_a_text_broken_off_goes_on_where_it_was(learned):
    model, _ = learned
    whole = model.generate("one", 200, seed=5)
    text = model.stream("one", 200, Sampling(seed=5))
    parts = [[int(own[0]) for own in itertools.islice(text, count)] for count in (10, 70, 999)]
    assert [len(part) for part in parts] == [10, 70, 120]
    assert model.decode(list(itertools.chain(*parts))) == whole


def test_the_same_text_without_kernels(learned, monkeypatch):
    model, _ = learned
    texts = model.branch("once", 100, 3, seed=1)
    monkeypatch.setattr(model.model, "_packed", None)
    assert model.branch("once", 100, 3, seed=1) == texts


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("temperature", [1e-300, 1e-10, 1e10, 1e308])
def test_the_coldest_and_the_hottest(learned, temperature):
    model, _ = learned
    cold = model.generate("one", 20, temperature=0) == model.generate(
        "one", 20, temperature=temperature, seed=0
    )
    assert cold == (temperature < 1)


def test_branches_fork_one_state(learned):
    model, _ = learned
    assert (
        model.branch("once", 20, 3, temperature=0)
        == [model.generate("once", 20, temperature=0)] * 3
    )
    apart = model.branch("once", 40, 5, temperature=3.0, seed=0)
    assert len(set(apart)) == 5
    state = model.read("one two").rows([0, 0])
    assert model.branch(" three", 9, 2, temperature=0, state=state) == [" four fiv"] * 2
    with pytest.raises(sw.StateError, match="2 rows and there are 3 branches"):
        model.branch("", 9, 3, state=state)
    with pytest.raises(sw.InputError, match="branches"):
        model.branch("", 9, 0)


def test_a_strange_state_or_prompt_is_refused(learned):
    model, _ = learned
    with pytest.raises(sw.StateError):
        model.generate(state=sw.State({"0.h": np.zeros((1, 3), np.float32)}))
    with pytest.raises(sw.DataError, match="lacks 'Z'"):
        model.generate("Z")
    assert len(model.generate("Z", 5, unknown="replace")) == 5
    with pytest.raises(sw.InputError, match="length"):
        model.generate(length=-1)


def test_writing_needs_no_torch(learned):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import statewise as sw\n"
        f"model = sw.TextModel.load({str(learned[1])!r})\n"
        "print(model.generate('one two', 12, temperature=0), model.branch('on', 2, 2))\n"
        f"model.score({RHYME!r})\n"
        "try:\n    model.fit('text')\n"
        "except sw.MissingExtraError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(" three four ")
    assert "pip install 'statewise[train]'" in done.stdout
