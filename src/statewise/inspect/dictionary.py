"""`features`: a sparse autoencoder of a state, whose directions are easier to read than units"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from statewise.errors import InputError
from statewise.extras import require
from statewise.inspect.contexts import Context, Passage
from statewise.inspect.labels import measure_scales
from statewise.inspect.spans import FeatureSpans, find_spans
from statewise.inspect.subject import find_memory
from statewise.inspect.threads import limit_threads
from statewise.inspect.trace import Trace, check_trace
from statewise.progress import Progress
from statewise.validation import check_whole_number

_BATCH = 512
"""Steps learned from at a time."""
_IDLE = 100
"""A feature that is inactive for so many batches is dead, and learns what the others miss."""


@dataclass(frozen=True)
class Features:
    """A sparse autoencoder of what a state holds, as `features` learned it.

    At every step the values, each unit standardised, are approximated by a centre plus at most
    `active` features, each a positive activation times a direction.

    Attributes:
        name: of the values: ``"0.c"``.
        active: how many features there are at most at one step.
        mean, deviation: of each unit, (units,).
        encoder, bias: values (units,) -> activations (features,); all but the highest are then set
            to zero.
        decoder, centre: activations -> values; the rows of `decoder`, (features, units), are of
            norm 1.
        explained: the share of the variance of all units that the features account for, at the
            steps learned from.
        mean_active: how many features are active at a step, on average.
        dead: features that were active nowhere.
    """

    name: str
    active: int
    mean: np.ndarray = field(repr=False)
    deviation: np.ndarray = field(repr=False)
    encoder: np.ndarray = field(repr=False)
    bias: np.ndarray = field(repr=False)
    decoder: np.ndarray = field(repr=False)
    centre: np.ndarray = field(repr=False)
    explained: float = 0.0
    mean_active: float = 0.0
    dead: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        """How many features there are."""
        return len(self.decoder)

    @property
    def directions(self) -> np.ndarray:
        """What each feature adds to the values themselves, of norm 1, (features, units)."""
        own = self.decoder * self.deviation
        return np.asarray(own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-30))

    def encode(self, trace: Trace) -> np.ndarray:
        """The activations at every step of a trace, (B, T, features); zero where padded."""
        values = trace[self.name]
        if values.shape[-1] != len(self.mean):
            raise InputError(
                f"these are features of {len(self.mean)} units, got {self.name!r} of "
                f"{values.shape[-1]}"
            )
        codes = self._encode(values.reshape(-1, len(self.mean))).reshape(*values.shape[:2], -1)
        return np.asarray(codes if trace.mask is None else codes * trace.mask[..., None])

    def explains(self, trace: Trace) -> float:
        """The share of the variance of a trace's units that the features account for."""
        return self._measure_explained(_get_values(trace, self.name))

    def top(self, trace: Trace, feature: int, count: int = 5, row: int = 0) -> list[Context]:
        """Where a feature is most active, at places apart; fewer where it is rarely active."""
        return Passage(trace, row).find_highest(
            self._get_activation(trace, feature, row), count, above=0.0
        )

    def find_spans(
        self, trace: Trace, feature: int, *, share: float = 0.25, count: int = 5, row: int = 0
    ) -> FeatureSpans:
        """When a feature is on, and what the gates do as it is written and erased.

        Arguments:
            trace: holds `name`; record ``"0.*"`` to see the gates as well.
            feature: which one.
            share: of its highest activation; it is on above.
            count: how many contexts of each kind.
            row: of the trace.
        """
        activation = self._get_activation(trace, feature, row)
        direction = self.directions[feature]
        return find_spans(trace, self.name, row, feature, activation, direction, share, count)

    life = find_spans

    def _get_activation(self, trace: Trace, feature: int, row: int) -> np.ndarray:
        if not 0 <= feature < len(self):
            raise InputError(f"there are features 0 to {len(self) - 1}, got {feature}")
        if not -trace.rows <= row < trace.rows:
            raise InputError(f"this trace has rows 0 to {trace.rows - 1}, got {row}")
        codes: np.ndarray = self.encode(trace)[row, :, feature]
        return codes if trace.mask is None else codes[trace.mask[row]]

    def _encode(self, values: np.ndarray) -> np.ndarray:
        """Values (N, units) -> activations (N, features)."""
        scaled = (values - self.mean) / self.deviation
        sums = np.maximum((scaled - self.centre) @ self.encoder + self.bias, 0)
        if self.active >= len(self):
            return np.asarray(sums)
        least = np.partition(sums, -self.active, axis=1)[:, -self.active, None]
        return np.asarray(np.where(sums >= least, sums, 0))

    def _measure_explained(self, values: np.ndarray) -> float:
        scaled = (values - self.mean) / self.deviation
        missed = scaled - self.centre - self._encode(values) @ self.decoder
        about = ((scaled - scaled.mean(axis=0)) ** 2).sum()
        return float(1 - (missed**2).sum() / about) if about > 0 else 1.0


def features(
    trace: Trace,
    name: str | None = None,
    *,
    size: int | None = None,
    active: int | None = None,
    steps: int = 1000,
    learning_rate: float = 3e-3,
    seed: int = 0,
) -> Features:
    """Learn a sparse autoencoder of a value: a unit may take part in many features, but few
    features are active at a step, so that each is easier to read than a unit. Needs torch.

    Arguments:
        trace: holds `name`; all of its rows are learned from.
        name: ``"0.h"``, ``"0.c"``; the memory of the first layer that has one.
        size: how many features; twice as many as units where not given.
        active: how many of them may be active at a step; an eighth of the units, and 4 at least.
        steps: of Adam, on batches of 512 steps of the trace.
        learning_rate: of Adam, falling to zero.
        seed: of the first directions, which are drawn from the values, and of the batches.

    Raises:
        InputError: an unknown name, sizes that make no sense, or fewer than 2 steps.
        MissingExtraError: torch is not installed.

    Example::

        trace = inspect.record(model, text, names="0.*")
        found = inspect.features(trace, "0.c")
        print(found.explained, found.top(trace, 17))
        found.find_spans(trace, 17).gates["0.i"]    # open where it is written?

    Source: Bricken et al., Towards monosemanticity, 2023; Cunningham et al., Sparse autoencoders
    find highly interpretable features in language models, 2023. The highest activations alone are
    kept, and dead features learn from the residual, as in Gao et al., Scaling and evaluating sparse
    autoencoders, 2024.
    """
    check_trace(trace)
    name = find_memory(trace) if name is None else name
    values = _get_values(trace, name)
    units = values.shape[1]
    size = 2 * units if size is None else check_whole_number("size", size)
    active = (
        min(size, max(4, units // 8)) if active is None else check_whole_number("active", active)
    )
    if active > size:
        raise InputError(f"at most all features can be active, got active={active}, size={size}")
    check_whole_number("steps", steps)
    mean, deviation = measure_scales(values)
    scaled = ((values - mean) / deviation).astype(np.float32)
    deviation = np.where(np.isinf(deviation), 1.0, deviation)
    learned = _train(scaled, size, active, steps, learning_rate, seed)
    found = Features(name, active, mean, deviation, **learned)
    codes = found._encode(values)
    return replace(
        found,
        explained=found._measure_explained(values),
        mean_active=float((codes > 0).sum(axis=1).mean()),
        dead=np.flatnonzero(~(codes > 0).any(axis=0)).tolist(),
    )


def _get_values(trace: Trace, name: str) -> np.ndarray:
    """Every step that is not padding, (N, units) float64."""
    values = trace[name]
    if values.ndim != 3:
        raise InputError(f"features are of (B, T, units), got {name!r} of {values.shape}")
    steps = values.reshape(-1, values.shape[-1]) if trace.mask is None else values[trace.mask]
    if len(steps) < 2:
        raise InputError(f"features take at least 2 steps, got {len(steps)}")
    return steps.astype(np.float64)


def _train(
    values: np.ndarray, size: int, active: int, steps: int, rate: float, seed: int
) -> dict[str, Any]:
    """Encoder, bias, decoder and centre, learned from standardised values (N, units)."""
    torch = require("torch", "train", "a sparse autoencoder")
    from statewise.train.setup import import_compiler

    import_compiler()
    rng = np.random.default_rng(seed)
    first = values[rng.integers(0, len(values), size)]
    first = first + 0.1 * rng.standard_normal(first.shape).astype(np.float32)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    data = torch.from_numpy(values)
    decoder = torch.from_numpy(first).requires_grad_()
    encoder = torch.from_numpy(first.T.copy()).requires_grad_()
    bias, centre = torch.zeros(size).requires_grad_(), torch.zeros(values.shape[1]).requires_grad_()
    weights = {"encoder": encoder, "bias": bias, "decoder": decoder, "centre": centre}
    adam = torch.optim.Adam(weights.values(), rate)
    idle = torch.zeros(size, dtype=torch.int64)

    def keep_highest(sums: Any) -> Any:
        best, where = sums.topk(active, dim=1)
        return torch.zeros_like(sums).scatter(1, where, best.relu())

    with limit_threads(), Progress("learning features", steps) as progress:
        for step in range(steps):
            adam.param_groups[0]["lr"] = rate * (1 - step / steps)
            batch = data[torch.from_numpy(rng.integers(0, len(data), min(_BATCH, len(data))))]
            sums = (batch - centre) @ encoder + bias
            codes = keep_highest(sums)
            missed = batch - centre - codes @ decoder
            loss = (missed**2).mean()
            idle = torch.where((codes > 0).any(dim=0), 0, idle + 1)
            dead = idle > _IDLE
            if dead.any():  # dead features learn what the others miss
                revived = keep_highest(sums.masked_fill(~dead, -torch.inf)) @ decoder
                loss = loss + ((missed.detach() - revived) ** 2).mean() / 32
            adam.zero_grad()
            loss.backward()
            adam.step()
            with torch.no_grad():
                decoder /= decoder.norm(dim=1, keepdim=True).clamp_min(1e-12)
            progress.update(step + 1)
    return {word: part.detach().numpy().astype(np.float64) for word, part in weights.items()}
