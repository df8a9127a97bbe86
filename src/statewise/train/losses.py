"""Losses element by element, so that steps that do not count can be left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from statewise.errors import InputError, TrainingError
from statewise.train.streams import Streams

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Takes predictions (B, T, O) and targets (B, T, ...), returns the loss of each step, (B, T) or
(B, T, ...); further axes are averaged.
"""


@dataclass(frozen=True)
class Quantile:
    """The pinball loss: the outputs are quantiles of the target.

    ``max(q (y - p), (q - 1) (y - p))`` for each level ``q``. A model of F features and Q levels
    has F x Q outputs, the levels of one feature side by side.

    Arguments:
        levels: between 0 and 1, such as ``(0.1, 0.5, 0.9)``.

    Example::

        sw.fit(model, streams, loss=sw.train.Quantile((0.1, 0.5, 0.9)))     # outputs=sw.Linear(3)

    Source: Koenker and Bassett, Regression quantiles, 1978.
    """

    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        levels = tuple(self.levels)
        if not levels or not all(0 < level < 1 for level in levels):
            raise TrainingError(f"quantile levels lie between 0 and 1, got {levels}")
        object.__setattr__(self, "levels", levels)

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Predictions (B, T, F * Q) and targets (B, T, F) -> losses (B, T, F, Q)."""
        levels = prediction.new_tensor(self.levels)
        error = target[..., None] - prediction.reshape(*target.shape, len(self.levels))
        return torch.maximum(levels * error, (levels - 1) * error)


def _cross_entropy(prediction: Tensor, target: Tensor) -> Tensor:
    classes = prediction.shape[-1]
    if target.device.type == "cpu" and not 0 <= int(target.min()) <= int(target.max()) < classes:
        raise InputError(
            f"cross_entropy takes targets in [0, {classes}), as many as the model has outputs, got "
            f"{int(target.min())} to {int(target.max())}"
        )
    flat = functional.cross_entropy(prediction.flatten(0, 1), target.flatten(), reduction="none")
    return flat.reshape(target.shape)


@dataclass(frozen=True)
class _TorchLoss:
    """A loss function of torch, by element, or as its mean where every step counts."""

    function: Callable[..., Tensor]

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.function(prediction, target, reduction="none")

    def mean(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.function(prediction, target, reduction="mean")


LOSSES: Mapping[str, Loss] = {
    "mse": _TorchLoss(functional.mse_loss),
    "mae": _TorchLoss(functional.l1_loss),
    "huber": _TorchLoss(functional.huber_loss),
    "cross_entropy": _cross_entropy,
}


def find_loss(loss: str | Loss) -> Loss:
    """Find the loss of a name, or return the function given.

    Raises:
        TrainingError: an unknown name, or nothing that can be called.
    """
    if isinstance(loss, str) and loss in LOSSES:
        return LOSSES[loss]
    if isinstance(loss, str) or not callable(loss):
        raise TrainingError(
            f"loss must be one of {', '.join(LOSSES)}, or a function of (prediction, target) that "
            f"returns the loss of each step, got {loss!r}"
        )
    return loss


def check_widths(loss: str | Loss, outputs: int, streams: Streams, name: str) -> None:
    """Raise unless the widths of predictions and targets fit a loss, where that is known.

    Arguments:
        loss: as given by the user.
        outputs: the width of the model's output.
        streams: where the targets come from.
        name: what errors call the streams.
    """
    shape = streams.target_shape
    if loss == "cross_entropy":
        if shape is not None:
            raise InputError(
                "cross_entropy needs integer targets, one class for each step, and the targets of "
                f"{name} are numbers of shape {shape}; give targets of (T,) integers, or use 'mse'"
            )
        return
    if isinstance(loss, str) and shape != (outputs,):
        came = "integers" if shape is None else f"numbers of shape {shape}"
        hint = "; for classes use loss='cross_entropy'" if shape is None else ""
        raise InputError(
            f"{loss} needs a target for each of the model's {outputs} outputs, and the targets of "
            f"{name} are {came} a step{hint or '; the model would need outputs=sw.Linear(...)'}"
        )
    if isinstance(loss, Quantile) and (
        shape is None or len(shape) != 1 or shape[0] * len(loss.levels) != outputs
    ):
        raise InputError(
            f"{loss} needs {len(loss.levels)} outputs for each feature of the targets; the targets "
            f"of {name} have shape {shape or 'of integers'} a step and the model {outputs} outputs"
        )


def average_over_steps(
    loss: Loss, prediction: Tensor, target: Tensor, weights: Tensor, total: float
) -> Tensor:
    """Average a chunk's losses over the steps that count.

    Arguments:
        loss: element by element.
        prediction, target: (B, T, O) and (B, T, ...).
        weights: (B, T).
        total: the sum of the weights, known on the host.

    Raises:
        TrainingError: a loss that does not return one value for each step.
    """
    if isinstance(loss, _TorchLoss) and total == weights.numel():
        return loss.mean(prediction, target)
    values = loss(prediction, target)
    if values.shape[:2] != weights.shape:
        raise TrainingError(
            f"the loss must return one value for each step, {tuple(weights.shape)} or with further "
            f"axes, got {tuple(values.shape)}; the steps of padding could not be left out "
            "otherwise: use reduction='none'"
        )
    if total == weights.numel():
        return values.mean()
    if values.ndim > 2:
        values = values.flatten(2).mean(2)
    # by selection: a loss of padding may be infinite, and zero times infinity is not zero
    return torch.where(weights > 0, values * weights, 0.0).sum() / total
