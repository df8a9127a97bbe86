"""Models of torch: layers, cells, and modules that hold a state or pass one"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from statewise.check.adapters.torch_subject import RESETS, TorchSubject
from statewise.check.adapters.torch_tensors import name_tensors
from statewise.check.subject import Inputs
from statewise.errors import InputError

SNIPPETS = {
    "explicit": "y, state = model(x, state)",
    "detach": "state = state.detach()",
    "held": "torch.save(state, 'state.pt')",
    "precision": "with torch.autocast('cpu', enabled=False): ...",
}
PACKED = "pack_padded_sequence(x, lengths, batch_first=..., enforce_sorted=False)"


def make_subject(model: Any, inputs: tuple[int | None, ...] | None = None) -> TorchSubject:
    """The module as the probes see it: inputs that fit, and how it takes and gives a state.

    Raises:
        InputError: no recurrent layer, more than one input, or no inputs that fit.
    """
    import torch

    try:
        pristine = copy.deepcopy(model).eval()
    except Exception as error:
        raise InputError(
            f"{type(model).__name__} cannot be copied ({error}); pass it before anything was run, "
            "or clear the tensors it holds"
        ) from error
    snippets = dict(SNIPPETS)
    if isinstance(model, torch.nn.RNNBase):
        snippets["padding"] = PACKED
    name = next((name for name in RESETS if callable(getattr(model, name, None))), None)
    if name is not None:
        snippets["reset"] = f"model.{name}()"
    subject = TorchSubject(
        f"torch {torch.__version__.partition('+')[0]}",
        _list_layers(model),
        Inputs(1),
        snippets=snippets,
        training_mode="train()",
        model=copy.deepcopy(pristine),
        pristine=pristine,
    )
    subject = replace(subject, inputs=_find_inputs(subject, inputs))
    subject = replace(subject, time_first=_is_time_first(subject))
    subject = replace(subject.restore(), explicit=_takes_state(subject))
    if not subject.layers:
        _require_recurrence(subject)
        subject.layers = ("model: a recurrence of its own",)
    return subject


def _list_layers(model: Any) -> tuple[str, ...]:
    import torch

    return tuple(
        f"{name or 'model'}: {type(module).__name__}"
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.RNNBase, torch.nn.RNNCellBase))
    )


def _find_inputs(subject: TorchSubject, shape: tuple[int | None, ...] | None) -> Inputs:
    """Inputs on which the module runs: those that were asked for, or the first that its layers
    suggest.
    """
    model = subject.pristine
    required = [
        name
        for name, p in inspect.signature(model.forward).parameters.items()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if len(required) > 1:
        raise InputError(
            f"{type(model).__name__} takes several inputs ({', '.join(required)}); check a module "
            "of one sequence and of a state that may be left out"
        )
    first_error: Exception | None = None
    for inputs in _suggest_inputs(model, shape):
        try:
            replace(subject, inputs=inputs).restore().call(inputs.draw())
        except InputError:
            raise
        except Exception as error:
            first_error = first_error or error
        else:
            return inputs
    raise InputError(
        f"no inputs were found that {type(model).__name__} accepts ({first_error}); give their "
        "shape: inputs='rows,steps,features'"
    )


def _suggest_inputs(model: Any, shape: tuple[int | None, ...] | None) -> Iterator[Inputs]:
    """Inputs that the layers of a module suggest, or those of a shape."""
    if shape is not None:
        sizes = [m.num_embeddings for m in model.modules() if hasattr(m, "num_embeddings")]
        features = shape[2] if len(shape) == 3 else None
        yield Inputs(features, sizes[0] if sizes else 2, shape[0], shape[1])
        return
    for module in model.modules():
        if hasattr(module, "num_embeddings"):
            yield Inputs(None, module.num_embeddings)
        for size in ("input_size", "in_features", "in_channels"):
            if hasattr(module, size):
                yield Inputs(getattr(module, size))
    yield Inputs(1)


def _is_time_first(subject: TorchSubject) -> bool:
    """Whether time is the first axis: the one along which the first step changes later outputs."""
    if subject.inputs.rows is not None and subject.inputs.rows == subject.inputs.steps:
        return False
    x = subject.inputs.draw(rows=3, steps=3)
    changed = x.copy()
    changed[0, 0] = subject.inputs.draw(rows=3, steps=3, seed=8)[0, 0]
    y, z = subject.restore().call(x)[0], subject.restore().call(changed)[0]
    if y.ndim < 3 or y.shape[:2] != x.shape[:2]:
        return False
    return not np.array_equal(y[1:, 0], z[1:, 0]) and np.array_equal(y[0, 1:], z[0, 1:])


def _takes_state(subject: TorchSubject) -> bool:
    """Whether a call returns a state and the next call takes it."""
    one, x = subject.restore(), subject.inputs.draw()
    _, state = one.call(x)
    if not name_tensors(state):
        return False
    try:
        one.call(x, state)
    except TypeError:  # the module takes no second argument, so the second value is no state
        return False
    return True


def _require_recurrence(subject: TorchSubject) -> None:
    """Refuse a module without a recurrent layer in which no output depends on an earlier step."""
    x = subject.inputs.draw()
    changed = x.copy()
    changed[:, 0] = subject.inputs.draw(seed=8)[:, 0]
    y, again = subject.observe("call", [x, x])
    (z,) = subject.observe("call", [changed])
    last = (y[:, -1], z[:, -1]) if y.ndim > 2 else (y, z)
    if np.array_equal(*last) and np.array_equal(y, again):
        raise InputError(
            "the model has no recurrent layer: none is a recurrent layer of torch, no output "
            "depends on an earlier step, and a second call gives the same outputs"
        )
