"""Losses: those of torch, step by step, and over the steps that count."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import statewise as sw
from statewise.train.losses import average_over_steps, find_loss

from .runs import model, waves

NAMED = {
    "mse": functional.mse_loss,
    "mae": functional.l1_loss,
    "huber": functional.huber_loss,
}


@pytest.mark.parametrize("name", NAMED)
def test_a_named_loss_is_torchs(name):
    prediction, target = torch.randn(3, 5, 2), 2 * torch.randn(3, 5, 2)
    loss, expected = find_loss(name), NAMED[name](prediction, target)
    assert loss(prediction, target).shape == (3, 5, 2)
    for given in (loss, loss.__call__, lambda p, t: loss(p, t).mean(-1)):
        mean = average_over_steps(given, prediction, target, torch.ones(3, 5), 15.0)
        torch.testing.assert_close(mean, expected)


def test_cross_entropy_is_torchs():
    prediction, target = torch.randn(3, 5, 7), torch.randint(7, (3, 5))
    values = find_loss("cross_entropy")(prediction, target)
    expected = functional.cross_entropy(prediction.transpose(1, 2), target, reduction="none")
    torch.testing.assert_close(values, expected)


@pytest.mark.parametrize("label", [-1, 7])
def test_cross_entropy_names_a_class_the_model_does_not_have(label):
    with pytest.raises(sw.InputError, match=r"\[0, 7\)"):
        find_loss("cross_entropy")(torch.randn(1, 2, 7), torch.tensor([[0, label]]))


def test_steps_without_weight_do_not_count_whatever_they_hold():
    values = torch.randn(2, 4, 3)
    weights = torch.tensor([[1.0, 1, 0, 0], [0, 1, 1, 1]])
    expected = values[weights > 0].mean()
    values[0, 3] = torch.inf
    values[1, 0] = torch.nan
    for loss in (lambda _, target: target, lambda _, target: target.mean(-1)):
        mean = average_over_steps(loss, torch.zeros(2, 4, 3), values, weights, 5.0)
        torch.testing.assert_close(mean, expected)


def test_quantiles_are_least_where_the_share_below_is_the_level():
    target = torch.linspace(0, 1, 1001).reshape(1, -1, 1)
    for level in (0.1, 0.5, 0.9):
        loss = sw.train.Quantile((level,))
        means = {
            guess: float(loss(torch.full_like(target, guess), target).mean())
            for guess in (level - 0.05, level, level + 0.05)
        }
        assert min(means, key=means.get) == level


def test_a_quantile_loss_has_its_levels_side_by_side_for_each_feature():
    loss = sw.train.Quantile([0.2, 0.8])
    prediction, target = torch.randn(2, 3, 4), torch.randn(2, 3, 2)
    values = loss(prediction, target)
    assert values.shape == (2, 3, 2, 2)
    error = target[..., 1] - prediction[..., 2]
    expected = torch.maximum(0.2 * error, -0.8 * error)
    torch.testing.assert_close(values[..., 1, 0], expected)


@pytest.mark.parametrize("levels", [(), (0.0,), (0.5, 1.0)])
def test_levels_outside_their_range_are_named(levels):
    with pytest.raises(sw.TrainingError, match="between 0 and 1"):
        sw.train.Quantile(levels)


def test_quantiles_train():
    net = model(outputs=3)
    streams = sw.Streams(waves(200, 2), lanes=2, chunk=20)
    history = sw.fit(
        net, streams, epochs=6, learning_rate=0.02, loss=sw.train.Quantile((0.1, 0.5, 0.9))
    )
    assert history.loss[-1] < 0.7 * history.loss[0]


def test_a_function_of_ones_own_is_weighed_too():
    streams = sw.Streams(waves(40, 3), lanes=3, chunk=16, burn_in=5)
    ends = []
    for loss in ("mse", lambda p, t: (p - t) ** 2, lambda p, t: ((p - t) ** 2).mean(-1)):
        net = model()
        ends.append(sw.fit(net, streams, epochs=2, loss=loss).loss)
    assert ends[0] == pytest.approx(ends[1], rel=1e-6)
    assert ends[0] == pytest.approx(ends[2], rel=1e-6)


@pytest.mark.parametrize("loss", [functional.mse_loss, lambda p, t: (p - t).mean(1)])
def test_a_loss_that_is_not_step_by_step_is_refused(loss):
    with pytest.raises(sw.TrainingError, match="reduction='none'"):
        sw.fit(model(), sw.Streams(waves(40)), loss=loss)


@pytest.mark.parametrize("loss", ["rmse", None, 3])
def test_an_unknown_loss_is_refused_with_the_choices(loss):
    with pytest.raises(sw.TrainingError, match="mse, mae, huber, cross_entropy"):
        sw.fit(model(), sw.Streams(waves(40)), loss=loss)


@pytest.mark.parametrize(
    ("outputs", "loss", "targets", "message"),
    [
        (2, "mse", None, r"each of the model's 2 outputs.*numbers of shape \(1,\)"),
        (1, "mae", np.arange(40), "loss='cross_entropy'"),
        (1, "cross_entropy", None, "integer targets"),
        (1, sw.train.Quantile((0.1, 0.9)), None, "2 outputs for each feature"),
        (3, sw.train.Quantile((0.5,)), np.arange(40), "each feature"),
    ],
)
def test_widths_that_do_not_fit_are_named_before_training(outputs, loss, targets, message):
    streams = sw.Streams(waves(40, 1), targets=None if targets is None else [targets])
    net = model(outputs=outputs)
    with pytest.raises(sw.InputError, match=message):
        sw.fit(net, streams, loss=loss)
    with pytest.raises(sw.InputError, match=message):
        sw.train.evaluate(net, streams, loss=loss)
