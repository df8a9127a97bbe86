"""What a torch module does, as a chain of its parts: by tracing, or by order.

`torch.fx` follows an input through ``forward``. Where that cannot be traced (it branches on values,
or loops over time), the parts are taken in the order in which they were made; a run of both models
shows whether that is what ``forward`` does.
"""

from __future__ import annotations

import inspect
import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_MOVES = {"transpose", "permute", "contiguous", "float", "to", "swapaxes"}
_ACTIVATIONS = {
    "relu": "relu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "softsign": "softsign",
    "hardsigmoid": "hard_sigmoid",
    "softmax": "softmax",
}


@dataclass(frozen=True)
class Part:
    """One part of the chain: a module, an activation by name, or something unknown."""

    name: str
    module: nn.Module | None = None
    activation: str | None = None


@dataclass(frozen=True)
class Chain:
    """The parts from input to output.

    Arguments:
        last: whether only the last step is given out.
    """

    parts: tuple[Part, ...]
    last: bool = False


def trace_chain(module: nn.Module) -> Chain:
    """The parts that the first input goes through, in order."""
    if isinstance(module, RECURRENT):
        return Chain((Part(type(module).__name__, module),))
    signature = inspect.signature(module.forward).parameters.values()
    absent = {p.name: None for p in signature if p.default is None}
    try:
        graph = fx.Tracer().trace(module, concrete_args=absent or None)
    except Exception:
        return Chain(tuple(_list_in_order(module)))
    return _follow(module, graph)


def _list_in_order(module: nn.Module) -> list[Part]:
    """Every part that is torch's own, in the order in which it was made."""
    return [
        Part(name, part)
        for name, part in module.named_modules()
        if type(part).__module__.startswith("torch.nn") and not list(part.children())
    ]


def _follow(module: nn.Module, graph: fx.Graph) -> Chain:
    """The chain from the output back to the input."""
    output = next(node for node in graph.nodes if node.op == "output")
    node: Any = output.args[0]
    while isinstance(node, (tuple, list)) and node:
        node = node[0]
    parts: list[Part] = []
    last = False
    while isinstance(node, fx.Node) and node.op != "placeholder":
        part, node, ends = _step_back(module, node)
        last = last or ends
        if part is not None:
            parts.append(part)
    return Chain(tuple(reversed(parts)), last)


def _step_back(module: nn.Module, node: fx.Node) -> tuple[Part | None, Any, bool]:
    """One node: the part it is, if any, where its input comes from, and whether it takes the last
    step.
    """
    before: Any = node.args[0] if node.args else None
    if node.op == "call_module":
        name = str(node.target)
        return Part(name, module.get_submodule(name)), before, False
    word = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "?")
    if node.target is operator.getitem:
        index: Any = node.args[1]
        if index in (
            0,
            1,
        ):  # of (output, state), or of (h, c): the run tells if it is the wrong one
            return None, before, False
        if index == -1 or (isinstance(index, tuple) and -1 in index):
            return None, before, True
    if word in _MOVES or word == "squeeze":
        return None, before, False
    activation = _ACTIVATIONS.get(word.rstrip("_"))
    return Part(f"{node.name} ({word})", activation=activation), before, False


def find_activation(module: nn.Module) -> str | None:
    """The activation that a module is, or None."""
    word = type(module).__name__.lower()
    last = not isinstance(module, nn.Softmax) or module.dim in (-1, 2)
    return _ACTIVATIONS.get(word) if last and isinstance(module, nn.Module) else None


def has_recurrent_part(module: nn.Module) -> bool:
    """Whether a recurrent part is in it."""
    return any(isinstance(part, RECURRENT) for part in module.modules())


def find_device(module: nn.Module) -> torch.device:
    """Where its parameters are."""
    return next((p.device for p in module.parameters()), torch.device("cpu"))
