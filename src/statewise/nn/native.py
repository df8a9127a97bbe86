"""The native kernels in torch: an operator with gradients, for float32 on the CPU.

`statewise::recurrent` runs one layer over a whole call, resets and lengths included, so that
`torch.compile` and `torch.export` see one operator. Its gradients are first order only; for
gradients of gradients build the model with ``executor="reference"``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from statewise import kernels
from statewise.cell import Cell
from statewise.timeline import Timeline
from statewise.types import Fields, Intermediates, Parameters
from statewise.unroll import MakeInitial


def runs(cell: Cell, x: Tensor) -> bool:
    """Whether the kernels run this cell on these inputs."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and kernels.is_available()
        and kernels.kernel_name(cell) is not None
        and not torch.is_autocast_enabled("cpu")
    )


def whole(
    cell: Cell,
    p: Parameters,
    x: Tensor,
    s: Fields,
    timeline: Timeline,
    make_initial: MakeInitial,
    capturing: bool,
) -> tuple[Tensor, Fields, Intermediates] | None:
    """A whole call of one layer, see `statewise.unroll.Run`.

    None where a gradient of the intermediates may be wanted: the operator has that of its outputs
    alone.
    """
    initial = make_initial() if timeline.reset is not None else {}
    inputs = [x, s["h"], s.get("c"), *_weights(p)]
    inputs += [initial.get("h"), initial.get("c")]
    tensors = [None if tensor is None else tensor.contiguous() for tensor in inputs]
    reset = None if timeline.reset_steps is None else torch.as_tensor(timeline.reset_steps)
    lengths = None if timeline.lengths is None else torch.as_tensor(timeline.lengths)
    followed = _followed(tensors)
    if capturing and followed:
        return None
    run: Any = _Recurrent.apply if followed else _forward
    if torch.compiler.is_compiling() or not _plain(tensors):
        run = recurrent
    y, h, c, *saved = run(
        *tensors, reset, lengths, kernels.kernel_name(cell), followed or capturing
    )
    if "c" not in s:
        return y, {"h": h}, kernels.view_intermediates(cell, y, saved[0]) if capturing else {}
    return y, {"h": h, "c": c}, kernels.view_intermediates(cell, y, *saved) if capturing else {}


def one_step(
    cell: Cell, p: Parameters, x: Tensor, s: Fields
) -> tuple[Tensor, Fields, Intermediates] | None:
    """One step of one layer, x (B, F), or None where a gradient or a graph of it is wanted."""
    inputs = [x[:, None], s["h"], s.get("c"), *_weights(p)]
    if torch.compiler.is_compiling() or not _plain(inputs) or _followed(inputs):
        return None
    tensors = [None if tensor is None else tensor.contiguous() for tensor in inputs]
    run: Any = _forward
    y, h, c, *_ = run(*tensors, None, None, None, None, kernels.kernel_name(cell), False)
    return y[:, 0], {"h": h} if c is None else {"h": h, "c": c}, {}


def _weights(p: Parameters) -> list[Tensor | None]:
    """A layer's parameters in the order of the operator's arguments."""
    return [p["W"], p["R"], p["b"], p.get("m"), p.get("p")]


def _followed(tensors: Sequence[Tensor | None]) -> bool:
    """Whether autograd follows what is computed from these."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


@torch.library.custom_op("statewise::recurrent", mutates_args=())
def recurrent(
    x: Tensor,
    h: Tensor,
    c: Tensor | None,
    W: Tensor,
    R: Tensor,
    b: Tensor,
    m: Tensor | None,
    p: Tensor | None,
    h_initial: Tensor | None,
    c_initial: Tensor | None,
    reset: Tensor | None,
    lengths: Tensor | None,
    kernel: str,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """One layer over a call: y, the final h and c, and what backward needs.

    Arguments:
        x: inputs (B, T, F).
        h, c: the state before, (B, H); c for LSTM.
        W, R, b, m, p: the parameters as in `statewise.cells`; m for GRU with the reset after, p for
            LSTM with peepholes.
        h_initial, c_initial: what a reset returns to, (B, H); zeros where not given.
        reset: (B, T) bool, or None.
        lengths: (B,) int64, or None.
        kernel: a name from `statewise.kernels.kernel_name`.
        save: fill the last two results.
    """
    made = _forward(x, h, c, W, R, b, m, p, h_initial, c_initial, reset, lengths, kernel, save)
    return tuple(x.new_empty(0) if tensor is None else tensor for tensor in made)  # type: ignore[return-value]


@recurrent.register_fake
def _(
    x: Tensor, h: Tensor, c: Tensor | None, _W: Tensor, R: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    *_, kernel, save = rest
    rows, steps, units = x.shape[0], x.shape[1], R.shape[1]

    def nothing() -> Tensor:
        return x.new_empty(0)

    y = x.new_empty((rows, steps, units))
    gates = x.new_empty((steps, rows, kernels.gates_width(kernel, units))) if save else nothing()
    cells = x.new_empty((steps, rows, units)) if save and c is not None else nothing()
    last = nothing() if c is None else torch.empty_like(h)
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
    p: Tensor | None,
    h_initial: Tensor | None,
    c_initial: Tensor | None,
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
    """Gradients of x, W, R, b, m, p, h, c, h_initial and c_initial, empty where there is none."""
    tensors = (x, h, c, W, R, b, m, p, h_initial, c_initial, reset, lengths)
    made = _backward(tensors, kernel, inputs, y, gates, cells, dy, dh, dc)
    return [x.new_empty(0) if array is None else torch.from_numpy(array) for array in made]


@recurrent_backward.register_fake
def _(*given: Any) -> list[Tensor]:
    x, h, c, W, R, b, m, p, _, _, reset, _, _, inputs, *_ = given

    def like(tensor: Tensor | None, wanted: bool = True) -> Tensor:
        return torch.empty_like(tensor) if tensor is not None and wanted else x.new_empty(0)

    resets = reset is not None
    weights = [like(W), like(R), like(b), like(m), like(p)]
    return [like(x, inputs), *weights, like(h), like(c), like(h, resets), like(c, resets)]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.kernel, _ = inputs
    y, _, _, gates, cells = output
    ctx.save_for_backward(*tensors, y, gates, cells)
    ctx.set_materialize_grads(False)


def _operator_backward(ctx: Any, dy: Any, dh: Any, dc: Any, *_: Any) -> tuple[Any, ...]:
    *tensors, y, gates, cells = ctx.saved_tensors
    needed = ctx.needs_input_grad
    made = recurrent_backward(*tensors, ctx.kernel, needed[0], y, gates, cells, *_dense(dy, dh, dc))
    return _arranged(made, needed)


recurrent.register_autograd(_operator_backward, setup_context=_setup)


class _Recurrent(torch.autograd.Function):
    """The same without the operator's dispatch, which takes longer than a small layer does."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Any, ...]:
        *tensors, kernel, _ = given
        y, h, c, gates, cells = _forward(*given)
        ctx.kernel = kernel
        ctx.save_for_backward(*tensors, y, gates, cells)
        ctx.set_materialize_grads(False)
        return y, h, c

    @staticmethod
    def backward(ctx: Any, dy: Any, dh: Any, dc: Any) -> tuple[Any, ...]:
        # the guard, for whoever wants gradients of gradients, takes longer than a small layer does
        return (_once if torch.is_grad_enabled() else _gradients)(ctx, dy, dh, dc)


def _gradients(ctx: Any, dy: Any, dh: Any, dc: Any) -> tuple[Any, ...]:
    *tensors, y, gates, cells = ctx.saved_tensors
    needed = ctx.needs_input_grad
    made = _backward(tensors, ctx.kernel, needed[0], y, gates, cells, *_dense(dy, dh, dc))
    return tuple(map(_tensor, _arranged(made, needed)))


_once = torch.autograd.function.once_differentiable(_gradients)


def _plain(tensors: Sequence[Tensor | None]) -> bool:
    """No subclasses, such as those that stand for tensors while a model is traced."""
    return all(t is None or type(t) in (Tensor, torch.nn.Parameter) for t in tensors)


def _forward(
    x: Tensor,
    h: Tensor,
    c: Tensor | None,
    W: Tensor,
    R: Tensor,
    b: Tensor,
    m: Tensor | None,
    p: Tensor | None,
    h_initial: Tensor | None,
    c_initial: Tensor | None,
    reset: Tensor | None,
    lengths: Tensor | None,
    kernel: str,
    save: bool,
) -> list[Tensor | None]:
    packed = _layer(kernel, W, R, b, m, p)
    made = packed.forward(*map(_numpy, (x, h, c, reset, h_initial, c_initial, lengths)), save)
    return [_tensor(array) for array in made]


def _backward(
    tensors: Sequence[Tensor | None],
    kernel: str,
    inputs: bool,
    y: Tensor,
    gates: Tensor,
    cells: Tensor | None,
    *gradients: Tensor | None,
) -> list[Any]:
    """Gradients of x, W, R, b, m, p, h, c, h_initial, c_initial; None where there is none."""
    x, h, c, W, R, b, m, p, h_initial, c_initial, reset, lengths = tensors
    dy, dh, dc = gradients
    if c is None:
        cells = dc = None
    packed = _layer(kernel, W, R, b, m, p, backward=True, toward_inputs=inputs)
    arrays = [x, h, c, reset, h_initial, c_initial, lengths, y, gates, cells, dy, dh, dc]
    return packed.backward(*map(_numpy, arrays), inputs)  # type: ignore[no-any-return]


def _dense(dy: Tensor | None, *others: Tensor | None) -> list[Tensor | None]:
    """Gradients as the kernels read them: dy with rows and steps in any order, or one number."""
    if dy is not None:
        strides = dy.stride()
        dy = dy if strides[2] == 1 or not any(strides) else dy.contiguous()
    return [dy, *(None if gradient is None else gradient.contiguous() for gradient in others)]


def _arranged(made: Sequence[Any], needed: Sequence[bool]) -> tuple[Any, ...]:
    """Gradients in the order of the operator's arguments, None where they are not needed."""
    dx, dW, dR, db, dm, dp, dh, dc, dh_initial, dc_initial = made
    gradients = (dx, dh, dc, dW, dR, db, dm, dp, dh_initial, dc_initial)
    wanted = [g if need else None for g, need in zip(gradients, needed, strict=False)]
    return (*wanted, None, None, None, None)


def _numpy(tensor: Tensor | None) -> Any:
    if tensor is None:
        return None
    return (tensor.detach() if tensor.requires_grad else tensor).numpy()


def _tensor(array: Any) -> Tensor | None:
    return None if array is None else torch.from_numpy(array)


def _layer(kernel: str, *weights: Tensor | None, **packing: Any) -> Any:
    # Packed anew at every call: a weight can change in ways that torch does not count.
    arrays = [_numpy(tensor) for tensor in weights]
    return kernels.pack_weights(kernel, *arrays, borrow=True, **packing)
