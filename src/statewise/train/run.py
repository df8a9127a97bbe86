"""`Run`: everything a training run needs to go on, and its file.

The file is safetensors of the kind ``statewise.training``, without pickle. Arrays:
``weights.<name>``, ``best.<name>``, ``optimizer.*`` and ``schedule.*`` as their state dicts nest,
``state.<field>`` and ``state.position``, ``random.cpu`` and ``random.cuda``. Metadata, as JSON:
``setup`` (what may not differ when going on) and ``run`` (cursor, sums of the epoch under way,
history, what of optimiser and schedule is no array).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from statewise import checkpoint
from statewise.architecture import Architecture
from statewise.errors import FileError, TrainingError
from statewise.nn import Model
from statewise.spec import encode
from statewise.state import State
from statewise.train.history import History
from statewise.train.losses import Loss, Quantile
from statewise.train.nested import copy_to_torch, join, split
from statewise.train.setup import Schedule
from statewise.train.streams import Streams
from statewise.types import Array

KIND = "statewise.training"

_NAMED = 5
"""How many differences an error names."""


@dataclass
class Sums:
    """Sums over the chunks of the epoch under way."""

    loss: float = 0.0
    weight: float = 0.0
    norm: float = 0.0
    updates: int = 0
    seconds: float = 0.0

    @property
    def mean_loss(self) -> float:
        """The mean loss of the steps so far that count."""
        return self.loss / self.weight if self.weight else 0.0


@dataclass
class Run:
    """A training run between two chunks.

    Arguments:
        model, optimizer, schedule: what is trained and by what.
        setup: what decides the course of the run, by name.
        learning_rate: as given to `fit`; None where the optimiser came with its own.
        epoch, chunk: the cursor, the next chunk to train on.
        sums: of the epoch under way.
        history: of the epochs done.
        state: the carried state, None before the first chunk of an epoch.
        best: the weights of the best epoch by name.
    """

    model: Model
    optimizer: Optimizer
    schedule: Schedule | None
    setup: dict[str, Any]
    learning_rate: float | None
    epoch: int = 0
    chunk: int = 0
    sums: Sums = field(default_factory=Sums)
    history: History = field(default_factory=History)
    state: State | None = None
    best: dict[str, Tensor] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the run, whole or not at all."""
        arrays: dict[str, Array] = {"random.cpu": torch.get_rng_state()}
        arrays |= {f"weights.{name}": own for name, own in self.model.weights().items()}
        arrays |= {f"best.{name}": own for name, own in self.best.items()}
        if self.state is not None:
            arrays |= {f"state.{name}": array for name, array in self.state.items()}
            arrays["state.position"] = self.state.position
        device = self.model.device
        if device.type == "cuda":
            arrays["random.cuda"] = torch.cuda.get_rng_state(device)
        schedule = self.schedule.state_dict() if self.schedule is not None else None
        written = {
            "epoch": self.epoch,
            "chunk": self.chunk,
            "sums": asdict(self.sums),
            "history": self.history.to_json(),
            "learning_rate": self.learning_rate,
            "optimizer": split(self.optimizer.state_dict(), "optimizer", arrays),
            "schedule": split(schedule, "schedule", arrays),
        }
        metadata = {"setup": json.dumps(self.setup), "run": json.dumps(written)}
        checkpoint.write(path, KIND, arrays, metadata)

    def load(self, path: Path) -> None:
        """Take over the run that `save` wrote.

        Raises:
            FileError: no checkpoint of a training run, or one that is truncated or altered.
            TrainingError: a run of another setup.
        """
        arrays, metadata = checkpoint.read(path, KIND)
        try:
            setup, written = json.loads(metadata["setup"]), json.loads(metadata["run"])
            self._check_setup(path, setup)
            self._check_learning_rate(path, written["learning_rate"])
            self._restore(arrays, written)
        except (KeyError, ValueError) as error:
            raise FileError(f"{path} is not a checkpoint of this run: {error!r}") from error

    def _restore(self, arrays: dict[str, Array], written: dict[str, Any]) -> None:
        named = {
            group: {
                name.removeprefix(f"{group}."): array
                for name, array in arrays.items()
                if name.startswith(f"{group}.")
            }
            for group in ("weights", "best", "state")
        }
        device = self.model.device
        self.model.load_weights(
            {name: copy_to_torch(own) for name, own in named["weights"].items()}
        )
        self.best = {name: copy_to_torch(own).to(device) for name, own in named["best"].items()}
        self.optimizer.load_state_dict(join(written["optimizer"], arrays))
        if self.learning_rate not in (None, written["learning_rate"]):
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate
        # a schedule warns where it steps before its optimiser has; this one's has
        self.optimizer._opt_called = True  # type: ignore[attr-defined]
        if self.schedule is not None:
            self.schedule.load_state_dict(join(written["schedule"], arrays))
        if named["state"]:
            fields = {name: copy_to_torch(own).to(device) for name, own in named["state"].items()}
            self.state = State(fields, fields.pop("position"))
        self.epoch, self.chunk = written["epoch"], written["chunk"]
        self.sums = Sums(**written["sums"])
        self.history = History.from_json(written["history"])
        self.history.state = self.state
        torch.set_rng_state(copy_to_torch(arrays["random.cpu"]))
        if device.type == "cuda" and "random.cuda" in arrays:
            torch.cuda.set_rng_state(copy_to_torch(arrays["random.cuda"]), device)

    def _check_setup(self, path: Path, before: dict[str, Any]) -> None:
        now = self.setup
        differing = [
            f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
            for name in {**before, **now}
            if before.get(name) != now.get(name)
        ]
        if differing:
            rest = f"; and {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
            raise TrainingError(
                f"{path} holds a run with another setup: "
                f"{'; '.join(differing[:_NAMED])}{rest}. Give what the run was started with, or "
                "resume=False to start anew"
            )

    def _check_learning_rate(self, path: Path, before: float | None) -> None:
        if self.schedule is not None and before != self.learning_rate:
            raise TrainingError(
                f"the run in {path} started with learning_rate={before!r}, got "
                f"{self.learning_rate!r}; its schedule computes from the first: give that one, or "
                "start anew with resume=False"
            )


def describe_setup(
    model: Model,
    streams: Streams,
    validation: Streams | None,
    loss: str | Loss,
    optimizer: Optimizer,
    schedule: Schedule | None,
) -> dict[str, Any]:
    """Everything that decides the course of a run, by name, as JSON compares it."""
    setup = {
        **_describe_architecture(model.architecture),
        "dtype": str(model.dtype),
        "loss": loss if isinstance(loss, str) else _name_loss(loss),
        "optimizer": type(optimizer).__name__,
        "schedule": None if schedule is None else type(schedule).__name__,
        **{f"streams.{name}": value for name, value in streams.layout().items()},
    }
    held_out = {} if validation is None else validation.layout()
    return setup | {f"validation.{name}": value for name, value in held_out.items()}


def _describe_architecture(architecture: Architecture) -> dict[str, str]:
    parts: dict[str, Any] = {"inputs": architecture.inputs, "outputs": architecture.outputs}
    parts |= {f"layers.{index}": cell for index, cell in enumerate(architecture.layers)}
    return {f"architecture.{name}": json.dumps(encode(part)) for name, part in parts.items()}


def _name_loss(loss: Loss) -> str:
    """Name a loss the same way in every process: without its address."""
    if isinstance(loss, Quantile):
        return repr(loss)
    name = getattr(loss, "__qualname__", None)
    return str(name) if name is not None else type(loss).__qualname__
