"""Training the network of a forecaster, and seeding the state of every series."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from statewise.architecture import Architecture
from statewise.errors import DataError
from statewise.forecast.core import extract_core, prepare, rename_core_weights
from statewise.forecast.frames import Series
from statewise.forecast.rollout import consume
from statewise.forecast.table import RESIDUALS, Track, compute_errors
from statewise.progress import Progress
from statewise.runtime import Model
from statewise.state import State
from statewise.wording import format_count

if TYPE_CHECKING:
    from statewise.train.history import History
    from statewise.train.streams import Carry

LANES = 64
"""How many series are trained side by side where `lanes` is None."""


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
        """Steps at the start of a series whose errors tell nothing of later ones."""
        return sum(transform.warmup for transform in self.architecture.transforms)

    @property
    def shortest(self) -> int:
        """The shortest history that can be learned from."""
        return self.warmup + 3

    def choose_lanes(self, count: int) -> int | None:
        """How many lanes to train this many series in; None is one for each."""
        wanted = min(count, LANES) if self.lanes is None else self.lanes
        return None if wanted == count else wanted


@dataclass(frozen=True)
class TrainingResult:
    """A model after training, and where each series stands.

    Arguments:
        model: transforms, network and output, in the units of the series, float64.
        history: of the training; its state is that of the network alone, a row for each lane.
        starts: the state of each series before its first step, with what transforms learned of it.
        tracks: where each series stands after its history.
    """

    model: Model
    history: History
    starts: list[State]
    tracks: dict[Hashable, Track]


def learn(
    settings: Settings, series: Sequence[Series], progress: bool | None = False
) -> TrainingResult:
    """Train the network on histories, then let the model consume them.

    Arguments:
        progress: as for `Forecaster.fit`.

    Raises:
        DataError: a series that is too short or constant.
    """
    from statewise import nn, train
    from statewise.train.streams import pack_quietly

    for one in series:
        check_series(one, settings.shortest)
    full = settings.architecture
    core = extract_core(full)
    untrained = Model(full, rename_core_weights(full, core.draw(settings.seed)))
    data = []
    with Progress("preparing the series", len(series), shown=progress) as task:
        for one in series:
            data.append(prepare(untrained, one.values))
            task.update(len(data))
    network = nn.Model(core, seed=settings.seed)
    streams = pack_quietly(
        [one.inputs for one in data],
        targets=[one.targets for one in data],
        lanes=settings.choose_lanes(len(series)),
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
    model = Model(full, rename_core_weights(full, weights))
    starts = [one.start for one in data]
    with Progress("reading the histories", shown=progress):
        tracks = _seed_tracks(settings, model, series, starts)
    return TrainingResult(model, history, starts, tracks)


def join_states(states: Sequence[State]) -> State:
    """States of other weights as the rows of one, without their origin."""
    together = State.cat(states)
    return State(dict(together), together.position)


def calibrate_intervals(
    settings: Settings, series: Sequence[Series], progress: bool | None = False
) -> list[float]:
    """The interval scale of each series: how much larger errors are on its last `calibration`
    steps, which a training of its own leaves out, than on the steps it learns from; at least 1.
    """
    count = settings.calibration
    if not count:
        return [1.0] * len(series)
    with Progress("calibrating the intervals", shown=progress):
        trial = learn(settings, [one.slice(None, -count) for one in series])
        tracks = [trial.tracks[one.id] for one in series]
        held_out = [one.values[-count:] for one in series]
        forecasts, _ = consume(trial.model, held_out, State.cat([track.state for track in tracks]))
    interval_scales = []
    for track, values, after in zip(tracks, held_out, forecasts, strict=True):
        new = _rms(compute_errors(values, after, track.next_forecast))
        known = _rms(track.residuals)
        interval_scales.append(max(1.0, new / known) if known else 1.0)
    return interval_scales


def _rms(errors: np.ndarray) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def check_series(series: Series, shortest: int) -> None:
    """Raise unless a series is long enough to learn from, and varies."""
    if len(series.values) < shortest:
        raise DataError(
            f"{series} has {format_count(len(series.values), 'step')} to learn from; "
            f"at least {shortest} are needed"
        )
    if (series.values == series.values[0]).all():
        raise DataError(
            f"{series} is constant: every value is {series.values[0]:g}, so there is "
            "nothing to learn; forecast that value, or leave the series out"
        )


def _seed_tracks(
    settings: Settings, model: Model, series: Sequence[Series], starts: Sequence[State]
) -> dict[Hashable, Track]:
    """Where each series stands after the model has consumed its history."""
    forecasts, state = consume(model, [one.values for one in series], join_states(starts))
    skipped = 1 + settings.warmup  # the first value has no forecast
    return {
        one.id: Track(
            state.rows(index),
            one.times[-1],
            compute_errors(one.values, forecasts[index])[skipped:][-RESIDUALS:],
        )
        for index, one in enumerate(series)
    }
