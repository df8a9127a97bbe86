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
    return [*state.values(), state.position], tuple(state)


def _unflatten(leaves: Iterable[Any], names: Any) -> State:
    *arrays, position = leaves
    return State.unchecked(dict(zip(names, arrays, strict=True)), position, None)


def _flatten_with_keys(state: State) -> tuple[list[tuple[Any, Any]], Any]:
    leaves, names = _flatten(state)
    keys = map(_pytree.MappingKey, (*names, "position"))
    return list(zip(keys, leaves, strict=True)), names


_pytree.register_pytree_node(
    State,
    _flatten,
    _unflatten,
    serialized_type_name="statewise.State",
    to_dumpable_context=list,
    from_dumpable_context=tuple,
    flatten_with_keys_fn=_flatten_with_keys,
)

__all__ = ["Model", "load"]
