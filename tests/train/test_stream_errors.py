"""Sequences, targets and options that no streams can be made of are named."""

import numpy as np
import pytest
import torch

import statewise as sw


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "is empty"),
        ([np.arange(1), np.arange(1)], "too short"),
        (np.arange(5.0), r"add the axis of features: x\[:, None\]"),
        (np.zeros((2, 3, 4)), r"write list\(x\)"),
        ([np.zeros((3, 1)), np.zeros((3, 2))], r"sequences\[1\]"),
        ([np.zeros((3, 0))], "hold nothing"),
        ([[1, 2, 3]], "np.asarray"),
        (["abc"], "np.asarray"),
        ([np.array(["a"])], "must hold numbers"),
        ([np.array(3)], "axis of time"),
        (5, "a list of arrays"),
    ],
)
def test_sequences_that_cannot_be_used_are_named(given, message):
    with pytest.raises(sw.InputError, match=message):
        sw.Streams(given)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([np.zeros((5, 1))], "2 sequences and 1 arrays of targets"),
        (
            [np.zeros((5, 1)), np.zeros((3, 1))],
            r"targets\[1\] has 3 steps and sequences\[1\] has 4",
        ),
        ([np.zeros(5), np.zeros(4)], "add the axis"),
    ],
)
def test_targets_that_do_not_fit_are_named(targets, message):
    with pytest.raises(sw.InputError, match=message):
        sw.Streams([np.zeros((5, 1)), np.zeros((4, 1))], targets=targets)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lanes": 0}, "lanes must be a whole number of at least 1"),
        ({"lanes": 2.5}, "lanes"),
        ({"chunk": 0}, "chunk must be a whole number of at least 1"),
        ({"chunk": True}, "chunk"),
        ({"carry": "always"}, "one of stream, never, epoch"),
        ({"seed": -1}, "seed"),
        ({"burn_in": -1}, "burn_in"),
        ({"burn_in": 4}, "nothing to learn from"),
        ({"dtype": torch.int64}, "floating dtype"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(sw.TrainingError, match=message):
        sw.Streams(np.zeros((5, 1)), **{"lanes": 1, **options})


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_value_that_is_not_finite_is_found_and_named(value):
    bad = np.zeros((50, 2))
    bad[37, 1] = value
    streams = sw.Streams([np.zeros((50, 2)), bad], lanes=2, chunk=10)
    with pytest.raises(sw.InputError, match=r"sequences\[1\] holds .* at step 37, place 1"):
        list(streams)
    if value == 1e300:
        assert list(sw.Streams([bad], lanes=1, dtype=torch.float64))


def test_a_cursor_out_of_range_is_named():
    streams = sw.Streams(np.arange(9), lanes=1)
    with pytest.raises(sw.TrainingError, match="epoch"):
        streams.epoch(-1)
    with pytest.raises(sw.TrainingError, match="start"):
        streams.batches(0, 0.5)
    assert list(streams.batches(0, 1)) == []
