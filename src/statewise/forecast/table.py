"""`StateTable`: the state of every series, by its id."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, MutableMapping
from dataclasses import dataclass, replace

import numpy as np

from statewise.errors import DataError, StateError
from statewise.state import State

RESIDUALS = 300


@dataclass(frozen=True)
class Track:
    """Where a series stands.

    Arguments:
        state: what is remembered of it, one row.
        last: its last time.
        residuals: its latest one-step errors, value minus forecast, oldest first.
    """

    state: State
    last: np.generic
    residuals: np.ndarray

    @property
    def outlook(self) -> float:
        """The forecast of its next step, made when it stood here."""
        return float(np.asarray(self.state["outputs.y"])[0, 0])

    def advanced(self, state: State, last: np.generic, errors: np.ndarray) -> Track:
        """After further steps with these one-step errors."""
        return Track(state, last, np.r_[self.residuals, errors][-RESIDUALS:])


class StateTable(MutableMapping[Hashable, State]):
    """The state of every series by id: get, set, fork, delete.

    A state is a value: keep what you get as a snapshot, and set it again to roll back.

    Example::

        before = forecaster.states["beer"]
        forecaster.states.fork("beer", "beer, had it rained")
        forecaster.states["beer"] = before
    """

    def __init__(self, tracks: dict[Hashable, Track]) -> None:
        self.tracks = tracks

    def __getitem__(self, key: Hashable) -> State:
        return self.track(key).state

    def __setitem__(self, key: Hashable, state: State) -> None:
        known = self.track(key)
        if not isinstance(state, State) or state.batch != 1 or list(state) != list(known.state):
            raise StateError(
                f"the state of one series has one row and the fields "
                f"{', '.join(known.state)}; got {state!r}"
            )
        self.tracks[key] = replace(known, state=known.state.replace(dict(state), state.position))

    def __delitem__(self, key: Hashable) -> None:
        self.track(key)
        del self.tracks[key]

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self.tracks)

    def __len__(self) -> int:
        return len(self.tracks)

    def __repr__(self) -> str:
        return f"StateTable({len(self)} series: {', '.join(map(str, list(self)[:5]))}...)"

    def track(self, key: Hashable) -> Track:
        """Where a series stands."""
        try:
            return self.tracks[key]
        except KeyError:
            some = ", ".join(repr(name) for name in list(self.tracks)[:5])
            raise DataError(
                f"there is no series {key!r} among the {len(self)} known ({some}, ...)"
            ) from None

    def fork(self, key: Hashable, new: Hashable) -> None:
        """Let a new series go on from where another stands."""
        if new in self.tracks:
            raise DataError(f"there is a series {new!r} already; delete it first")
        self.tracks[new] = self.track(key)
