"""Epochs of so many chunks go on where the last one ended; training may stop by the clock."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import statewise as sw

from .runs import model, same, waves, weights


@given(st.integers(1, 9), st.booleans(), st.integers(0, 4))
def test_epochs_follow_one_another_through_the_passes(per_epoch, shuffle, skip):
    series = waves(70, 3)
    layout = {"lanes": 2, "chunk": 16, "shuffle": shuffle}
    whole = sw.Streams(series, **layout)
    parts = sw.Streams(series, **layout, per_epoch=per_epoch)
    assert len(parts) == per_epoch
    passes = [batch for number in range(12) for batch in whole.batches(number)]
    start = min(skip, per_epoch)
    found = [batch for epoch in range(4) for batch in parts.batches(epoch, start)]
    wanted = [
        passes[epoch * per_epoch + chunk] for epoch in range(4) for chunk in range(start, per_epoch)
    ]
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.reset, other.reset)


def test_the_state_is_carried_from_epoch_to_epoch():
    layout = {"lanes": 2, "chunk": 10}
    one, other = model(sw.LSTM(4)), model(sw.LSTM(4))
    whole = sw.fit(one, sw.Streams(waves(), **layout), epochs=2)
    chunks = len(sw.Streams(waves(), **layout))
    parts = sw.fit(other, sw.Streams(waves(), **layout, per_epoch=chunks // 2), epochs=4)
    assert chunks % 2 == 0
    assert same(weights(one), weights(other))
    assert parts.state == whole.state
    assert sum(parts.steps) == sum(whole.steps) == 2 * sw.Streams(waves(), **layout).steps


def test_a_run_in_parts_goes_on_bit_for_bit(tmp_path):
    streams = sw.Streams(waves(), lanes=2, chunk=10, shuffle=True, per_epoch=7)
    path = tmp_path / "run.safetensors"
    once, twice = model(), model()
    sw.fit(once, streams, epochs=9)
    sw.fit(twice, streams, epochs=4, checkpoint=path)
    again = model(seed=1)
    sw.fit(again, streams, epochs=9, checkpoint=path, resume=True)
    assert same(weights(once), weights(again))


def test_minutes_stop_in_mid_epoch_and_count_it(tmp_path):
    streams = sw.Streams(waves(5000), lanes=1, chunk=10)
    path = tmp_path / "run.safetensors"
    history = sw.fit(model(), streams, epochs=10**6, minutes=1e-4, checkpoint=path)
    assert history.stopped == "minutes"
    assert len(history.epoch) == 1
    assert 0 < history.steps[0] < streams.steps
    again = sw.fit(model(), streams, minutes=1e-4, checkpoint=path, resume=True)
    assert again.steps == history.steps
    assert again.stopped == "minutes"


@pytest.mark.parametrize("minutes", [0, -1, True, "3"])
def test_minutes_that_are_none_are_refused(minutes):
    with pytest.raises(sw.TrainingError, match="minutes"):
        sw.fit(model(), sw.Streams(waves()), minutes=minutes)


def test_per_epoch_is_a_count():
    with pytest.raises(sw.TrainingError, match="per_epoch"):
        sw.Streams(waves(), per_epoch=0)
