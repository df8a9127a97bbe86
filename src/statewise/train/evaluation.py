"""The loss of a model on streams, with a state of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from statewise.nn import Model
from statewise.train.losses import Loss, find_loss, mean_over_steps
from statewise.train.setup import check_model, check_streams, device_of
from statewise.train.streams import Streams


def evaluate(model: Model, streams: Streams, *, loss: str | Loss = "mse") -> float:
    """The mean loss over one pass of streams, from the initial state.

    The model evaluates (no dropout) and is then again in the mode it was in; neither its weights
    nor torch's random state are touched.

    Arguments:
        model: what to evaluate.
        streams: on what; their epoch 0.
        loss: as for `fit`.

    Raises:
        TrainingError: a model, streams or loss that cannot be used.
        InputError: streams that do not fit the model.

    Example::

        sw.train.evaluate(model, sw.Streams(held_out), loss="mae")
    """
    check_model(model)
    by_element = find_loss(loss)
    check_streams(model, streams, loss, "streams")
    return mean_loss(model, streams, by_element)


def mean_loss(
    model: Model, streams: Streams, loss: Loss, between: Callable[[], None] | None = None
) -> float:
    """`evaluate` without its checks; `between` is called after each chunk."""
    total = weight = 0.0
    state = None
    with _evaluating(model):
        device = device_of(model)
        for batch in streams:
            counted = float(batch.weights.sum())
            batch = batch.to(device)
            y, state = model(batch.inputs, state, reset=batch.reset, lengths=batch.lengths)
            if counted:
                mean = mean_over_steps(loss, y, batch.targets, batch.weights, counted)
                total += float(mean) * counted
            weight += counted
            if between is not None:
                between()
    return total / weight


@contextmanager
def _evaluating(model: Model) -> Iterator[None]:
    training = model.training
    device = device_of(model)
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            model.eval()
            yield
    finally:
        model.train(training)
