"""Models of flax: `nnx.RNN`, and modules that take and return a carry"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from statewise.check.subject import (
    CallMode,
    Inputs,
    PaddedRun,
    Subject,
    UnavailableError,
    call_each,
)
from statewise.errors import InputError

SNIPPETS = {
    "explicit": "carry, y = rnn(x, initial_carry=carry, return_carry=True)",
    "padding": "rnn(x, seq_lengths=lengths)",
    "held": "np.savez('carry.npz', *jax.tree.leaves(carry))",
    "precision": "nnx.LSTMCell(..., dtype=jnp.float32)",
}


def make_subject(model: Any, inputs: tuple[int | None, ...] | None = None) -> FlaxSubject:
    """A copy of the module as the probes see it.

    Raises:
        InputError: no recurrent layer, or inputs that do not fit.
    """
    import flax
    from flax import nnx

    cells = [
        (".".join(map(str, path)) or "model", part)
        for path, part in nnx.iter_graph(model)
        if isinstance(part, nnx.RNNCellBase)
    ]
    if not cells:
        raise InputError("the model has no recurrent layer: none holds an nnx.RNNCellBase")
    features = next((int(c.in_features) for _, c in cells if hasattr(c, "in_features")), 1)
    reads = Inputs(features)
    if inputs is not None:
        reads = Inputs(inputs[2] if len(inputs) > 2 else None, 2, *inputs[:2])
    subject = FlaxSubject(
        f"flax {flax.__version__}",
        tuple(f"{name}: {type(cell).__name__}" for name, cell in cells),
        reads,
        snippets=SNIPPETS,
        model=nnx.clone(model),
        pristine=nnx.clone(model),
    )
    try:
        state = subject.restore().find_state(reads.draw())
    except Exception as error:
        raise InputError(
            f"{type(model).__name__} does not take inputs {reads.draw().shape} ({error}); give "
            "their shape: inputs='rows,steps,features'"
        ) from error
    return replace(subject, explicit=state is not None)


@dataclass
class FlaxSubject(Subject):
    """A module of flax: the copy that runs, and one that never runs."""

    model: Any = None
    pristine: Any = None

    def restore(self) -> FlaxSubject:
        from flax import nnx

        return replace(self, model=nnx.clone(self.pristine))

    def find_call_modes(self) -> Mapping[str, CallMode]:
        from flax import nnx

        def call(model: Any, x: Any) -> Any:
            return replace(self, model=model)._call(x)[0]

        def observe(call: Callable[..., Any]) -> Callable[[np.ndarray], np.ndarray]:
            return lambda x: np.array(call(self.model, x), np.float32)

        return {
            "call": call_each(observe(call), "model(x)", evaluates=True),
            "jit": call_each(observe(nnx.jit(call)), "nnx.jit(model)(x)"),
        }

    def find_state(self, x: np.ndarray) -> Any:
        """The carry that a call returns, None where it returns none."""
        return self._call(x)[1]

    def run(self, x: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
        if not self.explicit:
            return super().run(x, state)
        y, state = self._call(x, state)
        return np.array(y, np.float32), state

    def read_state(self, state: Any) -> Mapping[str, np.ndarray]:
        import jax

        parts = jax.tree.leaves(state)
        names = ("c", "h") if len(parts) == 2 else ("h",) if len(parts) == 1 else range(len(parts))
        return {str(name): np.array(leaf) for name, leaf in zip(names, parts, strict=True)}

    def rebuild_state(self, state: Any, arrays: Mapping[str, np.ndarray]) -> Any:
        import jax

        form = jax.tree.structure(state)
        return jax.tree.unflatten(form, [jax.numpy.asarray(leaf) for leaf in arrays.values()])

    def find_padding_modes(self) -> Mapping[str, PaddedRun]:
        if "seq_lengths" not in inspect.signature(self.model.__call__).parameters:
            return {}

        def run_padded(x: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, Any]:
            import jax

            y, state = self._call(x, seq_lengths=jax.numpy.asarray(lengths))
            return np.array(y, np.float32), state

        return {"seq_lengths": run_padded}

    def compute_gradient(self, x: np.ndarray, cut: int, whole: bool) -> np.ndarray:
        import jax
        from jax import numpy as jnp

        after = jnp.asarray(x[:, cut:])

        def loss(before: Any) -> Any:
            one = self.restore()  # counters of random draws belong to one level of tracing
            if whole:
                y, _ = one._call(jnp.concatenate([before, after], axis=1))
            else:
                _, state = one._call(before)
                y, _ = one._call(after, state)
            part = y[:, -after.shape[1] :] if y.ndim > 2 else y
            return (part * jnp.linspace(-1, 1, part.size).reshape(part.shape)).sum()

        return np.array(jax.grad(loss)(jnp.asarray(x[:, :cut])))

    def run_in_bfloat16(self) -> Mapping[str, str]:
        from flax import nnx
        from jax import numpy as jnp

        if not self.explicit:
            raise UnavailableError("the model returns no state")
        one = self.restore()
        for _, part in nnx.iter_graph(one.model):
            if hasattr(part, "dtype") and isinstance(part, nnx.Module):
                module: Any = part
                module.dtype = jnp.bfloat16
        _, state = one._call(self.inputs.draw().astype(jnp.bfloat16))
        return {name: str(leaf.dtype) for name, leaf in self.read_state(state).items()}

    def _call(self, x: Any, state: Any = None, **more: Any) -> tuple[Any, Any]:
        """Outputs and carry; None where the module returns no carry."""
        from flax import nnx
        from jax import numpy as jnp

        x = jnp.asarray(x)
        if isinstance(self.model, nnx.RNN):
            state, y = self.model(x, initial_carry=state, return_carry=True, **more)
            return y, state
        out = self.model(x, **more) if state is None else self.model(x, state, **more)
        return out if isinstance(out, tuple) and len(out) == 2 else (out, None)
