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
from statewise.inspect.losses import Loss, loss_of
from statewise.inspect.recording import matching, shapes
from statewise.inspect.subject import read, runner
from statewise.origin import RecordedOrigin
from statewise.state import State
from statewise.types import Array


@dataclass(frozen=True)
class Gradients:
    """What `gradients` found.

    Attributes:
        loss: the loss that was differentiated.
        values: name -> dL/dvalue at every step, (B, T, units); zero before a reset, where no
            gradient goes, and after the steps that the loss is taken at.
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
        """The norms of a row through time: a still by matplotlib.

        Arguments:
            names: which values; all where not given.
            row: which row.
            path: also written there, as PNG, SVG or PDF by its ending.
            axes: matplotlib's, to draw several into one picture.
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
    """dL/dh_t, dL/dc_t and the like: what a small change of a value at step t does to the loss.

    A change at t counts with all that follows from it: that of c also by way of h. Computed in
    float64 by the cells' own equations, which takes torch.

    Arguments:
        model: of `statewise.nn`, of `statewise.load`, or a model of text.
        x: as for `record`.
        names: patterns, as for `record`; every field of the state where not given.
        at: at which steps the loss is taken, of those it is known at; the last one where not given,
            so that the way back can be seen. ``slice(None)`` takes all.
        loss: of inputs and outputs, gives the loss at each step, (B, up to T); how badly the next
            input is foretold where not given.
        state, reset, lengths, unknown: as for `record`.

    Raises:
        InputError: unknown names, values that cannot be reached, or a model without a clear loss.
        MissingExtraError: torch is not installed.

    Example::

        found = inspect.gradients(model, x, names=["0.h", "0.c"])
        found.norms("0.c")        # (B, T): vanishing to the left, or exploding, or neither
    """
    architecture = runner(model).architecture
    counted = loss or loss_of(architecture)
    known = shapes(model)
    fields = [name for name, field in architecture.fields.items() if field.kind != "integer"]
    chosen = matching(known, names or [name for name in fields if name in known])
    same = twin(model)
    inputs = doubled(read(model, x, unknown)[0])
    met: dict[str, list[Any]] = {name: [] for name in chosen}
    with edit(same, {name: _keeper(met[name]) for name in chosen}):
        y, _ = same(inputs, doubled_state(state, model), reset=reset, lengths=lengths)
        each = counted(inputs, y)
        if not each[:, at].numel() > 0:
            raise InputError(
                f"the loss is known at {each.shape[1]} of {inputs.shape[1]} steps, which at={at!r} "
                "does not meet"
            )
        total = each[:, at].sum()
        total.backward()
    return Gradients(
        float(total.detach()), {name: _stacked(values) for name, values in met.items()}
    )


def _keeper(met: list[Any]) -> Callable[[Any], Any]:
    """An edit that changes nothing and keeps every value for its gradient."""

    def keep(value: Any) -> Any:
        value = value if value.requires_grad else value.detach().requires_grad_()
        value.retain_grad()
        met.append(value)
        return value

    return keep


def _stacked(values: list[Any]) -> np.ndarray:
    import torch

    zero = torch.zeros_like
    grads = [zero(value) if value.grad is None else value.grad for value in values]
    return np.asarray(torch.stack(grads, dim=1).numpy())


def twin(model: Any) -> Any:
    """The same model in torch and float64, run by the cells' own equations."""
    try:
        import torch

        from statewise import nn
    except ImportError:
        raise MissingExtraError("torch", "train", "derivatives") from None
    inner = runner(model)
    weights = {name: to_numpy(value) for name, value in inner.weights().items()}
    return nn.Model(
        inner.architecture, weights=weights, executor="reference", dtype=torch.float64
    ).eval()


def doubled(x: Any) -> Any:
    """Inputs as a torch tensor, those that are no integers in float64."""
    import torch

    tensor = torch.as_tensor(np.asarray(to_numpy(x)))
    return tensor.double() if tensor.is_floating_point() else tensor


def doubled_state(state: State | None, model: Any) -> State | None:
    """A state of a model for its twin, in float64: the twin's weights are the same, which their
    fingerprint does not tell.
    """
    if state is None:
        return None
    wide, origin = state.numpy().to("float64"), state.origin
    if origin is not None and origin.weights() == runner(model).fingerprint():
        origin = RecordedOrigin(origin.architecture, None)
    return State(dict(wide), wide.position, origin=origin)
