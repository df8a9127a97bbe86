"""`horizon`: how long a state remembers, as its gates claim and as it does"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from statewise.capture import Capture
from statewise.cells import Elman, Residual
from statewise.errors import InputError
from statewise.inspect.backward import as_float64, float64_reference, state_as_float64
from statewise.inspect.editing import check_editable
from statewise.inspect.recording import executor_of, shapes
from statewise.inspect.subject import find_memory, read_inputs, suggest
from statewise.program import Executor
from statewise.state import State
from statewise.stepping import run_step
from statewise.timeline import build_timeline
from statewise.types import Array, Fields, Intermediates, Parameters
from statewise.unroll import embed, unroll


@dataclass(frozen=True)
class Horizon:
    """What `horizon` measured. Row k of an array is k steps after a unit was nudged.

    Attributes:
        name, units: what was nudged.
        actual: (lags + 1, units): how far the whole of `name` has moved k steps later, for a small
            nudge of one unit: the norm of that column of the Jacobian.
        claimed: (lags + 1, units): what the gates alone say: the product of the forget gates of an
            LSTM, of the update gates of a GRU, the power of R of an Elman; None for other cells.
    """

    name: str
    units: list[int]
    actual: np.ndarray
    claimed: np.ndarray | None

    @property
    def lags(self) -> int:
        """The longest time looked at."""
        return len(self.actual) - 1

    def curves(self) -> dict[str, np.ndarray]:
        """``"actual"`` and ``"claimed"`` over the lags, (lags + 1,): root mean square of units."""
        known = {"actual": self.actual, "claimed": self.claimed}
        return {
            word: np.sqrt((values**2).mean(axis=1))
            for word, values in known.items()
            if values is not None
        }

    def steps(self, share: float = 1 / math.e) -> dict[str, np.ndarray]:
        """For each unit the first lag at which less than a share is left, (units,); `lags` + 1
        where it never falls so low.
        """
        known = {"actual": self.actual, "claimed": self.claimed}
        return {
            word: np.where(
                (values < share).any(axis=0), (values < share).argmax(axis=0), len(values)
            )
            for word, values in known.items()
            if values is not None
        }

    def plot(
        self,
        *,
        path: str | Path | None = None,
        axes: Any = None,
        label: str | None = None,
        only: str | None = None,
    ) -> Any:
        """What is left of a nudge, lag by lag: a still by matplotlib.

        Arguments:
            path: also written there, as PNG, SVG or PDF by its ending.
            axes: matplotlib's, to draw several into one picture.
            label: put before the name of each curve.
            only: ``"actual"`` or ``"claimed"``; both where not given.

        Returns:
            a matplotlib ``Figure``.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        from statewise.inspect.curves import plot_horizon

        units = {"actual": self.actual}
        if self.claimed is not None:
            units["claimed"] = self.claimed
        return plot_horizon(
            self.name, self.curves(), units, path=path, axes=axes, label=label, only=only
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and numbers."""
        curves = {word: curve.tolist() for word, curve in self.curves().items()}
        steps = {word: each.tolist() for word, each in self.steps().items()}
        return {"name": self.name, "units": self.units, "curves": curves, "steps": steps}

    def __str__(self) -> str:
        curves = self.curves()
        lags = [0, *(2**k for k in range(self.lags.bit_length()) if 2**k <= self.lags)]
        lines = [f"what is left of a nudge of {self.name} after k steps", "k".rjust(6)]
        lines[1] += "".join(word.rjust(12) for word in curves)
        lines += [
            f"{k:6}" + "".join(f"{curve[k]:12.3g}" for curve in curves.values()) for k in lags
        ]
        for word, each in self.steps().items():
            longest = int(each.argmax())
            lines.append(
                f"{word}: half of the units keep a third for {int(np.median(each))} steps, unit "
                f"{self.units[longest]} for {_at_least(int(each[longest]), self.lags)}"
            )
        return "\n".join(lines)


def horizon(
    model: Any,
    x: Any,
    name: str | None = None,
    *,
    lags: int = 64,
    starts: int = 4,
    units: Sequence[int] | None = None,
    row: int = 0,
    state: State | None = None,
    unknown: str = "error",
) -> Horizon:
    """How long a nudge of a unit is felt in its layer, on real inputs: claimed against actual.

    Each unit is nudged at several steps, with all that follows in that step and after; the inputs
    of the layer stay as they are. The mean over those steps is given. In float64, and exact: the
    derivatives are carried forward through the cell's own equations. Takes torch.

    Arguments:
        model: of `statewise.nn`, of `statewise.load`, or a model of text.
        x: as for `record`; one row of it is looked at.
        name: a field of the state, such as ``"0.c"``; the memory of the first layer that has one.
        lags: how many steps to follow; fewer where the inputs are shorter.
        starts: at how many steps to nudge, evenly spread.
        units: which to nudge; all where not given.
        row, state, unknown: which row; where to go on from; as for `record`.

    Raises:
        InputError: a name that is no field of the state, or fewer than two steps.
        MissingExtraError: torch is not installed.

    Example::

        print(inspect.horizon(model, x, "0.c"))
    """
    same = float64_reference(model)
    name = find_memory(shapes(model)) if name is None else name
    inputs = as_float64(read_inputs(model, x, unknown)[0])[row : row + 1]
    executor = executor_of(same)
    index, own = _place(executor, name, shapes(model))
    check_editable(executor, index, [own])
    cell, p = executor.cells[index], executor.params[str(index)]
    entering, states, gates = _followed(executor, inputs, state_as_float64(state, model), index)
    steps = len(states)
    if steps < 2:
        raise InputError(f"a horizon needs at least 2 steps, got {steps}")
    lags = min(lags, steps - 1)
    width = states[0][own].shape[-1]
    chosen = list(range(width)) if units is None else [int(unit) for unit in units]
    if not all(0 <= unit < width for unit in chosen):
        raise InputError(f"{name!r} has units 0 to {width - 1}, got {chosen}")
    at = np.unique(np.linspace(0, steps - 1 - lags, max(1, starts)).round().astype(int))

    def found(values: Sequence[Any], k: int) -> Any:
        """What was there k steps after each start, a row each."""
        import torch

        return torch.stack([values[t + k] for t in at])

    def entered(k: int) -> Fields:
        return {field: found([one[field] for one in states], k) for field in states[0]}

    eye = _eye(width)[chosen][:, None].expand(-1, len(at), -1)  # (nudged, starts, units)

    def nudged(by: Array) -> Fields:
        def nudge(word: str, value: Array) -> Array:
            return value + by if word == own else value

        return _floats(run_step(cell, p, found(entering, 0), entered(0), Capture(nudge))[1])

    moved = _derivatives(nudged, 0 * eye[0], eye)
    actual = [_norms(moved[own])]
    for k in range(1, lags + 1):
        now, s = found(entering, k), entered(k)

        def advanced(floats: Fields, now: Any = now, s: Fields = s) -> Fields:
            return _floats(run_step(cell, p, now, {**s, **floats})[1])

        moved = _derivatives(advanced, _floats(s), moved)
        actual.append(_norms(moved[own]))
    claimed = _claimed(cell, p, own, gates, at, lags)
    left = None if claimed is None else claimed[:, chosen]
    return Horizon(name, chosen, np.stack(actual), left)


def _floats(s: Fields) -> Fields:
    """The fields that have derivatives."""
    return {name: value for name, value in s.items() if value.is_floating_point()}


def _derivatives(work: Any, at: Any, along: Any) -> Any:
    """A function's derivatives in many directions, which are the first axis of `along`."""
    with warnings.catch_warnings():  # torch warns of a part of its own that it uses here
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch.func import jvp, vmap

        return vmap(lambda direction: jvp(work, (at,), (direction,))[1])(along)


def _place(executor: Executor, name: str, known: Any) -> tuple[int, str]:
    layer, _, own = name.partition(".")
    fields = executor.architecture.fields
    if name not in fields or name not in known or fields[name].kind == "integer":
        can = [one for one in fields if one in known]
        raise InputError(
            f"{name!r} is no field of the state that is seen{suggest(name, can)} "
            f"There are {', '.join(can) or 'none'}"
        )
    if not executor.cells[int(layer)].causal:
        raise InputError(f"layer {layer} reads in both directions, so it has no horizon")
    return int(layer), own


def _followed(
    executor: Executor, x: Any, state: State | None, index: int
) -> tuple[list[Any], list[dict[str, Any]], list[Intermediates]]:
    """Step by step: what enters a layer (F,), its state before (units,), and the intermediates."""
    import torch

    state = executor.initial_state(1) if state is None else executor.admit_state(state, 1)
    make_initial, layers = executor.make_initial(None, 1), executor.split_state(state)
    when = build_timeline(1, int(x.shape[1]), None, None, executor.like)
    with torch.no_grad():
        y = embed(executor.architecture, executor.params, x)
        for k in range(index):
            part = executor.params[str(k)]
            y, _, _ = unroll(executor.cells[k], part, y, layers[k], when, make_initial[k])
        s, states, intermediates = layers[index], [], []
        for t in range(y.shape[1]):
            states.append({name: value[0].detach() for name, value in s.items()})
            _, s, view = run_step(executor.cells[index], executor.params[str(index)], y[:, t], s)
            intermediates.append({name: value[0] for name, value in view.items()})
    return list(y[0]), states, intermediates


def _claimed(
    cell: Any,
    p: Parameters,
    own: str,
    intermediates: list[Intermediates],
    at: np.ndarray,
    lags: int,
) -> np.ndarray | None:
    gate = cell.keep_gates.get(own)
    if gate in intermediates[0]:
        kept = np.stack([one[gate].numpy() for one in intermediates])
        after = np.stack([kept[t + 1 : t + 1 + lags] for t in at])  # (starts, lags, units)
        products = np.cumprod(after, axis=1).mean(axis=0)
        return np.concatenate([np.ones_like(products[:1]), products])
    while isinstance(cell, Residual):
        cell = cell.inner
    if type(cell) is not Elman:
        return None
    R = p["R"].detach().numpy()
    powers = [np.eye(len(R))]
    for _ in range(lags):
        powers.append(R @ powers[-1])
    return np.stack([np.linalg.norm(power, axis=0) for power in powers])


def _norms(moved: Any) -> np.ndarray:
    """(nudged, starts, width) -> the mean over the starts of each one's norm, (nudged,)."""
    return np.asarray(moved.detach().norm(dim=-1).mean(dim=-1).numpy())


def _eye(width: int) -> Any:
    import torch

    return torch.eye(width, dtype=torch.float64)


def _at_least(steps: int, lags: int) -> str:
    return f"more than {lags}" if steps > lags else str(steps)
