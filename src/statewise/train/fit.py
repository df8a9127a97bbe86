"""`fit`: truncated backpropagation through time over streams."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from statewise.errors import TrainingError
from statewise.nn import Model
from statewise.train.batches import Batch
from statewise.train.divergence import check_weights, explain_loss, explain_validation_loss
from statewise.train.evaluation import compute_mean_loss
from statewise.train.history import History
from statewise.train.interrupts import Interrupts, Requested
from statewise.train.losses import Loss, average_over_steps, find_loss
from statewise.train.progress import Bar
from statewise.train.run import Run, Sums, describe_setup
from statewise.train.setup import (
    MakesOptimizer,
    Schedule,
    check_model,
    check_streams,
    is_given_rate,
    make_optimizer,
    make_schedule,
)
from statewise.train.streams import Streams
from statewise.validation import check_whole_number, is_number


def fit(
    model: Model,
    streams: Streams,
    *,
    epochs: int = 10,
    minutes: float | None = None,
    loss: str | Loss = "mse",
    optimizer: str | type[Optimizer] | MakesOptimizer | Optimizer = "adam",
    learning_rate: float = 1e-3,
    schedule: Callable[[Optimizer], Schedule] | Schedule | None = None,
    clip: float | None = 1.0,
    validation: Streams | None = None,
    patience: int | None = None,
    min_delta: float = 0.0,
    checkpoint: str | Path | None = None,
    every: int | None = None,
    resume: bool = False,
    progress: bool | None = None,
    on_epoch: Callable[[History], object] | None = None,
) -> History:
    """Train a model by truncated backpropagation through time.

    The state of each lane goes from chunk to chunk, detached from the gradient, and is reset where
    the streams say. The model trains in training mode, and is afterwards in the mode it was in.

    Arguments:
        model: what to train; batches are moved to its device.
        streams: on what.
        epochs: how many passes over the streams, at most.
        minutes: stop at the first chunk after this much training time, the time before a resume
            included; the epoch under way ends there and is counted. None sets no limit.
        loss: ``"mse"``, ``"mae"``, ``"huber"``, ``"cross_entropy"``, `Quantile`, or a function of
            predictions (B, T, O) and targets (B, T, ...) that returns the loss of each step,
            (B, T) or with further axes, which are averaged.
        optimizer: ``"adam"``, ``"adamw"``, ``"sgd"``, ``"rmsprop"``, a class of torch's, a function
            of the weights that makes one, or an optimiser made with the model's weights.
        learning_rate: of an optimiser given by name or class; any other has its own.
        schedule: a function of the optimiser that makes a learning rate scheduler of torch, or
            one made for the optimiser given; it steps once an epoch. `ReduceLROnPlateau` sees the
            validation loss, or the training loss without validation.
        clip: gradients with a larger norm are scaled down to it; None leaves them.
        validation: streams on which the loss is measured after each epoch, by `evaluate`: with a
            state of their own, outside training mode.
        patience: stop after this many epochs in which the validation loss (without validation,
            the training loss) did not fall, and end with the weights of the best epoch.
        min_delta: by how much the loss must fall to count for `patience`.
        checkpoint: a file that holds the run: weights, optimiser, schedule, torch's random state,
            place, history and carried state. Written after every epoch and on Ctrl-C.
        every: write it after this many chunks too.
        resume: go on from the file where it exists, bit for bit as if never interrupted. Without a
            schedule, another `learning_rate` is used from there on.
        progress: show a progress bar on standard error; None shows it on a terminal, and in the
            commands everywhere.
        on_epoch: called with the history after every epoch.

    Returns:
        the history, with the state of the lanes after the last chunk.

    Raises:
        TrainingError: an option that cannot be used, or a checkpoint of another setup.
        InputError: streams that do not fit the model or the loss, or hold values that are not
            finite.
        DivergenceError: a loss or gradient that is not finite; the step is not taken and the last
            checkpoint stays.
        KeyboardInterrupt: Ctrl-C, after the chunk at hand and the checkpoint; a second Ctrl-C
            interrupts at once.

    Example::

        history = sw.fit(model, sw.Streams(series), epochs=20, validation=sw.Streams(held_out),
                         patience=3, checkpoint="run.safetensors", resume=True)
    """
    check_model(model)
    by_element = find_loss(loss)
    check_streams(model, streams, loss, "streams")
    if validation is not None:
        check_streams(model, validation, loss, "validation")
    options = _Options(
        epochs,
        minutes,
        by_element,
        clip,
        validation,
        patience,
        min_delta,
        None if checkpoint is None else Path(checkpoint),
        every,
        on_epoch,
    )
    options.check(resume)
    made = make_optimizer(optimizer, model, learning_rate)
    scheduler = make_schedule(schedule, made)
    setup = describe_setup(model, streams, validation, loss, made, scheduler)
    rate = float(learning_rate) if is_given_rate(optimizer) else None
    run = Run(model, made, scheduler, setup, rate)
    run.history.validation = None if validation is None else []
    if resume and options.checkpoint is not None and options.checkpoint.exists():
        run.load(options.checkpoint)
    mode = model.training
    try:
        model.train()
        with Interrupts() as interrupts, Bar(progress, epochs, len(streams)) as bar:
            return _Trainer(run, streams, options, interrupts, bar).train()
    finally:
        model.train(mode)


@dataclass(frozen=True)
class _Options:
    """The options of `fit` that its loop needs."""

    epochs: int
    minutes: float | None
    loss: Loss
    clip: float | None
    validation: Streams | None
    patience: int | None
    min_delta: float
    checkpoint: Path | None
    every: int | None
    on_epoch: Callable[[History], object] | None

    def check(self, resume: bool) -> None:
        check_whole_number("epochs", self.epochs, 1, TrainingError)
        for name in ("patience", "every"):
            if getattr(self, name) is not None:
                check_whole_number(name, getattr(self, name), 1, TrainingError)
        if self.minutes is not None and not (is_number(self.minutes) and self.minutes > 0):
            raise TrainingError(f"minutes must be a number above 0, or None, got {self.minutes!r}")
        if self.clip is not None and not (is_number(self.clip) and self.clip > 0):
            raise TrainingError(f"clip must be a number above 0, or None, got {self.clip!r}")
        if not (is_number(self.min_delta) and 0 <= self.min_delta < math.inf):
            raise TrainingError(f"min_delta must be a number of at least 0, got {self.min_delta!r}")
        if self.checkpoint is None and (self.every is not None or resume):
            name = "resume" if resume else "every"
            raise TrainingError(f"{name}= needs a file: pass checkpoint='run.safetensors'")
        if self.checkpoint is not None and not self.checkpoint.absolute().parent.is_dir():
            raise TrainingError(
                f"checkpoint={str(self.checkpoint)!r} cannot be written: there is no folder "
                f"{self.checkpoint.parent}; make it first"
            )


class _Trainer:
    """The loop of `fit`."""

    def __init__(
        self, run: Run, streams: Streams, options: _Options, interrupts: Interrupts, bar: Bar
    ) -> None:
        self.run, self.streams, self.options = run, streams, options
        self.interrupts, self.bar = interrupts, bar
        self.device = run.model.device
        self.all_weights = list(run.model.parameters())
        self.weights: list[Tensor] = [
            weight for group in run.optimizer.param_groups for weight in group["params"]
        ]

    def train(self) -> History:
        run, history = self.run, self.run.history
        try:
            while self._find_reason() is None:
                self._train_epoch()
                self.interrupts.check()
        except Requested:
            self._save()
            raise KeyboardInterrupt(self._describe_stop()) from None
        history.stopped = self._find_reason()
        history.state = run.state
        if self.options.patience is not None:
            run.model.load_weights(run.best)
        return history

    def _train_epoch(self) -> None:
        """Train until the next epoch begins."""
        run = self.run
        if run.chunk == 0 and not self.streams.is_continued(run.epoch):
            run.state = None
        before = time.perf_counter() - run.sums.seconds
        for batch in self.streams.batches(run.epoch, run.chunk):
            self._train_chunk(batch)
            run.chunk += 1
            run.sums.seconds = time.perf_counter() - before
            self.bar.show_chunk(run.epoch, run.chunk, run.sums)
            self.interrupts.check()
            every = self.options.every
            if every is not None and (run.epoch * len(self.streams) + run.chunk) % every == 0:
                self._save()
            if self._is_out_of_time():
                break
        validation = self._validate()
        run.sums.seconds = time.perf_counter() - before
        self._close_epoch(validation)

    def _train_chunk(self, batch: Batch) -> None:
        """Forward, backward, clip, step; the state that comes out is detached."""
        run, sums = self.run, self.run.sums
        counted, mask = float(batch.weights.sum()), batch.reset.numpy()
        reset = (
            mask if mask.any() else None
        )  # a call without a mask is faster than with an empty one
        sent = batch if self.device.type == "cpu" else batch.to(self.device)
        y, state = run.model(sent.inputs, run.state, reset=reset, lengths=sent.lengths)
        if counted:
            loss = average_over_steps(self.options.loss, y, sent.targets, sent.weights, counted)
            norm = self._compute_gradients(loss)
            value, size = float(loss.detach()), float(norm)
            if not (math.isfinite(value) and math.isfinite(size)):
                raise explain_loss(
                    run, batch, value, size, self.options.clip, self.options.checkpoint
                )
            clip = self.options.clip
            if clip is not None and size > clip:
                for weight in self.weights:
                    if weight.grad is not None:
                        weight.grad.mul_(clip / (size + 1e-6))
            run.optimizer.step()
            sums.loss += value * counted
            sums.weight += counted
            sums.norm += size
            sums.updates += 1
        run.state = state.detach()

    def _compute_gradients(self, loss: Tensor) -> Tensor:
        """Compute the gradients of a loss and return their norm."""
        for weight in self.all_weights:
            weight.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        return norm

    def _validate(self) -> float | None:
        streams = self.options.validation
        if streams is None:
            return None
        value = compute_mean_loss(self.run.model, streams, self.options.loss, self.interrupts.check)
        if not math.isfinite(value):
            raise explain_validation_loss(self.run, value, self.options.checkpoint)
        return value

    def _close_epoch(self, validation: float | None) -> None:
        """Enter the epoch in the history, step the schedule, and move on to the next epoch."""
        run, history, sums = self.run, self.run.history, self.run.sums
        history.epoch.append(run.epoch)
        history.loss.append(sums.mean_loss)
        if history.validation is not None and validation is not None:
            history.validation.append(validation)
        history.learning_rate.append(float(run.optimizer.param_groups[0]["lr"]))
        history.gradient_norm.append(sums.norm / max(sums.updates, 1))
        history.seconds.append(sums.seconds)
        history.steps.append(sums.weight)
        history.state = run.state
        if history.best_epoch == run.epoch:
            run.best = {name: own.detach().clone() for name, own in run.model.weights().items()}
        if isinstance(run.schedule, ReduceLROnPlateau):
            run.schedule.step(history.monitored[-1])
        elif run.schedule is not None:
            run.schedule.step()
        self.bar.show_epoch(run.epoch, history.loss[-1], validation)
        run.epoch, run.chunk, run.sums = run.epoch + 1, 0, Sums()
        self._save()
        if self.options.on_epoch is not None:
            self.options.on_epoch(history)

    def _find_reason(self) -> str | None:
        """Why training ends here, None where it goes on."""
        if self._is_out_of_patience():
            return "patience"
        if self._is_out_of_time():
            return "minutes"
        return "epochs" if self.run.epoch >= self.options.epochs else None

    def _is_out_of_patience(self) -> bool:
        patience = self.options.patience
        return patience is not None and self.run.history.waited(self.options.min_delta) >= patience

    def _is_out_of_time(self) -> bool:
        minutes = self.options.minutes
        spent = sum(self.run.history.seconds) + self.run.sums.seconds
        return minutes is not None and spent >= 60 * minutes

    def _save(self) -> None:
        if self.options.checkpoint is not None:
            check_weights(self.run, self.options.checkpoint)
            self.run.save(self.options.checkpoint)

    def _describe_stop(self) -> str:
        run, path = self.run, self.options.checkpoint
        saved = "the run is not saved, as there is no checkpoint="
        if path is not None:
            saved = f"the run is saved in {path}; go on with resume=True"
        return f"stopped before epoch {run.epoch}, chunk {run.chunk} (counted from 0); {saved}"
