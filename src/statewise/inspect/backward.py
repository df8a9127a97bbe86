"""`gradients`: how a loss depends on every value inside, step by step back through time"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from statewise.arrays import to_numpy
from statewise.errors import InputError, MissingExtraError
from statewise.inspect.editing import edit
from statewise.inspect.losses import Loss, require_next_loss
from statewise.inspect.recording import matching, shapes
from statewise.inspect.subject import get_model, read_inputs
from statewise.origin import RecordedOrigin
from statewise.state import State
from statewise.types import Array


@dataclass(frozen=True)
class Gradients:
    """The gradients of a loss, as `gradients` returns them.

    Attributes:
        loss: the loss that was differentiated.
        values: name -> dL/dvalue at every step, (B, T, units); zero before a reset, which no
            gradient crosses, and after the last step that counts in the loss.
    """

    loss: float
    values: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.values:
            raise InputError(f"no gradient of {name!r} here; there are {', '.join(self.values)}")
        return self.values[name]

    def norms(self, name: str) -> np.ndarray:
        """The Euclidean norm over the units at every step, (B, T)."""
        return np.asarray(np.linalg.norm(self[name], axis=-1))

    def plot(
        self,
        names: Sequence[str] | None = None,
        *,
        row: int = 0,
        path: str | Path | None = None,
        axes: Any = None,
        label: str | None = None,
    ) -> Any:
        """Draw the norms of a row through time, by matplotlib.

        Arguments:
            names: which values; all where not given.
            row: which row.
            path: where to write it too, as PNG, SVG or PDF by its ending.
            axes: of matplotlib, to draw several into one picture.
            label: put before the name of each curve.

        Returns:
            a matplotlib ``Figure``.

        Raises:
            InputError: an unknown name or row.
            MissingExtraError: matplotlib is not installed.
        """
        from statewise.inspect.curves import plot_gradients

        norms = {name: self.norms(name) for name in (self.values if names is None else names)}
        return plot_gradients(norms, row=row, path=path, axes=axes, label=label)


def gradients(
    model: Any,
    x: Any,
    names: str | Iterable[str] | None = None,
    *,
    at: int | slice = -1,
    loss: Loss | None = None,
    state: State | None = None,
    reset: Array | None = None,
    lengths: Array | None = None,
    unknown: str = "error",
) -> Gradients:
    """dL/dh_t, dL/dc_t and the like: how the loss depends on a value at step t.

    Gradients are total: that of c includes what c does by way of h. They are computed in float64 by
    the cells' own equations, which needs torch.

    Arguments:
        model: of `statewise.nn`, of `statewise.load`, or a model of text.
        x: as for `record`.
        names: patterns, as for `record`; every field of the state where not given.
        at: the steps whose losses are summed; the last one where not given, which shows how far
            back it reaches. ``slice(None)`` takes all.
        loss: a function of inputs and outputs that gives the loss at each step, (B, up to T); that
            of predicting the next input where not given.
        state, reset, lengths, unknown: as for `record`.

    Raises:
        InputError: unknown names, values that cannot be edited, or a model without a loss.
        MissingExtraError: torch is not installed.

    Example::

        found = inspect.gradients(model, x, names=["0.h", "0.c"])
        found.norms("0.c")        # (B, T): vanishing to the left, or exploding, or neither
    """
    architecture = get_model(model).architecture
    counted = loss or require_next_loss(architecture)
    known = shapes(model)
    fields = [name for name, field in architecture.fields.items() if field.kind != "integer"]
    listed = matching(known, names or [name for name in fields if name in known])
    reference = float64_reference(model)
    inputs = as_float64(read_inputs(model, x, unknown)[0])
    recorded: dict[str, list[Any]] = {name: [] for name in listed}
    with edit(reference, {name: _record_into(recorded[name]) for name in listed}):
        y, _ = reference(inputs, state_as_float64(state, model), reset=reset, lengths=lengths)
        each = counted(inputs, y)
        if not each[:, at].numel() > 0:
            raise InputError(
                f"the loss is known at {each.shape[1]} of {inputs.shape[1]} steps, and at={at!r} "
                "is none of these"
            )
        total = each[:, at].sum()
        total.backward()
    return Gradients(
        float(total.detach()), {name: _stack_gradients(values) for name, values in recorded.items()}
    )


def _record_into(recorded: list[Any]) -> Callable[[Any], Any]:
    """An edit that changes nothing and records every value, whose gradient is kept."""

    def record(value: Any) -> Any:
        value = value if value.requires_grad else value.detach().requires_grad_()
        value.retain_grad()
        recorded.append(value)
        return value

    return record


def _stack_gradients(values: list[Any]) -> np.ndarray:
    import torch

    zero = torch.zeros_like
    grads = [zero(value) if value.grad is None else value.grad for value in values]
    return np.asarray(torch.stack(grads, dim=1).numpy())


def float64_reference(model: Any) -> Any:
    """The same model in torch and float64, which runs the cells' own equations."""
    try:
        import torch

        from statewise import nn
    except ImportError:
        raise MissingExtraError("torch", "train", "derivatives") from None
    inner = get_model(model)
    weights = {name: to_numpy(value) for name, value in inner.weights().items()}
    return nn.Model(
        inner.architecture, weights=weights, executor="reference", dtype=torch.float64
    ).eval()


def as_float64(x: Any) -> Any:
    """Inputs as a torch tensor: numbers in float64, tokens as they are."""
    import torch

    tensor = torch.as_tensor(np.asarray(to_numpy(x)))
    return tensor.double() if tensor.is_floating_point() else tensor


def state_as_float64(state: State | None, model: Any) -> State | None:
    """A state of a model for its float64 reference. The fingerprints of their weights differ, so
    the state no longer names its own.
    """
    if state is None:
        return None
    wide, origin = state.numpy().to("float64"), state.origin
    if origin is not None and origin.weights() == get_model(model).fingerprint():
        origin = RecordedOrigin(origin.architecture, None)
    return State(dict(wide), wide.position, origin=origin)
