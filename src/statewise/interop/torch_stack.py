"""`Stack`: torch modules one after the other, state in and state out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn


class Stack(nn.Module):
    """Torch modules one after the other; what `to_torch` gives where one module is not enough.

    Arguments:
        parts: modules, the recurrent ones batch first.

    Example::

        y, states = stack(x)            # y (B, T, O), and the state of each recurrent part
        y, states = stack(x, states)
    """

    def __init__(self, parts: Iterable[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor, states: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """Run over (B, T, F): outputs, and the state of each recurrent part as torch gives it."""
        after: list[Any] = []
        for part in self.parts:
            if isinstance(part, nn.RNNBase):
                x, state = part(x, None if states is None else states[len(after)])
                after.append(state)
            else:
                x = part(x)
        return x, after
