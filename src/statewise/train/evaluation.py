"""The loss of a model on streams, from the initial state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from statewise.nn import Model
from statewise.train.losses import Loss, average_over_steps, find_loss
from statewise.train.setup import check_model, check_streams
from statewise.train.streams import Streams


def evaluate(model: Model, streams: Streams, *, loss: str | Loss = "mse") -> float:
    """Compute the mean loss over one pass of streams, from the initial state.

    The model runs in evaluation mode (no dropout) and is afterwards in the mode it was in. Neither
    its weights nor torch's random state change.

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
    return compute_mean_loss(model, streams, by_element)


def compute_mean_loss(
    model: Model, streams: Streams, loss: Loss, on_chunk: Callable[[], None] | None = None
) -> float:
    """Do as `evaluate` does, without its checks; `on_chunk` is called after each chunk."""
    total = weight = 0.0
    state = None
    with _evaluation_mode(model):
        for batch in streams:
            counted = float(batch.weights.sum())
            batch = batch.to(model.device)
            y, state = model(batch.inputs, state, reset=batch.reset, lengths=batch.lengths)
            if counted:
                mean = average_over_steps(loss, y, batch.targets, batch.weights, counted)
                total += float(mean) * counted
            weight += counted
            if on_chunk is not None:
                on_chunk()
    return total / weight


@contextmanager
def _evaluation_mode(model: Model) -> Iterator[None]:
    training = model.training
    device = model.device
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            model.eval()
            yield
    finally:
        model.train(training)
