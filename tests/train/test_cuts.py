"""Where sequences are cut: by default only into long pieces, and never without a warning."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import statewise as sw
from statewise.train.packing import cut

from .runs import model


def series(*lengths):
    """Sequences with as many steps to learn from as given."""
    return [np.zeros((length + 1, 1)) for length in lengths]


def pack_and_catch(lengths, **options):
    """Streams over sequences, and the warnings that they give."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return sw.Streams(series(*lengths), **options), [str(one.message) for one in caught]


def count_starts(streams):
    """How often the state is reset in an epoch, padding aside."""
    return sum(int((batch.reset & (batch.weights > 0)).sum()) for batch in streams)


@pytest.mark.parametrize(
    ("lengths", "lanes"),
    [
        pytest.param([299], 1, id="one short series"),
        pytest.param([100], 1, id="one chunk"),
        pytest.param([7], 1, id="shorter than a chunk"),
        pytest.param([30] * 40, 16, id="many short ones"),
        pytest.param([7, 3, 100], 3, id="few short ones"),
        pytest.param([900] * 20, 16, id="many long ones"),
        pytest.param([799], 1, id="not twice four chunks"),
    ],
)
def test_by_default_short_sequences_stay_whole(lengths, lanes):
    streams, told = pack_and_catch(lengths)
    assert streams.lanes == lanes
    assert count_starts(streams) == len(lengths)
    assert told == []


@pytest.mark.parametrize(
    ("lengths", "pieces"),
    [
        pytest.param([800], 2, id="twice four chunks"),
        pytest.param([3000], 7, id="seven times four chunks"),
        pytest.param([100_000], 16, id="a long one fills sixteen lanes"),
        pytest.param([1000, 50, 50], 4, id="one long among short ones"),
    ],
)
def test_by_default_long_sequences_are_cut_into_long_pieces(lengths, pieces):
    streams, told = pack_and_catch(lengths)
    assert count_starts(streams) == pieces
    assert streams.lanes == min(pieces, 16)
    assert len(told) == 1


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=20).filter(any),
    st.integers(1, 16),
    st.integers(1, 500),
)
def test_no_piece_of_a_sequence_that_is_cut_is_shorter_than_asked(lengths, lanes, shortest):
    pieces = cut(lengths, lanes, shortest)
    for sequence, steps in enumerate(lengths):
        own = [count for index, _, count in pieces if index == sequence]
        assert sum(own) == steps
        assert len(own) <= 1 or min(own) >= shortest


def test_lanes_that_are_given_are_obeyed_and_what_is_cut_is_told_once():
    streams, told = pack_and_catch([299], lanes=16)
    assert streams.lanes == count_starts(streams) == 16
    (message,) = told
    assert "1 sequence is cut into 16 pieces of 18 steps or more to fill 16 lanes" in message
    for way_out in ("lanes=None", "lanes=1", "carry='never'"):
        assert way_out in message
    _, told = pack_and_catch([299, 299, 5], lanes=4, carry="epoch")
    assert "2 sequences are cut into 4 pieces" in told[0]


@pytest.mark.parametrize("options", [{"lanes": None}, {"lanes": 1}, {"carry": "never"}])
def test_each_way_out_is_one(options):
    _, told = pack_and_catch([3000, 900], **options)
    assert told == []
    if "lanes" in options:
        assert count_starts(sw.Streams(series(3000, 900), **options)) == 2


def test_the_warning_names_the_line_of_the_caller():
    with pytest.warns(sw.SequenceCutWarning) as caught:
        sw.Streams(series(299), lanes=2)
    assert caught[0].filename == __file__


def test_training_over_what_was_cut_tells_nothing_more():
    with pytest.warns(sw.SequenceCutWarning) as caught:
        sw.fit(model(), sw.Streams(series(299), lanes=2), epochs=3)
    assert len(caught) == 1


def test_forecasters_and_text_models_lay_sequences_as_their_own_options_say(recwarn):
    sw.TextModel([sw.GRU(4)], width=2).fit("abcab" * 40, epochs=1, lanes=4, chunk=10)
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(["a", "b", "c"], [60, 20, 20]),
            "ds": [*range(60), *range(20), *range(20)],
            "y": np.random.default_rng(0).normal(size=100),
        }
    )
    sw.Forecaster([sw.GRU(2)], lanes=2, epochs=1, calibration=0).fit(frame)
    assert not [one for one in recwarn if issubclass(one.category, sw.SequenceCutWarning)]


def test_a_run_in_other_pieces_is_no_run_to_go_on_with(tmp_path):
    path = tmp_path / "run.safetensors"
    long_and_short = series(1000, *[50] * 20)
    with pytest.warns(sw.SequenceCutWarning):
        before, now = sw.Streams(long_and_short, lanes=16), sw.Streams(long_and_short)
    assert before.lanes == now.lanes
    sw.fit(model(), before, epochs=1, checkpoint=path)
    with pytest.raises(sw.TrainingError, match=r"streams\.pieces"):
        sw.fit(model(), now, epochs=2, checkpoint=path, resume=True)
    sw.fit(model(), before, epochs=2, checkpoint=path, resume=True)


def test_other_words_than_auto_are_refused():
    with pytest.raises(sw.TrainingError, match="lanes must be a whole number of at least 1"):
        sw.Streams(series(9), lanes="all")
