"""fit: what may be given, when it stops, what it says, and that models learn."""

import functools
import json

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

import statewise as sw

from .runs import model, same, waves, weights


@pytest.fixture
def streams():
    return sw.Streams(waves(120, 3), lanes=3, chunk=20)


# Learning


@pytest.mark.filterwarnings("ignore::statewise.SequenceCutWarning")
def test_a_wave_is_learned_far_below_the_last_value():
    series, held_out = waves(400, 2), waves(200, 2, seed=1)
    net = model(sw.LSTM(12))
    history = sw.fit(
        net,
        sw.Streams(series, lanes=4, chunk=25),
        epochs=25,
        learning_rate=0.02,
        validation=sw.Streams(held_out, lanes=2),
    )
    persistence = np.mean([np.mean(np.diff(own, axis=0) ** 2) for own in held_out])
    assert history.validation[-1] < 0.35 * persistence


def test_a_token_seen_before_is_learned_across_chunks():
    """Each sequence repeats one of four tokens after another between: only memory tells which."""
    rng = np.random.default_rng(0)
    sequences = []
    for _ in range(48):
        own = rng.integers(0, 4)
        sequences.append(np.array([own, *[own if t % 2 else 4 for t in range(15)]]))
    arch = sw.Architecture(sw.Tokens(5, width=8), [sw.GRU(16)], sw.Linear(5))
    net = sw.nn.Model(arch)
    streams = sw.Streams(sequences, lanes=8, chunk=4, shuffle=True)
    history = sw.fit(net, streams, epochs=10, loss="cross_entropy", learning_rate=0.03)
    assert history.loss[0] > 0.3
    assert history.loss[-1] < 0.05


# What may be given


@pytest.mark.parametrize(
    "optimizer",
    [
        "adam",
        "adamw",
        "sgd",
        "rmsprop",
        torch.optim.Adagrad,
        torch.optim.NAdam,
        functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9),
        lambda weights: torch.optim.Adam([{"params": list(weights), "lr": 0.01}], weight_decay=0.1),
    ],
)
def test_any_optimiser_trains(streams, optimizer):
    history = sw.fit(model(), streams, epochs=4, learning_rate=0.02, optimizer=optimizer)
    assert history.loss[-1] < history.loss[0]


def test_an_optimiser_made_for_some_of_the_weights_trains_those(streams):
    net = model()
    before = weights(net)
    own = torch.optim.SGD([net.weights()["outputs.W"]], lr=0.1)
    sw.fit(net, streams, epochs=1, optimizer=own)
    after = weights(net)
    assert [name for name in after if not torch.equal(before[name], after[name])] == ["outputs.W"]


def test_frozen_weights_stay(streams):
    net = model()
    net.weights()["0.R"].requires_grad_(False)
    before = weights(net)
    sw.fit(net, streams, epochs=1)
    after = weights(net)
    assert torch.equal(before["0.R"], after["0.R"])
    assert not torch.equal(before["0.W"], after["0.W"])


def test_schedules_step_once_an_epoch(streams):
    def halved(optimizer):
        return lr_scheduler.StepLR(optimizer, 1, gamma=0.5)

    history = sw.fit(model(), streams, epochs=3, learning_rate=0.4, schedule=halved)
    assert history.learning_rate == [0.4, 0.2, 0.1]
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.4)
    given = sw.fit(net, streams, epochs=3, optimizer=optimizer, schedule=halved(optimizer))
    assert given.learning_rate == [0.4, 0.2, 0.1]


@pytest.mark.parametrize("held_out", [True, False])
def test_a_plateau_is_seen_in_the_monitored_loss(streams, held_out):
    seen = []

    class Plateau(lr_scheduler.ReduceLROnPlateau):
        def step(self, metrics, epoch=None):
            seen.append(metrics)
            super().step(metrics)

    history = sw.fit(
        model(), streams, epochs=3, schedule=Plateau, validation=streams if held_out else None
    )
    assert seen == (history.validation if held_out else history.loss)


def test_clipping_bounds_the_step(streams):
    net = model()
    before = weights(net)
    one = sw.Streams(waves(21, 1), lanes=1, chunk=20)
    history = sw.fit(net, one, epochs=1, optimizer="sgd", learning_rate=1.0, clip=1e-3)
    moved = sum(float(((own - before[name]) ** 2).sum()) for name, own in weights(net).items())
    assert moved**0.5 == pytest.approx(1e-3, rel=1e-3)
    assert history.gradient_norm[0] > 1e-3


def test_models_of_another_dtype_train_on_streams_of_it():
    net = model(dtype=torch.float64)
    streams = sw.Streams(waves(60), dtype=torch.float64)
    assert sw.fit(net, streams, epochs=2).loss[1] < 1
    assert net.weights()["0.W"].dtype == torch.float64
    half = model(dtype=torch.bfloat16)
    assert sw.fit(half, sw.Streams(waves(60), dtype=torch.bfloat16), epochs=1).loss


def test_a_layer_that_reads_both_ways_trains_without_a_carry():
    arch = sw.Architecture(sw.Vector(1), [sw.Bidirectional(sw.LSTM(3))], sw.Linear(1))
    series = waves(50)
    history = sw.fit(sw.nn.Model(arch), sw.Streams(series, chunk=10, carry="never"), epochs=2)
    assert history.loss[1] < history.loss[0]
    with pytest.raises(sw.TrainingError, match="carry='never'"):
        sw.fit(sw.nn.Model(arch), sw.Streams(series))


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_in_the_mode_it_was_in(streams, training):
    net = model(sw.LSTM(4), sw.Dropout(0.5)).train(training)
    modes = []
    sw.fit(
        net, streams, epochs=1, validation=streams, on_epoch=lambda _: modes.append(net.training)
    )
    assert modes == [True]
    assert net.training == training
    with pytest.raises(sw.TrainingError):
        sw.fit(net, streams, loss=lambda p, t: (p - t).sum())
    assert net.training == training


# When it stops


def test_patience_stops_and_leaves_the_best_weights(streams):
    held_out = sw.Streams(waves(60, seed=1))
    net, kept = model(), []
    history = sw.fit(
        net,
        streams,
        epochs=60,
        optimizer="sgd",
        learning_rate=2.0,
        clip=None,
        validation=held_out,
        patience=3,
        on_epoch=lambda _: kept.append(weights(net)),
    )
    assert history.stopped == "patience"
    assert len(history.epoch) == history.best_epoch + 4 == len(kept)
    assert history.validation[history.best_epoch] == min(history.validation)
    assert same(weights(net), kept[history.best_epoch])
    assert sw.train.evaluate(net, held_out) == min(history.validation)


def test_patience_leaves_the_best_weights_where_the_epochs_run_out_first(streams):
    net = model()
    history = sw.fit(net, streams, epochs=8, learning_rate=0.5, validation=streams, patience=8)
    assert history.stopped == "epochs"
    assert sw.train.evaluate(net, streams) == min(history.validation)


def test_without_patience_the_last_weights_stay(streams):
    net = model()
    history = sw.fit(net, streams, epochs=5, learning_rate=0.5, validation=streams)
    assert sw.train.evaluate(net, streams) == history.validation[-1]


def test_without_validation_the_training_loss_is_watched(streams):
    history = sw.fit(model(), streams, epochs=40, patience=2, min_delta=0.05)
    assert history.stopped == "patience"
    assert history.validation is None
    assert history.waited(0.05) == 2


# What it says


def test_the_history_tells_each_epoch(streams):
    seen = []
    history = sw.fit(
        model(),
        streams,
        epochs=3,
        validation=streams,
        on_epoch=lambda history: seen.append((history, len(history.loss), history.stopped)),
    )
    assert seen == [(history, 1, None), (history, 2, None), (history, 3, None)]
    assert history.epoch == [0, 1, 2]
    assert history.stopped == "epochs"
    for series in (history.loss, history.validation, history.gradient_norm, history.seconds):
        assert len(series) == 3
        assert all(value > 0 for value in series)
    assert history.learning_rate == [1e-3] * 3
    assert history.state.batch == streams.lanes
    assert history.best_epoch == history.validation.index(min(history.validation))
    written = json.loads(history.to_json())
    assert written["loss"] == history.loss
    assert written["stopped"] == "epochs"
    read = sw.train.History.from_json(history.to_json())
    assert read.to_json() == history.to_json()
    assert "3 epochs, stopped by epochs" in repr(history)
    assert f"best epoch {history.best_epoch}" in repr(history)


def test_waiting_counts_from_the_last_fall_that_counts():
    history = sw.train.History(epoch=[0, 1, 2, 3], loss=[1.0, 0.5, 0.45, 0.46])
    assert history.waited() == 1
    assert history.waited(min_delta=0.1) == 2
    assert history.best_epoch == 2
    assert sw.train.History().best_epoch is None
    assert sw.train.History().waited() == 0
    assert repr(sw.train.History()) == "History(no epoch yet)"


def test_the_state_of_the_lanes_goes_on(streams):
    net = model()
    history = sw.fit(net, sw.Streams(waves(60, 1), lanes=1), epochs=1)
    _, after = net(torch.zeros(1, 3, 1), history.state)
    assert after.position.tolist() == [62]


# What may not be given


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1"),
        ({"patience": 0}, "patience"),
        ({"min_delta": -0.1}, "min_delta"),
        ({"clip": 0}, "clip must be a number above 0, or None"),
        ({"clip": True}, "clip"),
        ({"every": 0, "checkpoint": "x"}, "every"),
        ({"every": 5}, "checkpoint='run.safetensors'"),
        ({"resume": True}, "resume= needs a file"),
        ({"checkpoint": "nowhere/at/all"}, "no folder nowhere/at"),
        ({"learning_rate": 0}, "learning_rate must be a number above 0"),
        ({"optimizer": "adagrad"}, "adam, adamw, sgd, rmsprop"),
        ({"optimizer": 5}, "adam, adamw, sgd, rmsprop"),
        ({"optimizer": list}, "must make a torch.optim.Optimizer"),
        ({"optimizer": torch.optim.SGD([torch.zeros(1)], lr=1)}, "not this model's"),
        ({"schedule": "cosine"}, "CosineAnnealingLR"),
        ({"schedule": lambda optimizer: optimizer}, "that makes one"),
        (
            {"schedule": lr_scheduler.StepLR(torch.optim.SGD([torch.zeros(1)], lr=1), 1)},
            "of another optimiser",
        ),
        ({"validation": [np.zeros((4, 1))]}, "validation must be sw.Streams"),
    ],
)
def test_options_that_cannot_be_used_are_named(streams, options, message):
    with pytest.raises(sw.TrainingError, match=message):
        sw.fit(model(), streams, **options)


def test_a_model_or_streams_of_another_kind_are_named(streams):
    with pytest.raises(sw.TrainingError, match=r"takes a sw.nn.Model, got Linear"):
        sw.fit(torch.nn.Linear(1, 1), streams)
    with pytest.raises(sw.TrainingError, match=r"streams must be sw.Streams, got list"):
        sw.fit(model(), [np.zeros((4, 1))])
    nothing = sw.nn.Model(sw.Architecture(sw.Vector(1), [sw.Difference()]))
    with pytest.raises(sw.TrainingError, match="no weights"):
        sw.fit(nothing, streams)


def test_streams_that_do_not_fit_the_inputs_are_named(streams):
    tokens = sw.Streams(np.arange(9) % 3)
    words = sw.nn.Model(sw.Architecture(sw.Tokens(3, width=2), [sw.LSTM(2)], sw.Linear(3)))
    with pytest.raises(sw.InputError, match=r"numbers \(T, F\), and streams hold tokens"):
        sw.fit(model(), tokens)
    with pytest.raises(sw.InputError, match=r"tokens.*and streams hold 1 features"):
        sw.fit(words, streams, loss="cross_entropy")
    with pytest.raises(sw.InputError, match="1 features, and validation have 2"):
        sw.fit(model(), streams, validation=sw.Streams(np.zeros((9, 2))))
    with pytest.raises(sw.InputError, match=r"dtype=torch.float64"):
        sw.fit(model(dtype=torch.float64), streams)
