"""The tensors of torch under check: states as arrays by name, and gradients"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def to_array(tensor: Any) -> np.ndarray:
    """A copy of a tensor as a float32 array."""
    array: np.ndarray = tensor.detach().cpu().float().numpy().copy()
    return array


def name_tensors(state: Any, name: str = "") -> list[tuple[str, Any]]:
    """The tensors of a state by name: h and c for a pair, else their place or key."""
    import torch

    if isinstance(state, torch.Tensor):
        return [(name or "h", state)]
    if isinstance(state, Mapping):
        parts = [(str(key), value) for key, value in state.items()]
    elif isinstance(state, (tuple, list)):
        pair = len(state) == 2 and all(isinstance(part, torch.Tensor) for part in state)
        parts = [("hc"[i] if pair else str(i), value) for i, value in enumerate(state)]
    else:
        parts = []
    return [
        leaf for key, value in parts for leaf in name_tensors(value, f"{name}.{key}".strip("."))
    ]


def map_tensors(state: Any, change: Callable[[Any], Any]) -> Any:
    """A state of the same structure with every tensor changed."""
    import torch

    if isinstance(state, torch.Tensor):
        return change(state)
    if isinstance(state, Mapping):
        return {key: map_tensors(value, change) for key, value in state.items()}
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return type(state)(*(map_tensors(value, change) for value in state))
    if isinstance(state, (tuple, list)):
        return type(state)(map_tensors(value, change) for value in state)
    return state


def compute_gradient(call: Callable[..., Any], x: np.ndarray, cut: int, whole: bool) -> np.ndarray:
    """See `Subject.compute_gradient`; `call` maps (B, T, F) and a state to outputs and state."""
    import torch

    before = torch.tensor(x[:, :cut], requires_grad=True)
    after = torch.tensor(x[:, cut:])
    if whole:
        y, _ = call(torch.cat([before, after], dim=1), None)
    else:
        _, state = call(before, None)
        y, _ = call(after, state)
    part = y[:, -after.shape[1] :] if y.ndim > 2 else y
    weights = torch.linspace(-1, 1, part.numel(), dtype=part.dtype).reshape(part.shape)
    loss = (part * weights).sum()
    (slope,) = torch.autograd.grad(loss, before, allow_unused=True)
    return np.zeros_like(x[:, :cut]) if slope is None else slope.numpy()
