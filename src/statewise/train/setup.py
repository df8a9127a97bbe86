"""Checks before training, and the optimiser and schedule that a user's choice makes."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from statewise.architecture import Tokens
from statewise.errors import InputError, TrainingError
from statewise.nn import Model
from statewise.train.losses import Loss, check_widths
from statewise.train.streams import Streams

MakesOptimizer: TypeAlias = Callable[[Iterable[Tensor]], Optimizer]
Schedule: TypeAlias = LRScheduler | ReduceLROnPlateau

OPTIMIZERS: Mapping[str, type[Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}
_FUSED = ("adam", "adamw", "sgd")


def check_model(model: object) -> None:
    """Raise unless this is a model that trains."""
    if not isinstance(model, Model):
        raise TrainingError(
            f"training takes a sw.nn.Model, got {type(model).__name__}; sw.nn.load reads a saved "
            "model so that it trains"
        )
    if not find_trainable(model):
        raise TrainingError("the model has no weights that are trained (requires_grad)")


def check_streams(model: Model, streams: object, loss: str | Loss, name: str) -> None:
    """Raise unless streams fit a model and a loss."""
    if not isinstance(streams, Streams):
        raise TrainingError(
            f"{name} must be sw.Streams, got {type(streams).__name__}; write "
            "sw.Streams(sequences, chunk=100)"
        )
    inputs = model.architecture.inputs
    if isinstance(inputs, Tokens) != (streams.features is None):
        expected = "tokens (integers)" if isinstance(inputs, Tokens) else "numbers (T, F)"
        came = "tokens" if streams.features is None else f"{streams.features} features"
        raise InputError(f"the model's inputs are {expected}, and {name} hold {came}")
    if not isinstance(inputs, Tokens):
        if inputs.features != streams.features:
            raise InputError(
                f"the model's inputs have {inputs.features} features, and {name} have "
                f"{streams.features}"
            )
        dtype = model.dtype
        if dtype != streams.dtype:
            raise InputError(
                f"the model computes in {dtype}, and {name} give {streams.dtype}; write "
                f"sw.Streams(..., dtype={dtype})"
            )
    if streams.carry != "never" and not all(cell.causal for cell in model.architecture.layers):
        raise TrainingError(
            f"a Bidirectional layer cannot carry state, and {name} have carry={streams.carry!r}; "
            "write sw.Streams(..., carry='never')"
        )
    check_widths(loss, model.architecture.width, streams, name)


def find_trainable(model: Model) -> list[torch.nn.Parameter]:
    """The weights that are trained."""
    return [weight for weight in model.parameters() if weight.requires_grad]


def make_optimizer(
    optimizer: str | type[Optimizer] | MakesOptimizer | Optimizer,
    model: Model,
    learning_rate: float,
) -> Optimizer:
    """Make the optimiser of a name, a class or a function of the weights, or check the one given.

    It holds weights of the model and no others: others would be missing in checkpoints.
    """
    made = _build_optimizer(optimizer, find_trainable(model), learning_rate)
    held = {id(weight) for group in made.param_groups for weight in group["params"]}
    if not held or held - {id(weight) for weight in model.parameters()}:
        raise TrainingError(
            f"the {type(made).__name__} given holds weights that are not this model's; make it "
            "with model.parameters(), after the model"
        )
    return made


def _build_optimizer(
    optimizer: str | type[Optimizer] | MakesOptimizer | Optimizer,
    weights: list[torch.nn.Parameter],
    learning_rate: float,
) -> Optimizer:
    if not isinstance(learning_rate, (int, float)) or not 0 < learning_rate < float("inf"):
        raise TrainingError(f"learning_rate must be a number above 0, got {learning_rate!r}")
    if isinstance(optimizer, Optimizer):
        return optimizer
    import_compiler()
    if isinstance(optimizer, str) and optimizer in OPTIMIZERS:
        options: dict[str, Any] = {"lr": learning_rate}
        if optimizer in _FUSED and weights[0].device.type in ("cpu", "cuda"):
            options["fused"] = True
        return OPTIMIZERS[optimizer](weights, **options)
    if isinstance(optimizer, str) or not callable(optimizer):
        raise TrainingError(
            f"optimizer must be one of {', '.join(OPTIMIZERS)}, a torch optimiser, its class, or a "
            f"function of the weights that makes one, got {optimizer!r}"
        )
    make: Any = optimizer
    made = make(weights, lr=learning_rate) if is_given_rate(optimizer) else make(weights)
    if not isinstance(made, Optimizer):
        raise TrainingError(
            f"optimizer must make a torch.optim.Optimizer from the weights, it made {made!r}"
        )
    return made


def import_compiler() -> None:
    """Import torch's compiler, as optimisers do when they are made, and remove the empty folder for
    temporary files that its import leaves behind.
    """
    if "torch._dynamo" in sys.modules:
        return
    temporary = Path(tempfile.gettempdir())
    before = set(temporary.glob("torchinductor_*"))
    importlib.import_module("torch._dynamo")
    for folder in set(temporary.glob("torchinductor_*")) - before:
        with suppress(OSError):  # not empty: it is used
            folder.rmdir()


def is_given_rate(optimizer: object) -> bool:
    """Whether `fit` gives the optimiser its learning rate: it is named, or given as a class."""
    by_class = isinstance(optimizer, type) and issubclass(optimizer, Optimizer)
    return isinstance(optimizer, str) or by_class


def make_schedule(
    schedule: Callable[[Optimizer], Schedule] | Schedule | None, optimizer: Optimizer
) -> Schedule | None:
    """Make the schedule of an optimiser, or check that the one given is for it."""
    if schedule is None:
        return None
    made = schedule if isinstance(schedule, Schedule) else _build_schedule(schedule, optimizer)
    if made.optimizer is not optimizer:
        raise TrainingError(
            f"the {type(made).__name__} given sets the learning rate of another optimiser; pass "
            "its optimiser as optimizer=, or a function: schedule=lambda optimizer: "
            f"{type(made).__name__}(optimizer, ...)"
        )
    return made


def _build_schedule(schedule: Any, optimizer: Optimizer) -> Schedule:
    made = schedule(optimizer) if callable(schedule) else schedule
    if not isinstance(made, Schedule):
        raise TrainingError(
            "schedule must be a learning rate scheduler of torch or a function of the optimiser "
            "that makes one, such as lambda optimizer: CosineAnnealingLR(optimizer, 10), got "
            f"{made!r}"
        )
    return made
