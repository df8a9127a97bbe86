"""`StateTable`: the state of every series, by its id."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, MutableMapping
from dataclasses import dataclass, replace

import numpy as np

from statewise.errors import DataError, StateError
from statewise.state import State
from statewise.wording import suggest

RESIDUALS = 300
"""How many of the latest one-step errors of a series are kept."""
LISTED = 5
"""How many ids a message lists."""


def compute_errors(values: np.ndarray, forecasts: np.ndarray, first: float = np.nan) -> np.ndarray:
    """One-step errors along a series: each value minus the forecast made one step before it.

    Arguments:
        values: (T,).
        forecasts: made after each of these values, (T,); the last is not needed.
        first: the forecast of the first value, NaN where there is none.
    """
    return np.asarray(values - np.r_[first, forecasts[:-1]])


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
    def next_forecast(self) -> float:
        """The forecast of its next step."""
        return float(np.asarray(self.state["outputs.y"])[0, 0])

    def advance(
        self, state: State, last: np.generic, values: np.ndarray, forecasts: np.ndarray
    ) -> Track:
        """The track after further values.

        Arguments:
            state: the state after them.
            last: the time of the last of them.
            values: (T,).
            forecasts: made after each of them, (T,).
        """
        errors = compute_errors(values, forecasts, self.next_forecast)
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
        return self.get_track(key).state

    def __setitem__(self, key: Hashable, state: State) -> None:
        known = self.get_track(key)
        if not isinstance(state, State) or state.batch != 1 or list(state) != list(known.state):
            raise StateError(
                f"the state of one series has one row and the fields "
                f"{', '.join(known.state)}; got {state!r}"
            )
        self.tracks[key] = replace(known, state=known.state.replace(dict(state), state.position))

    def __delitem__(self, key: Hashable) -> None:
        self.get_track(key)
        del self.tracks[key]

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self.tracks)

    def __len__(self) -> int:
        return len(self.tracks)

    def __repr__(self) -> str:
        return f"StateTable({list_ids(self) or 'no series'})"

    def get_track(self, key: Hashable) -> Track:
        """Where a series stands."""
        try:
            return self.tracks[key]
        except KeyError:
            raise unknown_series(key, self.tracks) from None

    def fork(self, key: Hashable, new: Hashable) -> None:
        """Let a new series go on from where another stands."""
        if new in self.tracks:
            raise DataError(f"a series {new!r} already exists; delete it first")
        self.tracks[new] = self.get_track(key)


def list_ids(known: Collection[Hashable]) -> str:
    """The ids of series, the first few of many."""
    some = ", ".join(repr(one) for one in list(known)[:LISTED])
    return f"{some}, ... ({len(known)} series)" if len(known) > LISTED else some


def unknown_series(key: Hashable, known: Collection[Hashable]) -> DataError:
    """The error that says which series there are, near ids first."""
    near = suggest(key, known)
    return DataError(f"there is no series {key!r}{near or ';'} there are {list_ids(known)}")
