"""`Replay`: the intermediates of a fast run, computed afterwards from its outputs.

Native kernels leave behind what they computed; those of torch give outputs alone. Once the outputs
of a whole call are known, so is the h before every step, and the cell's own step gives the values
of all steps at once, as if they were rows of a batch. Only the cell state of the LSTM is a
recurrence still, an elementwise one.
"""

from __future__ import annotations

from statewise.cell import Cell
from statewise.stepping import run_step
from statewise.timeline import Timeline
from statewise.types import Array, Fields, Intermediates, Parameters, array_namespace
from statewise.unroll import MakeInitial, Run, unroll


class Replay(Run):
    """A run that keeps the intermediates: where the fast way does not, it runs all the same, and
    they are computed afterwards. Cells that cannot be replayed are run as without this.

    Arguments:
        fast: the fast way.
    """

    def __init__(self, fast: Run) -> None:
        self._fast = fast

    def __call__(
        self, cell: Cell, p: Parameters, x: Array, s: Fields, capturing: bool
    ) -> tuple[Array, Fields, Intermediates]:
        return self._fast(cell, p, x, s, capturing)

    def whole(
        self,
        cell: Cell,
        p: Parameters,
        x: Array,
        s: Fields,
        timeline: Timeline,
        make_initial: MakeInitial,
        capturing: bool,
    ) -> tuple[Array, Fields, Intermediates] | None:
        done = self._fast.whole(cell, p, x, s, timeline, make_initial, capturing)
        can = cell.declares("replays") and cell.replays
        if done is not None or not capturing or not can or 0 in x.shape:
            return done
        if any(array.dtype != x.dtype for array in s.values()):
            return None
        y, after, _ = unroll(cell, p, x, s, timeline, make_initial, self._fast)
        initial = make_initial() if timeline.reset is not None else {}
        return y, after, replay(cell, p, x, y, s, initial, timeline)


def replay(
    cell: Cell,
    p: Parameters,
    x: Array,
    y: Array,
    s: Fields,
    initial: Fields,
    timeline: Timeline,
) -> Intermediates:
    """The intermediates of a call from its outputs, see `Cell.replays`.

    Arguments:
        x, y: inputs and outputs, (B, T, ...).
        s: the state before the call.
        initial: what a reset returns to; empty where there is none.
        timeline: the resets and lengths of the call.

    Returns:
        name -> (B, T, units), undefined where padded.
    """
    xp = array_namespace(x)
    rows, steps = x.shape[:2]

    def flatten(array: Array) -> Array:
        return xp.reshape(array, (rows * steps, *array.shape[2:]))

    before = {"h": flatten(_shift(y, s["h"], initial.get("h"), timeline))}
    others = {name: array for name, array in s.items() if name != "h"}
    for name, array in others.items():
        shape = (rows * steps, *array.shape[1:])
        before[name] = xp.zeros(shape, dtype=array.dtype, device=array.device)
    _, written, flat = run_step(cell, p, flatten(x), before)
    values = {name: xp.reshape(v, (rows, steps, *v.shape[1:])) for name, v in flat.items()}
    for name, array in others.items():
        kept = values[cell.keep_gates[name]]
        start = initial.get(name)
        values[name] = _accumulate(
            kept, xp.reshape(written[name], kept.shape), array, start, timeline
        )
    return {**values, "h": y}


def _shift(y: Array, first: Array, start: Array | None, timeline: Timeline) -> Array:
    """The values before every step: those after the step before, or the start after a reset."""
    xp = array_namespace(y)
    before = xp.concat([first[:, None], y[:, :-1]], axis=1)
    if start is None:
        return before
    return xp.where(timeline.send(timeline.reset)[..., None], start[:, None], before)  # type: ignore[arg-type]


def _accumulate(
    f: Array, written: Array, first: Array, start: Array | None, timeline: Timeline
) -> Array:
    """Over all steps c' = f c + written, in about 2 sqrt(T) elementwise operations.

    The steps are cut into pieces of equal length. All pieces advance side by side as if they began
    with zero, then each in its turn receives what the one before it left.
    """
    xp = array_namespace(f)
    if start is not None:  # what came before a reset does not count: c' = 0 c + (f start + written)
        reset = timeline.send(timeline.reset)[..., None]  # type: ignore[arg-type]
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
    products, sums = [f[:, :, 0]], [written[:, :, 0]]
    for k in range(1, length):
        products.append(products[-1] * f[:, :, k])
        sums.append(sums[-1] * f[:, :, k] + written[:, :, k])
    entering = [first]
    for piece in range(pieces - 1):
        entering.append(products[-1][:, piece] * entering[-1] + sums[-1][:, piece])
    carried = xp.stack(entering, axis=1)[:, :, None]  # (B, pieces, 1, units)
    c = xp.stack(sums, axis=2) + xp.stack(products, axis=2) * carried
    return xp.reshape(c, (rows, pieces * length, units))[:, :steps]
