"""A loss that is no longer finite: said before the step is taken, with the last good run kept."""

import math

import numpy as np
import pytest
import torch

import statewise as sw

from .runs import Interrupting, model, same, waves, weights


def streams():
    return sw.Streams(waves(101, 1), lanes=1, chunk=20)


class Spoilt(Interrupting):
    """The squared error, spoilt in its nth call."""

    def __init__(self, at, by):
        super().__init__(at, lambda: None)
        self.by = by

    def __call__(self, prediction, target):
        spoilt = self.calls == self.at
        return super().__call__(prediction, target) * (self.by if spoilt else 1.0)


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (math.nan, "the loss is nan at epoch 1, chunk 2 "),
        (math.inf, "the loss is inf at epoch 1, chunk 2 "),
        (1e30, "the norm of the gradient is inf at epoch 1, chunk 2 "),
    ],
)
def test_the_step_is_not_taken(by, message):
    before, net = model(), model()
    stops_there = Interrupting(7, lambda: (_ for _ in ()).throw(KeyError))
    with pytest.raises(KeyError):
        sw.fit(before, streams(), epochs=3, loss=stops_there)
    with pytest.raises(sw.DivergenceError, match=message) as caught:
        sw.fit(net, streams(), epochs=3, loss=Spoilt(7, by))
    assert same(weights(net), weights(before))
    for part in ("streams.batches(1, 2)", "learning_rate below 0.001", "a clip below 1", "finite"):
        assert part in str(caught.value)


def test_what_to_try_follows_from_what_was_given():
    with pytest.raises(sw.DivergenceError, match=r"learning_rate below 0.5, clip=1.0"):
        sw.fit(model(), streams(), clip=None, learning_rate=0.5, loss=Spoilt(1, math.nan))
    large = sw.Streams([1e6 * waves(101, 1)[0]], lanes=1, chunk=20)
    with pytest.raises(sw.DivergenceError, match="large for a recurrent network"):
        sw.fit(model(), large, loss=Spoilt(1, math.nan))
    words = sw.nn.Model(sw.Architecture(sw.Tokens(3, width=2), [sw.LSTM(2)], sw.Linear(3)))

    def nothing(prediction, target):
        return prediction.sum(-1) * math.nan

    with pytest.raises(sw.DivergenceError, match="inputs are tokens"):
        sw.fit(words, sw.Streams(np.arange(9) % 3), loss=nothing)


def test_inputs_that_are_not_finite_are_told(monkeypatch):
    """Streams refuse them; what a subclass hands out may still hold them."""

    class Gaps(sw.Streams):
        def batches(self, epoch=0, start=0):
            for batch in super().batches(epoch, start):
                batch.inputs[0, 3] = math.nan
                yield batch

    with pytest.raises(sw.DivergenceError, match="not finite, first in row 0 at step 3"):
        sw.fit(model(), Gaps(waves(101, 1), lanes=1, chunk=20))


def test_the_last_good_checkpoint_stays(tmp_path):
    path = tmp_path / "run.safetensors"
    with pytest.raises(sw.DivergenceError, match=f"is in {path}, after 1 epoch\\."):
        sw.fit(model(), streams(), epochs=3, loss=Spoilt(7, math.nan), checkpoint=path)
    net, other = model(seed=1), model()
    resumed = sw.fit(net, streams(), epochs=2, loss=Spoilt(None, 1), checkpoint=path, resume=True)
    whole = sw.fit(other, streams(), epochs=2, loss=Spoilt(None, 1))
    assert resumed.loss == whole.loss
    assert same(weights(net), weights(other))


def test_a_lower_learning_rate_takes_over_from_the_last_good_checkpoint(tmp_path):
    path = tmp_path / "run.safetensors"
    with pytest.raises(sw.DivergenceError):
        sw.fit(model(), streams(), epochs=3, loss=Spoilt(7, math.nan), checkpoint=path)
    history = sw.fit(
        model(),
        streams(),
        epochs=3,
        loss=Spoilt(None, 1),
        checkpoint=path,
        resume=True,
        learning_rate=1e-4,
    )
    assert history.learning_rate == [1e-3, 1e-4, 1e-4]


def test_weights_that_are_not_finite_are_not_written_over_good_ones(tmp_path):
    path = tmp_path / "run.safetensors"
    one = sw.Streams(waves(21, 1), lanes=1, chunk=20)
    sw.fit(model(), one, epochs=1, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(sw.DivergenceError, match=r"the weight '.*' is not finite"):
        sw.fit(
            model(), one, epochs=1, optimizer="sgd", learning_rate=1e300, clip=None, checkpoint=path
        )
    assert path.read_bytes() == before


def test_a_validation_loss_that_is_not_finite_ends_the_run(tmp_path):
    path = tmp_path / "run.safetensors"
    held_out = sw.Streams(waves(21, 1), lanes=1, chunk=20)
    with pytest.raises(sw.DivergenceError, match="the validation loss is nan after epoch 1"):
        sw.fit(
            model(),
            streams(),
            epochs=3,
            validation=held_out,
            loss=Spoilt(5 + 1 + 5, math.nan),
            checkpoint=path,
        )
    assert path.exists()


def test_a_nan_in_the_data_is_found_by_the_streams():
    series = waves(101, 1)
    series[0][50] = np.nan
    with pytest.raises(sw.InputError, match="sequences holds nan at step 50"):
        sw.fit(model(), sw.Streams(series, lanes=1, chunk=20), epochs=1)
    assert torch.is_grad_enabled()
