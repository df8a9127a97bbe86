"""Training the network of a forecaster, and seeding the state of every series."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from statewise.architecture import Architecture
from statewise.errors import DataError
from statewise.forecast.frames import Series
from statewise.forecast.prepared import core_architecture, full_weights, prepare
from statewise.forecast.table import RESIDUALS, Track
from statewise.forecast.walk import consume, errors
from statewise.runtime import Model
from statewise.state import State
from statewise.transforms import Difference

if TYPE_CHECKING:
    from statewise.train.history import History
    from statewise.train.streams import Carry

LANES = 64


@dataclass(frozen=True)
class Settings:
    """What a forecaster is made of, see `Forecaster` for each."""

    architecture: Architecture
    epochs: int = 50
    learning_rate: float = 0.01
    loss: str = "mse"
    clip: float | None = 1.0
    chunk: int = 100
    lanes: int | None = None
    carry: Carry = "stream"
    calibration: int = 0
    seed: int = 0

    @property
    def warmup(self) -> int:
        """Steps at the start of a series whose differences are not yet what they will be."""
        return sum(t.lag for t in self.architecture.transforms if isinstance(t, Difference))

    @property
    def shortest(self) -> int:
        """The shortest history that can be learned from."""
        return self.warmup + 3

    def lanes_for(self, count: int) -> int | None:
        """How many lanes to train this many series in; None is one for each."""
        wanted = min(count, LANES) if self.lanes is None else self.lanes
        return None if wanted == count else wanted


@dataclass(frozen=True)
class Learned:
    """What training leaves.

    Arguments:
        model: transforms, network and output, in the units of the series, float64.
        history: of the training; its state is that of the network alone, a row for each lane.
        starts: the state of each series before its first step, with its own mean and scale.
        tracks: where each series stands after its history.
    """

    model: Model
    history: History
    starts: list[State]
    tracks: dict[Hashable, Track]


def learn(settings: Settings, series: Sequence[Series], progress: bool | None = False) -> Learned:
    """Train the network on histories, then let the model consume them.

    Raises:
        DataError: a series that is too short or constant.
    """
    from statewise import nn, train
    from statewise.train.streams import pack_quietly

    for one in series:
        check_series(one, settings.shortest)
    full = settings.architecture
    core = core_architecture(full)
    untrained = Model(full, full_weights(full, core.draw(settings.seed)))
    prepared = [prepare(untrained, one.values) for one in series]
    network = nn.Model(core, seed=settings.seed)
    streams = pack_quietly(
        [one.inputs for one in prepared],
        targets=[one.targets for one in prepared],
        lanes=settings.lanes_for(len(series)),
        chunk=settings.chunk,
        carry=settings.carry,
    )
    history = train.fit(
        network,
        streams,
        epochs=settings.epochs,
        loss=settings.loss,
        learning_rate=settings.learning_rate,
        clip=settings.clip,
        progress=progress,
    )
    weights = {name: value.detach().numpy() for name, value in network.weights().items()}
    model = Model(full, full_weights(full, weights))
    starts = [one.start for one in prepared]
    return Learned(model, history, starts, _seeded(settings, model, series, starts))


def joined(states: Sequence[State]) -> State:
    """States of other weights as the rows of one, without their origin."""
    together = State.cat(states)
    return State(dict(together), together.position)


def widths(settings: Settings, series: Sequence[Series]) -> list[float]:
    """How much larger errors are on the last `calibration` steps of each series, which a training
    of its own leaves out, than on the steps it learns from; at least 1.
    """
    count = settings.calibration
    if not count:
        return [1.0] * len(series)
    trial = learn(settings, [one.part(None, -count) for one in series])
    tracks = [trial.tracks[one.id] for one in series]
    held_out = [one.values[-count:] for one in series]
    forecasts, _ = consume(trial.model, held_out, State.cat([track.state for track in tracks]))
    found = []
    for track, own, after in zip(tracks, held_out, forecasts, strict=True):
        new = own - np.r_[track.outlook, after[:-1]]
        known = float(np.sqrt(np.mean(track.residuals**2)))
        found.append(max(1.0, float(np.sqrt(np.mean(new**2))) / known) if known else 1.0)
    return found


def check_series(series: Series, shortest: int) -> None:
    """Raise unless a series is long enough to learn from, and varies."""
    if len(series.values) < shortest:
        raise DataError(
            f"series {series.id!r} has {len(series.values)} steps to learn from; at least "
            f"{shortest} are needed"
        )
    if (series.values == series.values[0]).all():
        raise DataError(
            f"series {series.id!r} is constant: every value is {series.values[0]:g}, so there is "
            "nothing to learn; forecast that value, or leave the series out"
        )


def _seeded(
    settings: Settings, model: Model, series: Sequence[Series], starts: Sequence[State]
) -> dict[Hashable, Track]:
    """Where each series stands after the model has consumed its history."""
    forecasts, state = consume(model, [one.values for one in series], joined(starts))
    return {
        one.id: Track(
            state.rows(index),
            one.times[-1],
            errors(one.values, forecasts[index], settings.warmup)[-RESIDUALS:],
        )
        for index, one in enumerate(series)
    }
