"""Models in torch: they train, and run on CPU or GPU."""

try:
    import torch
except ImportError:
    from statewise.errors import MissingExtraError

    raise MissingExtraError("torch", "train", "statewise.nn") from None

from collections.abc import Iterable
from typing import Any

from torch.utils import _pytree

from statewise.nn.model import Model, load
from statewise.origin import Origin
from statewise.state import State


class _Names(tuple[str, ...]):
    """The fields of a state, with its origin beside them: states of other origins compare equal."""

    origin: Origin | None = None


def _flatten(state: State) -> tuple[list[Any], Any]:
    leaves = [*state.values(), state.position]
    if torch.compiler.is_compiling():  # Dynamo knows plain tuples alone
        return leaves, tuple(state)
    names = _Names(state)
    names.origin = state.origin
    return leaves, names


def _unflatten(leaves: Iterable[Any], names: Any) -> State:
    *arrays, position = leaves
    origin = names.origin if isinstance(names, _Names) else None
    return State.unchecked(dict(zip(names, arrays, strict=True)), position, origin)


def _flatten_with_keys(state: State) -> tuple[list[tuple[Any, Any]], Any]:
    leaves, names = _flatten(state)
    keys: list[Any] = [_pytree.MappingKey(name) for name in (*names, "position")]
    return list(zip(keys, leaves, strict=True)), names


_pytree.register_pytree_node(
    State,
    _flatten,
    _unflatten,
    serialized_type_name="statewise.State",
    to_dumpable_context=list,
    from_dumpable_context=_Names,
    flatten_with_keys_fn=_flatten_with_keys,
)

__all__ = ["Model", "load"]
