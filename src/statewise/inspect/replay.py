"""`Replay`: the intermediates a fast run, computed afterwards from its outputs.

Native kernels show what they computed; those of torch give outputs alone. Once the outputs of a
whole call are known, so is the h before every step, and the gates of all steps are one product of
matrices away. Only the cell state of the LSTM is a recurrence still, an elementwise one.
"""

from __future__ import annotations

from collections.abc import Callable

from statewise.cell import Cell
from statewise.cells import GRU, LSTM, Elman
from statewise.cells.activations import ACTIVATIONS
from statewise.timeline import Timeline
from statewise.types import Array, Fields, Intermediates, Parameters, array_namespace
from statewise.unroll import Fresh, Run, unroll


class Replay:
    """A run that sees: where the fast way does not, it runs all the same, and the gates are
    computed afterwards.

    Cells without a replay are run as they would be without this.

    Arguments:
        run: the fast way.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def __call__(
        self, cell: Cell, p: Parameters, x: Array, s: Fields, capturing: bool
    ) -> tuple[Array, Fields, Intermediates]:
        return self._run(cell, p, x, s, capturing)

    def whole(
        self,
        cell: Cell,
        p: Parameters,
        x: Array,
        s: Fields,
        when: Timeline,
        fresh: Fresh,
        capturing: bool,
    ) -> tuple[Array, Fields, Intermediates] | None:
        """A whole call of one layer, or None where it is run segment by segment."""
        fast = getattr(self._run, "whole", None)
        done = None if fast is None else fast(cell, p, x, s, when, fresh, capturing)
        replay = _find(cell) if capturing and done is None else None
        if replay is None or 0 in x.shape or any(a.dtype != x.dtype for a in s.values()):
            return done
        y, after, _ = unroll(cell, p, x, s, when, fresh, self._run)
        return y, after, replay(cell, p, x, y, s, when, fresh)


def _find(cell: Cell) -> Callable[..., Intermediates] | None:
    """A subclass may have other equations, so only the classes themselves count."""
    if type(cell) is LSTM:
        special = cell.peepholes or cell.coupled or cell.layer_norm
        return None if special else _lstm
    if type(cell) is GRU:
        return _gru
    return _elman if type(cell) is Elman else None


def _lstm(
    cell: LSTM, p: Parameters, x: Array, y: Array, s: Fields, when: Timeline, fresh: Fresh
) -> Intermediates:
    squash, gate = ACTIVATIONS[cell.activation], ACTIVATIONS[cell.recurrent_activation]
    start = _starts(when, fresh)
    sums = x @ p["W"].T + _before(y, s["h"], start.get("h"), when) @ p["R"].T + p["b"]
    part = [sums[..., k * cell.units : (k + 1) * cell.units] for k in range(4)]
    i, f, g, o = gate(part[0]), gate(part[1]), squash(part[2]), gate(part[3])
    c = _cell_path(f, i * g, s["c"], start.get("c"), when)
    return {"i": i, "f": f, "g": g, "o": o, "c": c, "h": y}


def _gru(
    cell: GRU, p: Parameters, x: Array, y: Array, s: Fields, when: Timeline, fresh: Fresh
) -> Intermediates:
    squash, gate = ACTIVATIONS[cell.activation], ACTIVATIONS[cell.recurrent_activation]
    units = cell.units
    h = _before(y, s["h"], _starts(when, fresh).get("h"), when)
    from_x = x @ p["W"].T + p["b"]
    if cell.reset == "after":
        from_h = h @ p["R"].T
        gates = gate(from_x[..., : 2 * units] + from_h[..., : 2 * units])
        r, z = gates[..., :units], gates[..., units:]
        remembered = r * (from_h[..., 2 * units :] + p["m"])
    else:
        gates = gate(from_x[..., : 2 * units] + h @ p["R"][: 2 * units].T)
        r, z = gates[..., :units], gates[..., units:]
        remembered = (r * h) @ p["R"][2 * units :].T
    return {"r": r, "z": z, "n": squash(from_x[..., 2 * units :] + remembered), "h": y}


def _elman(
    _: Elman, p: Parameters, x: Array, y: Array, s: Fields, when: Timeline, fresh: Fresh
) -> Intermediates:
    h = _before(y, s["h"], _starts(when, fresh).get("h"), when)
    return {"a": x @ p["W"].T + h @ p["R"].T + p["b"], "h": y}


def _starts(when: Timeline, fresh: Fresh) -> Fields:
    return fresh() if when.reset is not None else {}


def _before(y: Array, first: Array, start: Array | None, when: Timeline) -> Array:
    """The values before every step: those after the step before, or the start after a reset."""
    xp = array_namespace(y)
    before = xp.concat([first[:, None], y[:, :-1]], axis=1)
    if start is None:
        return before
    return xp.where(when.send(when.reset)[..., None], start[:, None], before)  # type: ignore[arg-type]


def _cell_path(
    f: Array, written: Array, first: Array, start: Array | None, when: Timeline
) -> Array:
    """Over all steps c' = f c + written, in about 2 sqrt(T) elementwise operations.

    The steps are cut into pieces of equal length. All pieces advance side by side as if they began
    with zero, then each in its turn receives what the one before it left.
    """
    xp = array_namespace(f)
    if start is not None:  # what came before a reset does not count: c' = 0 c + (f start + written)
        reset = when.send(when.reset)[..., None]  # type: ignore[arg-type]
        written = xp.where(reset, f * start[:, None] + written, written)
        f = xp.where(reset, xp.zeros_like(f), f)
    rows, steps, units = f.shape
    length = max(1, round(steps**0.5))
    pieces = -(-steps // length)
    missing = pieces * length - steps
    if missing:
        rest = xp.zeros_like(f[:, :1])
        rest = xp.broadcast_to(rest, (rows, missing, units))
        f, written = xp.concat([f, rest], axis=1), xp.concat([written, rest], axis=1)
    f = xp.reshape(f, (rows, pieces, length, units))
    written = xp.reshape(written, (rows, pieces, length, units))
    kept, alone = [f[:, :, 0]], [written[:, :, 0]]
    for k in range(1, length):
        kept.append(kept[-1] * f[:, :, k])
        alone.append(alone[-1] * f[:, :, k] + written[:, :, k])
    entering = [first]
    for piece in range(pieces - 1):
        entering.append(kept[-1][:, piece] * entering[-1] + alone[-1][:, piece])
    carried = xp.stack(entering, axis=1)[:, :, None]  # (B, pieces, 1, units)
    c = xp.stack(alone, axis=2) + xp.stack(kept, axis=2) * carried
    return xp.reshape(c, (rows, pieces * length, units))[:, :steps]
