"""`ServedModel`: a model, the slots of its sessions, and checks of what clients send."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from statewise import checkpoint
from statewise.architecture import Vector
from statewise.errors import FileError, InputError, StatewiseError
from statewise.loading import load_statewise
from statewise.origin import other_weights
from statewise.runtime import Model, SlotTable
from statewise.serve.errors import BadInput, ModelFailed, NotFound, Unprocessable
from statewise.serve.session import Job, Session
from statewise.state import State
from statewise.state_file import KIND as STATE

T = TypeVar("T")
STATE_FILE = "state.safetensors"


@dataclass(frozen=True)
class ModelInfo:
    """What a client is told about a model.

    Arguments:
        name, version: the version is the fingerprint of the weights.
        inputs: ``{"kind": "vector", "features": 1}`` or ``{"kind": "tokens", "size": 256}``.
        outputs: the width of an output.
        architecture: the fingerprint of the architecture.
        executor: ``"native"`` or ``"reference"``.
        dtype: what it computes in.
        sessions: how many of its sessions are in memory.
        series: the series whose states were saved with it, for the seed ``{"series": ...}``.
    """

    name: str
    version: str
    inputs: dict[str, Any]
    outputs: int
    architecture: str
    executor: str
    dtype: str
    sessions: int
    series: list[str]


class ServedModel:
    """A model, its table of slots, and the sessions in it.

    Arguments:
        name: its name for clients.
        model: from `statewise.load`.
        capacity: how many of its sessions fit in memory.
        states: states that were saved with it, by series.
    """

    def __init__(
        self, name: str, model: Model, capacity: int, states: dict[str, State] | None = None
    ) -> None:
        if not all(cell.causal for cell in model.architecture.layers):
            raise InputError(
                f"{name} has a Bidirectional layer, which reads the whole sequence and cannot go "
                "on from a state; such a model cannot be served in sessions"
            )
        self.name, self.model, self.states = name, model, states or {}
        self.version = model.fingerprint()
        self.table = SlotTable(model, capacity)
        self.holders: list[Session | None] = [None] * capacity
        self.used = np.full(capacity, np.inf)  # Unix time; infinity for free slots
        self.created = np.zeros(capacity)
        self.dtype = model.dtype
        inputs = model.architecture.inputs
        self.features = inputs.features if isinstance(inputs, Vector) else None
        self.tokens = None if isinstance(inputs, Vector) else inputs.size

    @classmethod
    def read(cls, name: str, path: str | Path, capacity: int) -> ServedModel:
        """A model file, or the folder of a forecaster with the states of its series.

        Raises:
            FileError: neither of both.
        """
        model, states = load_statewise(path), Path(path) / STATE_FILE
        return cls(name, model, capacity, _read_series(states) if states.exists() else {})

    @property
    def info(self) -> ModelInfo:
        inputs: dict[str, Any] = {"kind": "vector", "features": self.features}
        if self.features is None:
            inputs = {"kind": "tokens", "size": self.tokens}
        architecture = self.model.architecture
        return ModelInfo(
            self.name,
            self.version,
            inputs,
            architecture.width,
            architecture.fingerprint,
            self.model.executor,
            self.dtype.name,
            len(self.table),
            list(self.states),
        )

    # What clients send

    def read_inputs(self, given: Any) -> tuple[np.ndarray, bool]:
        """Read inputs as (T, features) or (T,) tokens, and whether they are a single time step.

        Raises:
            BadInput: anything else, or numbers that are not finite.
        """
        try:
            raw = np.asarray(given)
            if raw.dtype.kind not in "biuf":
                raise TypeError
        except (TypeError, ValueError):
            raise BadInput(f"inputs must be {self._expected}, got {_shorten(given)}") from None
        rank = 1 if self.features is not None else 0
        if self.features == 1 and raw.ndim == 0:
            raw = raw[None]
        single = raw.ndim == rank
        x = raw[None] if single else raw
        if x.ndim != rank + 1 or (rank and x.shape[1] != self.features) or not x.shape[0]:
            raise BadInput(f"inputs must be {self._expected}, got shape {list(raw.shape)}")
        return self._check_numbers(x), single

    def read_batch(self, given: Sequence[Any]) -> np.ndarray | None:
        """Read single steps of many requests at once, (N, features) or (N,); None if they must be
        read one by one.
        """
        try:
            raw = np.asarray(given)
            if raw.dtype.kind not in "biuf" or raw.shape != (len(given), *self._row):
                return None
            return self._check_numbers(raw)
        except (TypeError, ValueError, BadInput):
            return None

    @property
    def _row(self) -> tuple[int, ...]:
        return () if self.features is None else (self.features,)

    def _check_numbers(self, x: np.ndarray) -> np.ndarray:
        if self.features is None:
            if x.dtype.kind == "f":
                raise BadInput(f"tokens must be whole numbers in [0, {self.tokens}), got {x.dtype}")
            if x.min() < 0 or x.max() >= self.tokens:
                raise BadInput(f"tokens must lie in [0, {self.tokens}), got {x.min()} to {x.max()}")
            return x.astype(np.int64)
        with np.errstate(over="ignore"):
            numbers = x.astype(self.dtype)
        if not np.isfinite(numbers).all():
            raise BadInput(
                f"inputs must be finite numbers in {self.dtype}, got NaN, infinity, or a number "
                "too large for it"
            )
        return numbers

    @property
    def _expected(self) -> str:
        if self.features is None:
            return f"a token in [0, {self.tokens}), or a list of tokens for several time steps"
        return f"a list of {self.features} numbers, or a list of such lists for several time steps"

    def admit_state(self, state: State) -> State:
        """Check a state that a client sent: it must fit this model and be finite.

        Raises:
            BadInput: a state that does not fit.
        """
        if other_weights(state.origin, self.model.origin) is not None:
            raise BadInput(
                f"the state was made with other weights than version {self.version} of "
                f"{self.name}, and means nothing to this version; seed a session with inputs"
            )
        try:
            fitting = self.model.validate_state(state, 1)
        except StatewiseError as error:
            raise BadInput(str(error)) from None
        for name, array in fitting.items():
            if not np.isfinite(array).all():
                raise BadInput(f"{name!r} of the state is not finite")
        if fitting.position[0] < 0:
            raise BadInput(
                f"the state's position must be at least 0, got {int(fitting.position[0])}"
            )
        return fitting

    def make_start_state(self) -> State:
        """Make the state of a new session: that of the only series saved with the model, or the
        initial state.
        """
        if len(self.states) == 1:
            return next(iter(self.states.values()))
        return self.model.initial_state(1)

    def find_series_state(self, name: Any) -> State:
        """Find the state of a series that was saved with the model."""
        try:
            return self.states[str(name)]
        except KeyError:
            some = ", ".join(list(self.states)[:5]) or "none"
            raise NotFound(f"{self.name} has no series {name!r}; it has {some}") from None

    def seed_state(self, given: Any) -> State:
        """Compute the state after consuming inputs from the initial state."""
        x, _ = self.read_inputs(given)
        y, state = self.model(x[None])
        if not np.isfinite(y).all() or not all(np.isfinite(a).all() for a in state.values()):
            raise ModelFailed("these inputs gave numbers that are not finite")
        return state

    def replay_inputs(self, inputs: bytes, position: int) -> State:
        """Compute the state after consuming the last inputs of a session, at its position.

        Raises:
            Unprocessable: none were saved, or they do not fit this model.
        """
        features = self.features or 1
        kind = self.dtype if self.features else np.dtype(np.int64)
        if not inputs or len(inputs) % (features * kind.itemsize):
            raise Unprocessable(
                "no inputs of this session are saved; start the server with --keep-inputs N, or "
                "migrate with how='keep'"
            )
        x = np.frombuffer(inputs, kind)
        state = self.seed_state(x.reshape(-1, features) if self.features else x)
        return State(dict(state), np.array([position], np.int64), origin=state.origin)

    # The sessions in the table

    def enter(self, session: Session, created: float, used: float) -> None:
        """Enter a session that has opened a slot."""
        index = session.index
        self.holders[index], self.created[index], self.used[index] = session, created, used

    def leave(self, session: Session) -> None:
        """Close a session's slot."""
        assert session.slot is not None
        self.holders[session.index], self.used[session.index] = None, np.inf
        self.table.close(session.slot)
        session.slot = None

    def find_resting(self, count: int) -> list[Session]:
        """Find up to this many sessions without waiting steps, the longest unused first."""
        count = min(4 * count, len(self.used))
        oldest = np.argpartition(self.used, count - 1)[:count]
        found = [self.holders[index] for index in oldest[np.argsort(self.used[oldest])]]
        return [session for session in found if session and not session.busy][: count // 4 or 1]

    # Stepping

    def step(self, jobs: Sequence[Job]) -> tuple[list[np.ndarray | None], State, State]:
        """Step the sessions of jobs along their inputs, all that still have a step together.

        Returns:
            each job's outputs (T, O), or None where a number was not finite: that session is
            unchanged. Then the states before and after, row i for job i.
        """
        slots = np.array([job.session.slot for job in jobs], np.int64)
        if all(job.steps == 1 for job in jobs):
            x = np.concatenate([job.x for job in jobs])
            y, bad, before, after = self.step_once(slots, x)
            outputs = list(y[:, None])
        else:
            outputs, bad, before, after = self._guard(slots, lambda: self._step_along(slots, jobs))
        if bad.any():
            outputs = [None if bad[index] else y for index, y in enumerate(outputs)]
        return outputs, before, after

    def step_once(
        self, slots: np.ndarray, x: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, State, State]:
        """Step sessions once: outputs (N, O), which rows (N,) are unchanged because a number was
        not finite, and the states before and after.
        """
        return self._guard(slots, lambda: self.table.step(slots, x))

    def _guard(
        self, slots: np.ndarray, work: Callable[[], T]
    ) -> tuple[T, np.ndarray, State, State]:
        """Do work that steps sessions, and restore each that gave a number that is not finite."""
        before = self.table.gather(slots)
        try:
            outputs = work()
        except BaseException:
            self.table.scatter(slots, before)
            raise
        after = self.table.gather(slots)
        bad = _not_finite(outputs)
        for array in after.values():
            bad |= _not_finite(array)
        if bad.any():
            self.table.scatter(slots[bad], before.rows(bad))
        return outputs, bad, before, after

    def _step_along(self, slots: np.ndarray, jobs: Sequence[Job]) -> list[np.ndarray]:
        steps = np.array([job.steps for job in jobs])
        order = np.argsort(-steps, kind="stable")
        going = [jobs[index] for index in order]
        longest, width = int(steps.max()), self.model.architecture.width
        y = np.empty((len(jobs), longest, width), self.dtype)
        left = -np.sort(-steps)
        for t in range(longest):
            count = int(np.searchsorted(-left, -t, side="left"))
            x = np.stack([job.x[t] for job in going[:count]])
            y[order[:count], t] = self.table.step(slots[order[:count]], x)
        return [y[index, : job.steps] for index, job in enumerate(jobs)]


def _not_finite(rows: Any) -> np.ndarray:
    """Find rows that hold a number that is not finite, (N,) bool."""
    if isinstance(rows, list):
        return np.array([not np.isfinite(row).all() for row in rows])
    if np.isfinite(rows).all():
        return np.zeros(len(rows), bool)
    found: np.ndarray = ~np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
    return found


def _read_series(path: Path) -> dict[str, State]:
    text = checkpoint.read_metadata(path, STATE).get("series")
    if text is None:
        raise FileError(f"{path} does not say which series its states belong to")
    state = State.load(path)
    return {str(row["id"]): state.rows(index) for index, row in enumerate(json.loads(text))}


def _shorten(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 80 else f"{text[:77]}..."
