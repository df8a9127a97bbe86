"""Facts 12 and 14: where gradients stop, what state goes on, and what leaves it alone."""

import numpy as np
import pytest
import torch

import statewise as sw

from .runs import model, same, waves, weights

STEPS = 24


def loss_of(y, batch):
    return ((y - batch.targets) ** 2 * batch.weights[..., None]).sum()


def gradients(net, streams, detach):
    """The gradients of one epoch summed up, and its loss."""
    net.zero_grad()
    state, total = None, 0.0
    losses = []
    for batch in streams:
        y, state = net(batch.inputs, state, reset=batch.reset, lengths=batch.lengths)
        losses.append(loss_of(y, batch))
        if detach:
            losses[-1].backward()
            state = state.detach()
        total += losses[-1].item()
    if not detach:
        sum(losses).backward()
    return {name: own.grad.clone() for name, own in net.weights().items()}, total


@pytest.mark.parametrize(
    "layer", [sw.LSTM(4), sw.GRU(4), sw.Elman(4)], ids=["lstm", "gru", "elman"]
)
@pytest.mark.parametrize("executor", ["auto", "reference"])
def test_gradients_stop_at_the_boundary_and_the_loss_does_not_change(layer, executor):
    net = model(layer, dtype=torch.float64, executor=executor)
    series = waves(STEPS + 1, 2)

    def streams(chunk):
        return sw.Streams(series, lanes=2, chunk=chunk, dtype=torch.float64)

    whole, loss = gradients(net, streams(STEPS), detach=True)
    for chunk in (STEPS, STEPS + 5):
        full, same_loss = gradients(net, streams(chunk), detach=False)
        assert same_loss == pytest.approx(loss, rel=1e-12)
        for name in full:
            torch.testing.assert_close(whole[name], full[name], rtol=1e-10, atol=1e-12)
    cut, cut_loss = gradients(net, streams(7), detach=True)
    joined, joined_loss = gradients(net, streams(7), detach=False)
    assert cut_loss == pytest.approx(loss, rel=1e-12)
    assert joined_loss == pytest.approx(loss, rel=1e-12)
    for name in whole:
        torch.testing.assert_close(joined[name], whole[name], rtol=1e-10, atol=1e-12)
    assert not torch.allclose(cut["0.R"], whole["0.R"], rtol=1e-3)


def test_fit_takes_the_gradient_of_full_backpropagation_where_the_chunk_reaches():
    """One step of SGD at rate 1 is minus the gradient."""
    series = waves(STEPS + 1, 1)
    for chunk, reaches in ((STEPS, True), (STEPS // 2, False)):
        net = model(dtype=torch.float64)
        before = weights(net)
        y, _ = net(torch.tensor(series[0][None, :-1]))
        torch.nn.functional.mse_loss(y, torch.tensor(series[0][None, 1:])).backward()
        full = {name: own.grad.clone() for name, own in net.weights().items()}
        streams = sw.Streams(series, lanes=1, chunk=chunk, dtype=torch.float64)
        sw.fit(net, streams, epochs=1, optimizer="sgd", learning_rate=1.0, clip=None)
        moved = {name: before[name] - own.detach() for name, own in net.weights().items()}
        close = all(torch.allclose(moved[name], full[name], rtol=1e-9) for name in full)
        assert close == reaches


def test_fit_is_the_loop_written_by_hand():
    streams = sw.Streams(waves(150, 5), lanes=3, chunk=20, burn_in=3)
    by_hand, net = model(), model()
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=0.01, fused=True)
    losses = []
    for epoch in range(3):
        state, total, count = None, 0.0, 0.0
        for batch in streams.epoch(epoch):
            y, state = by_hand(batch.inputs, state, reset=batch.reset, lengths=batch.lengths)
            loss = loss_of(y, batch) / batch.weights.sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(by_hand.parameters(), 0.1)
            optimizer.step()
            state = state.detach()
            total += loss.item() * float(batch.weights.sum())
            count += float(batch.weights.sum())
        losses.append(total / count)
    history = sw.fit(net, streams, epochs=3, learning_rate=0.01, clip=0.1)
    assert history.loss == pytest.approx(losses, rel=1e-5)
    assert history.state.allclose(state, rtol=1e-4, atol=1e-6)
    for name, own in net.weights().items():
        torch.testing.assert_close(own, by_hand.weights()[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("carry", ["stream", "never", "epoch"])
def test_state_is_carried_as_far_as_the_streams_say(carry):
    """With weights that do not change, the final state of training is that of reading the data."""
    series = waves(31, 4)
    streams = sw.Streams(series, lanes=2, chunk=8, carry=carry)
    net = model()
    history = sw.fit(net, streams, epochs=3, optimizer="sgd", learning_rate=1e-30, clip=None)
    longest = {"stream": 30, "never": 60 % 8, "epoch": 60}[carry]
    assert history.state.position.tolist() == [longest] * 2
    lane = np.concatenate([series[0][:-1], series[2][:-1]])[-longest:]
    _, read = net(torch.tensor(lane[None], dtype=torch.float32))
    assert history.state.rows(0).allclose(read, rtol=1e-4, atol=1e-5)
    assert all(not array.requires_grad for array in history.state.values())


# Evaluating leaves training alone


def test_validation_does_not_touch_the_run():
    """A run with validation is, bit for bit, the run without it, noise and all, even where the
    loss itself draws.
    """

    def drawing(prediction, target):
        return (prediction - target) ** 2 + torch.rand(())

    streams = sw.Streams(waves(90, 3), lanes=2, chunk=20)
    held_out = sw.Streams(waves(60, 3, seed=1), lanes=3, chunk=7)
    ends = []
    for validation in (None, held_out):
        torch.manual_seed(5)
        net = model(sw.LSTM(4), sw.Dropout(0.3), sw.Zoneout(sw.GRU(3), 0.2))
        history = sw.fit(net, streams, epochs=2, validation=validation, loss=drawing)
        ends.append((history.loss, weights(net), history.state, torch.get_rng_state()))
    (loss, own, state, rng), (other_loss, other, other_state, other_rng) = ends
    assert loss == other_loss
    assert same(own, other)
    assert state == other_state
    assert torch.equal(rng, other_rng)


def test_validation_is_evaluate_on_the_weights_after_the_epoch():
    held_out = sw.Streams(waves(60, 3, seed=1), lanes=3, chunk=7, burn_in=4)
    net = model(sw.LSTM(4), sw.Dropout(0.5))
    seen = []
    history = sw.fit(
        net,
        sw.Streams(waves(90, 3), lanes=2, chunk=20),
        epochs=3,
        validation=held_out,
        on_epoch=lambda _: seen.append(sw.train.evaluate(net, held_out)),
    )
    assert history.validation == seen


def test_evaluate_weighs_every_step_once_from_a_state_of_its_own():
    series = waves(50, 2)
    net = model(sw.LSTM(4), sw.Dropout(0.5))
    state_of_rng = torch.get_rng_state()
    value = sw.train.evaluate(net, sw.Streams(series, lanes=2, chunk=9), loss="mae")
    assert value == sw.train.evaluate(net, sw.Streams(series, lanes=2, chunk=9), loss="mae")
    assert torch.equal(torch.get_rng_state(), state_of_rng)
    assert net.training
    net.eval()
    x = torch.tensor(np.stack(series), dtype=torch.float32)
    with torch.no_grad():
        y, _ = net(x[:, :-1])
    assert value == pytest.approx(float((y - x[:, 1:]).abs().mean()), rel=1e-5)
    sw.train.evaluate(net, sw.Streams(series))
    assert not net.training


def test_each_epoch_starts_from_the_initial_state():
    """A model with a learned initial state, so that the start can be told from zeros."""
    net = model(sw.GRU(4, learned_state=True), dtype=torch.float64)
    with torch.no_grad():
        net.weights()["0.h0"].fill_(0.7)
    first = []

    def forward(module, args, kwargs, output):
        state, reset = args[1], kwargs["reset"]
        if reset is not None and reset[:, 0].all():
            alone, _ = module.step(args[0][:, 0])
            begun = torch.allclose(alone, output[0][:, 0], rtol=1e-12, atol=0)
            first.append(begun and state is None)

    handle = net.register_forward_hook(forward, with_kwargs=True)
    streams = sw.Streams(waves(61, 2), lanes=2, chunk=20, dtype=torch.float64)
    sw.fit(net, streams, epochs=3, validation=streams)
    handle.remove()
    assert first == [True] * 6
