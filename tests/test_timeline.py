"""Timeline: where a call is cut, and how far each row has come."""

import numpy as np
import pytest
import torch

import statewise as sw
from statewise.timeline import build_timeline


def cuts(segments):
    return [(s.start, s.stop, s.reset is not None, s.active is not None) for s in segments]


def test_a_plain_call_is_one_segment():
    when = build_timeline(2, 5, None, None, np.zeros(()))
    assert cuts(when.segments) == [(0, 5, False, False)]
    assert when.mask is None
    assert build_timeline(2, 0, None, None, np.zeros(())).segments == []


def test_masks_that_say_nothing_cost_nothing():
    when = build_timeline(2, 5, np.zeros((2, 5), dtype=bool), [5, 5], np.zeros(()))
    assert cuts(when.segments) == [(0, 5, False, False)]
    assert when.mask is None


def test_cuts_where_rows_are_reset_or_end():
    reset = np.zeros((3, 6), dtype=bool)
    reset[0, 0] = reset[1, 2] = True
    reset[2, 5] = True  # in the padding
    when = build_timeline(3, 6, reset, [6, 4, 2], np.zeros(()))
    assert cuts(when.segments) == [
        (0, 2, True, False),
        (2, 4, True, True),
        (4, 6, False, True),
    ]
    first, second, third = when.segments
    assert first.reset.tolist() == [True, False, False]
    assert second.reset.tolist() == [False, True, False]
    assert second.active.tolist() == [True, True, False]
    assert third.active.tolist() == [True, False, False]
    assert when.mask.sum(axis=1).tolist() == [6, 4, 2]


def test_resets_alone_and_lengths_alone():
    reset = np.zeros((2, 4), dtype=bool)
    reset[1, 2] = True
    x = np.arange(8).reshape(2, 4)
    when = build_timeline(2, 4, reset, None, np.zeros(()))
    assert cuts(when.segments) == [(0, 2, False, False), (2, 4, True, False)]
    assert when.reverse_sequences(x).tolist() == [[3, 2, 1, 0], [5, 4, 7, 6]]
    deep = np.stack([x, -x], axis=-1)[..., None] * np.ones(3)
    assert when.reverse_sequences(deep)[:, :, 0, 0].tolist() == [[3, 2, 1, 0], [5, 4, 7, 6]]
    when = build_timeline(2, 4, None, [4, 1], np.zeros(()))
    assert cuts(when.segments) == [(0, 1, False, False), (1, 4, False, True)]
    assert when.reverse_sequences(x).tolist() == [[3, 2, 1, 0], [4, 7, 6, 5]]
    assert when.reverse_sequences(when.reverse_sequences(x)).tolist() == x.tolist()


def test_positions():
    reset = np.zeros((4, 6), dtype=bool)
    reset[1, 2] = reset[1, 4] = reset[2, 0] = reset[3, 5] = True
    before = np.array([10, 10, 10, 10])
    when = build_timeline(4, 6, reset, None, np.zeros(()))
    assert when.position(before).tolist() == [16, 2, 6, 1]
    when = build_timeline(4, 6, reset, [3, 3, 0, 5], np.zeros(()))
    assert when.position(before).tolist() == [13, 1, 10, 15]


def test_positions_of_rows_in_their_initial_state():
    reset = np.zeros((3, 4), dtype=bool)
    reset[0, 1] = True
    like = np.zeros(())
    assert build_timeline(3, 4, None, None, like).position(None).tolist() == [4, 4, 4]
    assert build_timeline(3, 4, None, [4, 1, 0], like).position(None).tolist() == [4, 1, 0]
    assert build_timeline(3, 4, reset, None, like).position(None).tolist() == [3, 4, 4]
    before = np.array([5, 6, 7])
    assert build_timeline(3, 4, None, None, like).position(before).tolist() == [9, 10, 11]
    assert build_timeline(3, 4, None, [4, 1, 0], like).position(before).tolist() == [9, 7, 7]
    for when in (build_timeline(3, 4, None, None, like), build_timeline(3, 4, reset, None, like)):
        assert when.position(None).dtype == np.int64


def test_the_latest_output_of_brief_rows():
    y = np.arange(12.0, dtype="float32").reshape(3, 4, 1)
    before = np.full((3, 1), -1.0)
    latest = build_timeline(3, 4, None, [1, 0, 2], y).latest(y, before)
    assert latest.tolist() == [[0], [-1], [9]]
    assert latest.dtype == before.dtype
    assert build_timeline(3, 4, None, None, y).latest(y, before).dtype == before.dtype


def test_masks_on_the_host():
    reset = np.asfortranarray(np.eye(2, 3, dtype=bool))
    when = build_timeline(2, 3, reset, [1, 3], np.zeros(()))
    assert when.reset_steps.tolist() == [[True, False, False], [False, True, False]]
    assert when.reset_steps.flags.c_contiguous
    assert when.lengths.tolist() == [1, 3]
    assert when.lengths.dtype == np.int64
    plain = build_timeline(2, 3, None, None, np.zeros(()))
    assert plain.reset_steps is None
    assert plain.lengths is None


def test_calls_without_rows_or_steps():
    like = np.zeros(())
    assert cuts(build_timeline(0, 3, np.zeros((0, 3), bool), [], like).segments) == [(0, 3, 0, 0)]
    none = build_timeline(2, 0, np.zeros((2, 0), bool), [0, 0], like)
    assert none.segments == []
    assert none.position(np.array([3, 4])).tolist() == [3, 4]
    assert none.position(None).tolist() == [0, 0]


WRONG = {
    r"reset must be \(2, 3\) bool, .* got \(3, 2\) bool$": (np.zeros((3, 2), bool), None),
    r"reset must be \(2, 3\) bool, .* got \(2, 3\) int64; write reset != 0": (
        np.zeros((2, 3), int),
        None,
    ),
    r"lengths must be \(2,\) whole numbers, .* got \(3,\) int64": (None, [1, 2, 3]),
    r"lengths must be \(2,\) whole numbers, .* got \(2, 1\) int64": (None, [[1], [2]]),
    r"lengths must be \(2,\) whole numbers, .* got \(2,\) float64": (None, [1.0, 2.0]),
    r"lengths must be \(2,\) whole numbers, .* got \(2,\) bool": (None, [True, False]),
    r"lengths must lie in \[0, 3\], .* got 1 to 4": (None, [4, 1]),
    r"lengths must lie in \[0, 3\], .* got -1 to 3": (None, [3, -1]),
    r"lengths must be an array, got \[\[1\], 2\]": (None, [[1], 2]),
}


@pytest.mark.parametrize("message", WRONG)
def test_masks_that_do_not_fit_are_named(message):
    reset, lengths = WRONG[message]
    with pytest.raises(sw.InputError, match=message):
        build_timeline(2, 3, reset, lengths, np.zeros(()))


def test_lengths_may_be_of_any_integer_kind():
    for lengths in (np.array([0, 3], np.uint8), np.array([0, 3], np.int32), torch.tensor([0, 3])):
        assert build_timeline(2, 3, None, lengths, np.zeros(())).lengths.tolist() == [0, 3]


def test_the_latest_output():
    y = np.arange(12.0).reshape(3, 4, 1)
    before = np.full((3, 1), -1.0)
    assert build_timeline(3, 4, None, None, y).latest(y, before).tolist() == [[3], [7], [11]]
    assert build_timeline(3, 4, None, [2, 0, 4], y).latest(y, before).tolist() == [[1], [-1], [11]]
    none = y[:, :0]
    assert build_timeline(3, 0, None, None, y).latest(none, before) is before


@pytest.mark.parametrize("like", [np.zeros(()), torch.zeros(())])
def test_turning_reads_each_sequence_from_its_end(like):
    x = np.arange(12).reshape(2, 6)
    x = x if isinstance(like, np.ndarray) else torch.from_numpy(x)
    plain = build_timeline(2, 6, None, None, like)
    assert plain.reverse_sequences(x).tolist() == [[5, 4, 3, 2, 1, 0], [11, 10, 9, 8, 7, 6]]
    reset = np.zeros((2, 6), dtype=bool)
    reset[0, 0] = reset[0, 2] = reset[0, 3] = True
    when = build_timeline(2, 6, reset, [5, 4], like)
    assert when.reverse_sequences(x).tolist() == [[1, 0, 2, 4, 3, 5], [9, 8, 7, 6, 11, 10]]
    assert when.reverse_sequences(when.reverse_sequences(x)).tolist() == x.tolist()
    wide = x[..., None] + when.reverse_sequences(x)[..., None] * 0
    assert when.reverse_sequences(wide)[..., 0].tolist() == when.reverse_sequences(x).tolist()


def test_rows_that_start_fresh():
    reset = np.zeros((3, 2), dtype=bool)
    reset[1, 0] = True
    assert build_timeline(3, 2, reset, None, np.zeros(())).starts_fresh().tolist() == [
        False,
        True,
        False,
    ]
    assert build_timeline(3, 2, reset, [2, 2, 0], np.zeros(())).starts_fresh().tolist() == [
        False,
        True,
        True,
    ]
    assert build_timeline(3, 0, None, None, np.zeros(())).starts_fresh().all()


@pytest.mark.parametrize("like", [np.zeros(()), torch.zeros(())])
def test_masks_go_to_the_arrays_of_the_call(like):
    when = build_timeline(2, 3, np.eye(2, 3, dtype=bool), [1, 3], like)
    assert all(type(s.reset) is type(like) for s in when.segments if s.reset is not None)
    assert type(when.mask) is type(like)
