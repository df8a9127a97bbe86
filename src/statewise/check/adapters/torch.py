"""Models of torch: layers, cells, and modules that hold or pass a state"""

from __future__ import annotations

import copy
import inspect
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from statewise.check.subject import Inputs, Subject, UnavailableError, Way
from statewise.errors import InputError

LINES = {
    "explicit": "y, state = model(x, state)",
    "detach": "state = state.detach()",
    "held": "torch.save(state, 'state.pt')",
    "precision": "with torch.autocast('cpu', enabled=False): ...",
}
PACKED = "pack_padded_sequence(x, lengths, batch_first=..., enforce_sorted=False)"
RESETS = ("reset_state", "reset_states", "reset_hidden", "reset")
METHODS = ("predict", "forecast", "evaluate")


def handles(model: Any) -> bool:
    """Whether this is a module of torch."""
    import torch

    return isinstance(model, torch.nn.Module)


def subject(model: Any, inputs: tuple[int | None, ...] | None = None) -> Subject:
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
    lines = {**LINES, **({"padding": PACKED} if isinstance(model, torch.nn.RNNBase) else {})}
    found = _Torch(
        f"torch {torch.__version__.partition('+')[0]}",
        _layers(model),
        Inputs(1),
        lines=lines,
        training="train()",
        model=copy.deepcopy(pristine),
        pristine=pristine,
    )
    found = replace(found, inputs=_fitting(found, inputs))
    found = replace(found, time_first=_time_first(found))
    found = replace(found.fresh(), explicit=_explicit(found))
    name = next((name for name in RESETS if callable(getattr(model, name, None))), None)
    if name is not None:
        found.lines = {**lines, "reset": f"model.{name}()"}
    if not found.layers:
        found.layers = _remembering(found)
    return found


def gradient_of(call: Callable[..., Any], x: np.ndarray, cut: int, whole: bool) -> np.ndarray:
    """See `Subject.gradient`; `call` maps torch's x (B, T, F) and state to outputs and state."""
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
    (found,) = torch.autograd.grad(loss, before, allow_unused=True)
    return np.zeros_like(x[:, :cut]) if found is None else found.numpy()


@dataclass
class _Torch(Subject):
    model: Any = None
    pristine: Any = None
    time_first: bool = False

    def fresh(self) -> _Torch:
        return replace(self, model=copy.deepcopy(self.pristine))

    def ways(self) -> Mapping[str, Way]:
        import torch

        exported: list[Any] = []

        def export(x: np.ndarray) -> np.ndarray:
            if not exported:
                given = self._given(x)
                exported.append(torch.export.export(self.model, self._first(given)).module())
            return self._outputs(exported[0](*self._first(self._given(x))))

        found = {
            "call": self._way(lambda x: self._call(x)[0], "model(x)", evaluates=True),
            "train()": self._way(self._trained, "model.train(); model(x)"),
        }
        for name in METHODS:
            if callable(getattr(self.model, name, None)):
                found[name] = self._way(self._method(name), f"model.{name}(x)", evaluates=True)
        if isinstance(self.model, torch.nn.RNNCellBase):
            return found  # a cell is run along the steps by the check
        found["exported graph"] = self._way(export, "torch.export.export(model, (x,)).module()(x)")
        return found

    def run(self, x: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
        if not self.explicit:
            return super().run(x, state)
        return self._call(x, state)

    def leaves(self, state: Any) -> Mapping[str, np.ndarray]:
        return {name: _array(leaf) for name, leaf in _named(state)}

    def rebuilt(self, state: Any, leaves: Mapping[str, np.ndarray]) -> Any:
        import torch

        values = iter(torch.tensor(leaves[name]).to(leaf.dtype) for name, leaf in _named(state))
        return _mapped(state, lambda _: next(values))

    def paddings(self) -> Mapping[str, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, Any]]]:
        import torch

        if isinstance(self.model, torch.nn.RNNBase):
            return {"packed": self._packed}
        names = list(inspect.signature(self.model.forward).parameters)
        return {
            name: (lambda x, n, name=name: self._told(name, x, n))  # type: ignore[misc]
            for name in names
            if "mask" in name or "length" in name
        }

    def reset(self) -> None:
        for name in RESETS:
            method = getattr(self.model, name, None)
            if callable(method):
                method()
                return
        super().reset()

    def held(self) -> Mapping[str, np.ndarray]:
        import torch

        return {
            name: _array(value)
            for module in self.model.modules()
            for name, value in vars(module).items()
            if isinstance(value, torch.Tensor)
        }

    def reloaded(self) -> Subject:
        import torch

        file = io.BytesIO()
        torch.save(self.model.state_dict(), file)
        file.seek(0)
        loaded = self.fresh()
        loaded.model.load_state_dict(torch.load(file, weights_only=True))
        return loaded

    def gradient(self, x: np.ndarray, cut: int, whole: bool) -> np.ndarray:
        return gradient_of(lambda x, state: self._split(self._through(x, state)), x, cut, whole)

    def half(self) -> Mapping[str, str]:
        import torch

        if not self.explicit:
            raise UnavailableError("the model returns no state whose dtype could be seen")
        with torch.autocast("cpu", torch.bfloat16):
            _, state = self._call(self.inputs.draw())
        return {name: str(leaf.dtype).removeprefix("torch.") for name, leaf in _named(state)}

    # How torch is called

    def _given(self, x: np.ndarray) -> Any:
        import torch

        weight = next((p for p in self.model.parameters() if p.is_floating_point()), None)
        tensor = torch.tensor(x)
        return tensor.to(weight.dtype) if weight is not None and x.dtype.kind == "f" else tensor

    def _first(self, x: Any) -> tuple[Any, ...]:
        return (x.swapaxes(0, 1) if self.time_first else x,)

    def _through(self, x: Any, state: Any = None, **more: Any) -> Any:
        """One forward of the module; a cell is run along the steps."""
        import torch

        if isinstance(self.model, torch.nn.RNNCellBase):
            ys = []
            for x_t in x.unbind(1):
                state = self.model(x_t, state)
                ys.append(state[0] if isinstance(state, tuple) else state)
            return torch.stack(ys, dim=1), state
        args = self._first(x) if state is None else (*self._first(x), state)
        return self.model(*args, **more)

    def _split(self, out: Any) -> tuple[Any, Any]:
        """Outputs (B, T, O) or (B, O), and the state where one comes with them."""
        import torch

        y, state = (
            (out[0], out[1]) if isinstance(out, (tuple, list)) and len(out) == 2 else (out, None)
        )
        if not isinstance(y, torch.Tensor):
            raise InputError(
                f"{type(self.model).__name__} returns {type(y).__name__}; the check reads a tensor "
                "of outputs, or a tuple of outputs and state"
            )
        return (y.swapaxes(0, 1) if self.time_first and y.ndim > 2 else y), state

    def _call(self, x: np.ndarray, state: Any = None, **more: Any) -> tuple[np.ndarray, Any]:
        import torch

        with torch.no_grad():
            y, state = self._split(self._through(self._given(x), state, **more))
        return _array(y), state

    def _outputs(self, out: Any) -> np.ndarray:
        return _array(self._split(out)[0])

    def _trained(self, x: np.ndarray) -> np.ndarray:
        import torch

        self.model.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            y = self._outputs(self._through(self._given(x)))
        self.model.eval()
        return y

    def _method(self, name: str) -> Callable[[np.ndarray], np.ndarray]:
        return lambda x: self._outputs(getattr(self.model, name)(*self._first(self._given(x))))

    def _way(self, call: Callable[[np.ndarray], np.ndarray], code: str, **about: Any) -> Way:
        return Way(lambda batches, _: [call(x) for x in batches], code, **about)

    def _packed(self, x: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, Any]:
        import torch
        from torch.nn.utils import rnn

        first = self.model.batch_first
        packed = rnn.pack_padded_sequence(
            self._first(self._given(x))[0], torch.tensor(lengths), first, enforce_sorted=False
        )
        with torch.no_grad():
            out, state = self.model(packed)
        y, _ = rnn.pad_packed_sequence(out, first, total_length=x.shape[1])
        return _array(y.swapaxes(0, 1) if self.time_first else y), state

    def _told(self, name: str, x: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, Any]:
        """A module's own argument; a mask is True where there is data, one of padding where not."""
        import torch

        valid = np.arange(x.shape[1]) < lengths[:, None]
        told = lengths if "length" in name else ~valid if "pad" in name else valid
        y, state = self._call(x, **{name: torch.tensor(told)})
        return y, state if self.explicit else None


def _array(tensor: Any) -> np.ndarray:
    found: np.ndarray = tensor.detach().float().numpy().copy()
    return found


def _layers(model: Any) -> tuple[str, ...]:
    import torch

    return tuple(
        f"{name or 'model'}: {type(module).__name__}"
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.RNNBase, torch.nn.RNNCellBase))
    )


def _named(state: Any, name: str = "") -> list[tuple[str, Any]]:
    """The tensors of a state by name: h and c of a pair, places or keys otherwise."""
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
    return [leaf for key, value in parts for leaf in _named(value, f"{name}.{key}".strip("."))]


def _mapped(state: Any, change: Callable[[Any], Any]) -> Any:
    import torch

    if isinstance(state, torch.Tensor):
        return change(state)
    if isinstance(state, Mapping):
        return {key: _mapped(value, change) for key, value in state.items()}
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return type(state)(*(_mapped(value, change) for value in state))
    if isinstance(state, (tuple, list)):
        return type(state)(_mapped(value, change) for value in state)
    return state


def _fitting(found: _Torch, shape: tuple[int | None, ...] | None) -> Inputs:
    """Inputs on which the module runs: those asked for, or the first that its layers suggest."""
    import torch

    model = found.pristine
    required = [
        name
        for name, p in inspect.signature(model.forward).parameters.items()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if len(required) > 1:
        raise InputError(
            f"{type(model).__name__} takes several inputs ({', '.join(required)}); check a module "
            "of one sequence, and of a state that may be left out"
        )
    if shape is not None:
        tokens = next(
            (m.num_embeddings for m in model.modules() if hasattr(m, "num_embeddings")), 2
        )
        tried = [Inputs(shape[2] if len(shape) == 3 else None, tokens, *shape[:2])]
    else:
        tried = []
        for module in model.modules():
            if isinstance(module, torch.nn.Embedding):
                tried.append(Inputs(None, module.num_embeddings))
            for size in ("input_size", "in_features", "in_channels"):
                if hasattr(module, size):
                    tried.append(Inputs(getattr(module, size)))
        tried += [Inputs(1)]
    said: Exception | None = None
    for one in tried:
        try:
            replace(found, inputs=one).fresh()._call(one.draw())
        except InputError:
            raise
        except Exception as error:
            said = said or error
        else:
            return one
    raise InputError(
        f"no inputs were found that {type(model).__name__} accepts ({said}); give their shape with "
        "--inputs rows,steps,features"
    )


def _time_first(found: _Torch) -> bool:
    """Intermediates by running: along which axis does the first step reach the later ones?"""
    if found.inputs.rows is not None and found.inputs.rows == found.inputs.steps:
        return False
    x = found.inputs.draw(rows=3, steps=3)
    changed = x.copy()
    changed[0, 0] = found.inputs.draw(rows=3, steps=3, seed=8)[0, 0]
    y, z = found.fresh()._call(x)[0], found.fresh()._call(changed)[0]
    if y.ndim < 3 or y.shape[:2] != x.shape[:2]:
        return False
    return not np.array_equal(y[1:, 0], z[1:, 0]) and np.array_equal(y[0, 1:], z[0, 1:])


def _explicit(found: _Torch) -> bool:
    """Intermediates by running: does a state come out, and may it go in again?"""
    one, x = found.fresh(), found.inputs.draw()
    _, state = one._call(x)
    if not _named(state):
        return False
    try:
        one._call(x, state)
    except TypeError:  # the second value is no state: the module takes none
        return False
    return True


def _remembering(found: Subject) -> tuple[str, ...]:
    """A recurrence of the user's own, by what it does: later outputs depend on earlier inputs."""
    x = found.inputs.draw()
    changed = x.copy()
    changed[:, 0] = found.inputs.draw(seed=8)[:, 0]
    way = found.fresh().ways()["call"]
    y, again = way.observe([x, x], 1)
    z = found.fresh().ways()["call"].observe([changed], 1)[0]
    last = (y[:, -1], z[:, -1]) if y.ndim > 2 else (y, z)
    if np.array_equal(*last) and np.array_equal(y, again):
        raise InputError(
            "the model has no recurrent layer: none was found by name, no output depends on an "
            "earlier step, and a second call answers like the first"
        )
    return ("model: a recurrence of its own",)
