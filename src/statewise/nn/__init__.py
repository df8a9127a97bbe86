"""Models in torch: they train, and run on CPU or GPU."""

try:
    import torch  # noqa: F401
except ImportError:
    from statewise.errors import MissingExtraError

    raise MissingExtraError("torch", "train", "statewise.nn") from None

from collections.abc import Iterable
from typing import Any

from torch.utils import _pytree

from statewise.nn.model import Model, load
from statewise.state import State


def _flatten(state: State) -> tuple[list[Any], Any]:
    return [*state.values(), state.position], (tuple(state), state.origin)


def _unflatten(leaves: Iterable[Any], context: Any) -> State:
    *arrays, position = leaves
    names, origin = context
    return State(dict(zip(names, arrays, strict=True)), position, origin=origin)


_pytree.register_pytree_node(State, _flatten, _unflatten, serialized_type_name="statewise.State")

__all__ = ["Model", "load"]
