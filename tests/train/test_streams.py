"""Streams: every step once, state reset where it should be, and nothing read that is not needed."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import statewise as sw

pytestmark = pytest.mark.filterwarnings("ignore::statewise.SequenceCutWarning")

CARRIES = ("stream", "never", "epoch")
FAR = 1000
"""Further apart than any sequence is long, so that a value names its sequence and its step."""

lengths = st.lists(st.integers(0, 30), min_size=1, max_size=7).filter(lambda given: max(given) > 1)
options = st.fixed_dictionaries(
    {
        "lanes": st.integers(1, 6),
        "chunk": st.integers(1, 12),
        "carry": st.sampled_from(CARRIES),
        "shuffle": st.booleans(),
        "seed": st.integers(0, 3),
    }
)


def numbered(lengths):
    """Sequences whose values say where they stand: 1000 for each sequence, one for each step."""
    return [FAR * index + np.arange(length) for index, length in enumerate(lengths)]


def lanes_of(streams, epoch=0):
    """An epoch put together again: per lane its inputs, targets and resets, padding left out."""
    rows = [[] for _ in range(streams.lanes)]
    for batch in streams.epoch(epoch):
        ends = [batch.inputs.shape[1]] * streams.lanes
        if batch.lengths is not None:
            ends = batch.lengths.tolist()
        for row, end in enumerate(ends):
            for t in range(end):
                rows[row].append(
                    (
                        int(batch.inputs[row, t]),
                        int(batch.targets[row, t]),
                        bool(batch.reset[row, t]),
                    )
                )
    return rows


def starts_of_pieces(lengths, lanes):
    """Where pieces start, by the rule: equal pieces no longer than an even lane."""
    steps = [max(length - 1, 0) for length in lengths]
    even = -(-sum(steps) // lanes)
    starts = set()
    for index, count in enumerate(steps):
        pieces = -(-count // even)
        starts |= {FAR * index + piece * count // pieces for piece in range(pieces)}
    return starts


@given(lengths, options, st.integers(0, 2))
def test_every_step_comes_once_an_epoch_with_the_next_as_its_target(lengths, options, epoch):
    streams = sw.Streams(numbered(lengths), **options)
    seen = [step for lane in lanes_of(streams, epoch) for step in lane]
    expected = [value for sequence in numbered(lengths) for value in sequence[:-1]]
    assert sorted(value for value, _, _ in seen) == expected
    assert all(target == value + 1 for value, target, _ in seen)


@given(lengths, options, st.integers(0, 2))
def test_resets_stand_where_the_carry_ends_and_nowhere_else(lengths, options, epoch):
    streams = sw.Streams(numbered(lengths), **options)
    starts = starts_of_pieces(lengths, options["lanes"])
    for lane in lanes_of(streams, epoch):
        for place, (value, _, reset) in enumerate(lane):
            expected = {
                "stream": value in starts,
                "never": value in starts or place % options["chunk"] == 0,
                "epoch": place == 0,
            }
            assert reset == expected[options["carry"]]


@given(lengths, options)
def test_within_a_lane_only_a_new_piece_breaks_the_order(lengths, options):
    streams = sw.Streams(numbered(lengths), **options)
    starts = starts_of_pieces(lengths, options["lanes"])
    for lane in lanes_of(streams):
        values = [value for value, _, _ in lane]
        for before, value in itertools.pairwise(values):
            assert value == before + 1 or value in starts


@given(lengths, options)
def test_lanes_are_balanced_and_padded_at_their_ends_only(lengths, options):
    streams = sw.Streams(numbered(lengths), **options)
    loads = [len(lane) for lane in lanes_of(streams)]
    even = -(-streams.steps // options["lanes"])
    assert min(loads) >= 1
    assert max(loads) - min(loads) <= even
    assert len(streams) == -(-max(loads) // options["chunk"])
    for batch in streams:
        rows, steps = batch.inputs.shape
        assert batch.targets.shape == batch.weights.shape == batch.reset.shape == (rows, steps)
        if batch.lengths is None:
            assert batch.weights.all()
            continue
        padding = torch.arange(steps) >= batch.lengths[:, None]
        assert padding.any()
        assert torch.equal(batch.weights == 0, padding)
        assert not batch.inputs[padding].any()
        assert not batch.targets[padding].any()


@given(lengths, options, st.integers(0, 2), st.integers(0, 9))
def test_an_epoch_goes_on_from_any_chunk(lengths, options, epoch, start):
    streams = sw.Streams(numbered(lengths), **options)
    whole = list(streams.epoch(epoch))[start:]
    rest = list(streams.batches(epoch, start))
    assert len(rest) == len(whole)
    for one, other in zip(rest, whole, strict=True):
        for name in ("inputs", "targets", "weights", "reset"):
            assert torch.equal(getattr(one, name), getattr(other, name))
            assert getattr(one, name).stride() == getattr(other, name).stride()


@given(st.integers(0, 12), st.sampled_from(CARRIES), st.integers(1, 9))
def test_burn_in_takes_the_weight_of_the_steps_after_each_start(burn_in, carry, chunk):
    lengths = [31, 14, 22]
    reach = {"never": min(chunk, 21)}.get(carry, 21)
    if burn_in >= reach:
        with pytest.raises(sw.TrainingError, match="nothing to learn from"):
            sw.Streams(numbered(lengths), lanes=3, chunk=chunk, carry=carry, burn_in=burn_in)
        return
    streams = sw.Streams(numbered(lengths), lanes=3, chunk=chunk, carry=carry, burn_in=burn_in)
    starts = starts_of_pieces(lengths, 3)
    for batch in streams:
        for row in range(streams.lanes):
            since = FAR
            for t in range(batch.inputs.shape[1]):
                if batch.lengths is not None and t >= batch.lengths[row]:
                    break
                value = int(batch.inputs[row, t])
                begun = max(start for start in starts if start <= value)
                since = min(value - begun, since + 1)
                if carry == "never":
                    since = min(since, t)
                assert bool(batch.weights[row, t]) == (since >= burn_in)


def test_shuffling_is_decided_by_seed_and_epoch():
    sequences = numbered([9] * 12)

    def order(seed, epoch):
        return lanes_of(sw.Streams(sequences, lanes=2, chunk=4, shuffle=True, seed=seed), epoch)

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)
    plain = sw.Streams(sequences, lanes=2, chunk=4)
    assert lanes_of(plain, 0) == lanes_of(plain, 5)


def test_one_lane_for_each_sequence_keeps_them_whole_and_in_order():
    streams = sw.Streams(numbered([5, 40, 2]), lanes=None, chunk=7)
    assert [lane[0][0] for lane in lanes_of(streams)] == [0, FAR, 2 * FAR]
    assert [len(lane) for lane in lanes_of(streams)] == [4, 39, 1]


@pytest.mark.parametrize("carry", CARRIES)
def test_a_stream_in_lanes_is_read_like_the_stream_alone(carry):
    """No cross-talk: outputs in lanes equal those of a loop that resets where the carry ends."""
    rng = np.random.default_rng(0)
    sequences = [rng.normal(size=(length, 2)) for length in (13, 1, 30, 7, 22)]
    sequences = [np.c_[own, np.full(len(own), index)] for index, own in enumerate(sequences)]
    model = sw.nn.Model(
        sw.Architecture(sw.Vector(3), [sw.LSTM(4)], sw.Linear(2)), dtype=torch.float64
    ).eval()
    streams = sw.Streams(sequences, lanes=3, chunk=5, carry=carry, dtype=torch.float64)
    state, outputs, inputs, resets = None, [], [], []
    for batch in streams:
        y, state = model(batch.inputs, state, reset=batch.reset, lengths=batch.lengths)
        outputs.append(y)
        inputs.append(batch.inputs)
        resets.append(batch.reset)
    y, x, reset = torch.cat(outputs, 1), torch.cat(inputs, 1), torch.cat(resets, 1)
    lane_ends = state.position.new_tensor([len(lane) for lane in lanes_of_floats(streams)])
    for row in range(streams.lanes):
        alone = None
        for t in range(int(lane_ends[row])):
            if reset[row, t]:
                alone = None
            one, alone = model.step(x[row : row + 1, t], alone)
            torch.testing.assert_close(y[row, t], one[0], rtol=1e-10, atol=1e-12)
        assert int(state.position[row]) == int(alone.position[0])
        torch.testing.assert_close(state["0.c"][row], alone["0.c"][0], rtol=1e-10, atol=1e-12)


def lanes_of_floats(streams):
    rows = [[] for _ in range(streams.lanes)]
    for batch in streams:
        steps = batch.inputs.shape[1]
        ends = [steps] * streams.lanes if batch.lengths is None else batch.lengths.tolist()
        for row, end in enumerate(ends):
            rows[row] += [None] * end
    return rows


# What may be given


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.bool_, torch.float64])
def test_numbers_of_any_kind_come_in_the_dtype_asked_for(kind):
    values = np.arange(12).reshape(6, 2)
    given = (
        torch.tensor(values, dtype=kind) if isinstance(kind, torch.dtype) else values.astype(kind)
    )
    (batch,) = sw.Streams([given], lanes=1)
    assert batch.inputs.dtype == batch.targets.dtype == torch.float32
    assert batch.inputs.shape == (1, 5, 2)
    expected = torch.as_tensor(np.asarray(given)[:-1]).float()
    assert torch.equal(batch.inputs[0], expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_dtype_is_that_of_the_model_to_be_trained(dtype):
    (batch,) = sw.Streams([torch.randn(5, 2, dtype=dtype)], lanes=1, dtype=dtype)
    assert batch.inputs.dtype == batch.targets.dtype == dtype
    assert batch.weights.dtype == torch.float32


def test_given_targets_stand_beside_their_inputs():
    inputs = [np.arange(7.0)[:, None], np.arange(4.0)[:, None] + 100]
    targets = [np.stack([own, -own], 1) for own in inputs]
    for batch in sw.Streams(inputs, targets=targets, lanes=2, chunk=3):
        assert batch.targets.shape == (*batch.inputs.shape[:2], 2, 1)
        assert torch.equal(batch.targets[:, :, 1], -batch.inputs)
    classes = sw.Streams(inputs, targets=[np.arange(7), np.arange(4)], lanes=2)
    (batch,) = classes
    assert batch.targets.dtype == torch.int64
    assert classes.target_shape is None
    assert batch.weights.sum() == 11


def test_one_array_is_one_sequence():
    assert sw.Streams(np.arange(11), lanes=1).steps == 10
    assert sw.Streams(torch.randn(11, 3), lanes=1).features == 3


def test_batches_share_no_memory_with_the_sequences():
    data = np.arange(8.0, dtype=np.float32)[:, None]
    (batch,) = sw.Streams(data, lanes=1)
    batch.inputs.zero_()
    assert data[3, 0] == 3


def test_a_mapped_file_is_not_read_whole(tmp_path):
    path = tmp_path / "long"
    steps = 2**28
    with path.open("wb") as file:
        file.truncate(4 * steps)  # a gigabyte of nothing, on disk and in memory
    streams = sw.Streams(np.memmap(path, np.float32, "r", shape=(steps, 1)), lanes=4, chunk=8)
    batch = next(iter(streams))
    assert batch.inputs.shape == (4, 8, 1)
    last = list(streams.batches(0, len(streams) - 1))
    assert len(last) == 1


def test_a_chunk_longer_than_every_lane_takes_the_lanes_as_they_are():
    (batch,) = sw.Streams(np.arange(9), lanes=1, chunk=10**12)
    assert batch.inputs.shape == (1, 8)


def test_batches_move_with_their_masks_left_on_the_host():
    (batch,) = sw.Streams(np.arange(9), lanes=1)
    moved = batch.to("meta")
    assert moved.inputs.device.type == moved.targets.device.type == "meta"
    assert moved.weights.device.type == "meta"
    assert moved.reset.device.type == "cpu"


def test_what_there_is_can_be_read():
    shown = repr(sw.Streams(numbered([101, 11, 1]), lanes=3, chunk=10, shuffle=True, burn_in=2))
    for part in ("3 sequences", "110 steps", "3 lanes", "padding", "cut into 4 pieces", "seed 0"):
        assert part in shown
    assert "1 too short" in shown
    assert "burn_in=2" in shown
    assert repr(sw.Streams(np.arange(9), lanes=1)).startswith("Streams(1 sequence, 8 steps\n")
