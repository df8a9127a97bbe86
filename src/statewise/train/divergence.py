"""Errors for numbers that are no longer finite: where it happened, a likely cause, what to try."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from statewise.errors import DivergenceError
from statewise.train.batches import Batch
from statewise.train.run import Run

_LARGE = 100.0
"""Inputs of this size saturate every gate."""


def explain_loss(
    run: Run, batch: Batch, loss: float, norm: float, clip: float | None, path: Path | None
) -> DivergenceError:
    """Make the error for a chunk whose loss or gradient is not finite."""
    what = f"loss is {loss}" if not math.isfinite(loss) else f"norm of the gradient is {norm}"
    rate = float(run.optimizer.param_groups[0]["lr"])
    clipping = "clip=1.0" if clip is None else f"a clip below {clip:g}"
    return DivergenceError(
        f"the {what} at epoch {run.epoch}, chunk {run.chunk} (counted from 0; "
        f"streams.batches({run.epoch}, {run.chunk}) starts with it). The optimiser's step was not "
        f"taken. {_describe_inputs(batch)} Try a learning_rate below {rate:g}, {clipping}, or data "
        f"at a scale near 1. {_describe_checkpoint(path, run)}"
    )


def explain_validation_loss(run: Run, value: float, path: Path | None) -> DivergenceError:
    """Make the error for a validation loss that is not finite."""
    rate = float(run.optimizer.param_groups[0]["lr"])
    return DivergenceError(
        f"the validation loss is {value} after epoch {run.epoch} (counted from 0), with a training "
        f"loss of {run.sums.mean_loss:.6g}. Try a learning_rate below {rate:g}, or check the "
        f"scale of the validation data. {_describe_checkpoint(path, run)}"
    )


def check_weights(run: Run, path: Path) -> None:
    """Raise rather than write a checkpoint of weights that are not finite over a good one."""
    for name, weight in run.model.weights().items():
        if not torch.isfinite(weight).all():
            rate = float(run.optimizer.param_groups[0]["lr"])
            raise DivergenceError(
                f"the weight {name!r} is not finite before epoch {run.epoch}, chunk "
                f"{run.chunk} (counted from 0). Try a learning_rate below {rate:g}. "
                f"{_describe_checkpoint(path, run)}"
            )


def _describe_inputs(batch: Batch) -> str:
    if not batch.inputs.is_floating_point():
        return "The inputs are tokens."
    bad = ~batch.inputs.isfinite().flatten(2).all(-1)
    if bad.any():
        row, step = bad.nonzero()[0].tolist()
        return (
            f"The inputs of this chunk are not finite, first in row {row} at step {step}: fill "
            "the gap there."
        )
    largest = max(float(batch.inputs.abs().max()), float(batch.targets.abs().max()))
    large = " That is large for a recurrent network." if largest > _LARGE else ""
    return f"Inputs and targets of this chunk are finite, the largest is {largest:.3g}.{large}"


def _describe_checkpoint(path: Path | None, run: Run) -> str:
    if path is None:
        return "Pass checkpoint= to save the last good weights."
    if not path.exists():
        return f"No checkpoint has been written to {path} yet."
    epochs = len(run.history.epoch)
    return f"The last good checkpoint is in {path}, after {epochs} epoch{'s' * (epochs != 1)}."
