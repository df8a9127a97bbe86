"""The native kernels in torch: an operator with gradients, for float32 on the CPU.

`statewise::recurrent` runs one layer over a whole call, resets and lengths included, so that
`torch.compile` and `torch.export` see one operator. Its gradients are first order only; for
gradients of gradients build the model with ``executor="reference"``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from statewise import kernels
from statewise.architecture import Cell
from statewise.timeline import Timeline
from statewise.types import Fields, Parameters, Seen
from statewise.unroll import Fresh


def runs(cell: Cell, x: Tensor) -> bool:
    """Whether the kernels run this cell on these inputs."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and kernels.available()
        and kernels.kernel(cell) is not None
        and not torch.is_autocast_enabled("cpu")
    )


def whole(
    cell: Cell, p: Parameters, x: Tensor, s: Fields, when: Timeline, fresh: Fresh
) -> tuple[Tensor, Fields, Seen]:
    """A whole call of one layer, see `statewise.unroll.Run`."""
    start = fresh() if when.reset is not None else {}
    inputs = [x, s["h"], s.get("c"), p["W"], p["R"], p["b"], p.get("m")]
    inputs += [start.get("h"), start.get("c")]
    tensors = [None if tensor is None else tensor.contiguous() for tensor in inputs]
    reset = None if when.reset_steps is None else torch.from_numpy(when.reset_steps)
    lengths = None if when.lengths is None else torch.from_numpy(when.lengths)
    save = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    name = kernels.kernel(cell)
    y, h, c, _, _ = recurrent(*tensors, reset, lengths, name, save)
    return y, {"h": h, "c": c} if "c" in s else {"h": h}, {}


@torch.library.custom_op("statewise::recurrent", mutates_args=())
def recurrent(
    x: Tensor,
    h: Tensor,
    c: Tensor | None,
    W: Tensor,
    R: Tensor,
    b: Tensor,
    m: Tensor | None,
    h_init: Tensor | None,
    c_init: Tensor | None,
    reset: Tensor | None,
    lengths: Tensor | None,
    kernel: str,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """One layer over a call: y, the final h and c, and what backward needs.

    Arguments:
        x: inputs (B, T, F).
        h, c: the state before, (B, H); c for LSTM.
        W, R, b, m: the parameters as in `statewise.cells`; m for GRU with the reset after.
        h_init, c_init: what a reset returns to, (B, H); zeros where not given.
        reset: (B, T) bool, or None.
        lengths: (B,) int64, or None.
        kernel: a name from `statewise.kernels.kernel`.
        save: fill the last two results.
    """
    packed = _layer(kernel, W, R, b, m, backward=False)
    arrays = [x, h, c, reset, h_init, c_init, lengths]
    made = packed.forward(*map(_numpy, arrays), save)
    return tuple(x.new_empty(0) if array is None else torch.from_numpy(array) for array in made)  # type: ignore[return-value]


@recurrent.register_fake
def _(
    x: Tensor, h: Tensor, c: Tensor | None, W: Tensor, R: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    *_, kernel, save = rest
    rows, steps, units = x.shape[0], x.shape[1], R.shape[1]
    nothing = x.new_empty(0)
    y = x.new_empty((rows, steps, units))
    gates = x.new_empty((rows * steps, kernels.stride(kernel, units))) if save else nothing
    cells = torch.empty_like(y) if save and c is not None else nothing
    last = nothing if c is None else torch.empty_like(h)
    return y, torch.empty_like(h), last, gates, cells


@torch.library.custom_op("statewise::recurrent_backward", mutates_args=())
def recurrent_backward(
    x: Tensor,
    h: Tensor,
    c: Tensor | None,
    W: Tensor,
    R: Tensor,
    b: Tensor,
    m: Tensor | None,
    h_init: Tensor | None,
    c_init: Tensor | None,
    reset: Tensor | None,
    lengths: Tensor | None,
    kernel: str,
    inputs: bool,
    y: Tensor,
    gates: Tensor,
    cells: Tensor,
    dy: Tensor | None,
    dh: Tensor | None,
    dc: Tensor | None,
) -> list[Tensor]:
    """Gradients of x, W, R, b, m, h, c, h_init and c_init, empty where there is none."""
    packed = _layer(kernel, W, R, b, m, backward=True)
    arrays = [x, h, c, reset, h_init, c_init, lengths, y, gates]
    arrays += [None if c is None else cells, dy, dh, None if c is None else dc]
    made = packed.backward(*map(_numpy, arrays), inputs)
    return [x.new_empty(0) if array is None else torch.from_numpy(array) for array in made]


@recurrent_backward.register_fake
def _(*given: Any) -> list[Tensor]:
    x, h, c, W, R, b, m, _, _, reset, _, _, inputs, *_ = given

    def like(tensor: Tensor | None, wanted: bool = True) -> Tensor:
        return torch.empty_like(tensor) if tensor is not None and wanted else x.new_empty(0)

    resets = reset is not None
    weights = [like(W), like(R), like(b), like(m)]
    return [like(x, inputs), *weights, like(h), like(c), like(h, resets), like(c, resets)]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.kernel, _ = inputs
    y, _, _, gates, cells = output
    ctx.save_for_backward(*tensors, y, gates, cells)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, dy: Any, dh: Any, dc: Any, *_: Any) -> tuple[Tensor | None, ...]:
    *tensors, y, gates, cells = ctx.saved_tensors
    given = [None if g is None else g.contiguous() for g in (dy, dh, dc)]
    dx, dW, dR, db, dm, dh0, dc0, dh_init, dc_init = recurrent_backward(
        *tensors, ctx.kernel, ctx.needs_input_grad[0], y, gates, cells, *given
    )
    gradients = (dx, dh0, dc0, dW, dR, db, dm, dh_init, dc_init)
    wanted = [
        gradient if needed else None
        for gradient, needed in zip(gradients, ctx.needs_input_grad, strict=False)
    ]
    return (*wanted, None, None, None, None)


recurrent.register_autograd(_backward, setup_context=_setup)


def _numpy(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().numpy()


def _layer(kernel: str, W: Tensor, R: Tensor, b: Tensor, m: Tensor | None, backward: bool) -> Any:
    # Packed anew at every call: a weight can change in ways that torch does not count.
    arrays = [_numpy(tensor) for tensor in (W, R, b, m)]
    return kernels.native().Layer(
        kernel, W.shape[1], R.shape[1], *arrays, half=False, backward=backward
    )
