"""Models of flax: `nnx.RNN`, and modules that pass a carry"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from statewise.check.subject import Inputs, Subject, UnavailableError, Way
from statewise.errors import InputError

LINES = {
    "explicit": "carry, y = rnn(x, initial_carry=carry, return_carry=True)",
    "padding": "rnn(x, seq_lengths=lengths)",
    "held": "np.savez('carry.npz', *jax.tree.leaves(carry))",
    "precision": "nnx.LSTMCell(..., dtype=jnp.float32)",
}


def handles(model: Any) -> bool:
    """Whether this is a module of flax's nnx."""
    from flax import nnx

    return isinstance(model, nnx.Module)


def subject(model: Any, inputs: tuple[int | None, ...] | None = None) -> Subject:
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
    found = _Flax(
        f"flax {flax.__version__}",
        tuple(f"{name}: {type(cell).__name__}" for name, cell in cells),
        reads,
        lines=LINES,
        model=nnx.clone(model),
        pristine=nnx.clone(model),
    )
    try:
        out = found.fresh()._through(reads.draw())
    except Exception as error:
        raise InputError(
            f"{type(model).__name__} does not take inputs {reads.draw().shape} ({error}); give "
            "their shape with --inputs rows,steps,features"
        ) from error
    return replace(found, explicit=out[1] is not None)


@dataclass
class _Flax(Subject):
    model: Any = None
    pristine: Any = None

    def fresh(self) -> _Flax:
        from flax import nnx

        return replace(self, model=nnx.clone(self.pristine))

    def ways(self) -> Mapping[str, Way]:
        from flax import nnx

        jitted = nnx.jit(self._outputs)
        return {
            "call": self._way(lambda x: self._outputs(self.model, x), "model(x)", evaluates=True),
            "jit": self._way(lambda x: jitted(self.model, x), "nnx.jit(model)(x)"),
        }

    def run(self, x: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
        if not self.explicit:
            return super().run(x, state)
        y, state = self._through(x, state)
        return np.array(y, np.float32), state

    def leaves(self, state: Any) -> Mapping[str, np.ndarray]:
        import jax

        parts = jax.tree.leaves(state)
        names = ("c", "h") if len(parts) == 2 else ("h",) if len(parts) == 1 else range(len(parts))
        return {str(name): np.array(leaf) for name, leaf in zip(names, parts, strict=True)}

    def rebuilt(self, state: Any, leaves: Mapping[str, np.ndarray]) -> Any:
        import jax

        form = jax.tree.structure(state)
        return jax.tree.unflatten(form, [jax.numpy.asarray(leaf) for leaf in leaves.values()])

    def paddings(self) -> Mapping[str, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, Any]]]:
        if "seq_lengths" not in inspect.signature(self.model.__call__).parameters:
            return {}

        def told(x: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, Any]:
            import jax

            y, state = self._through(x, seq_lengths=jax.numpy.asarray(lengths))
            return np.array(y, np.float32), state

        return {"seq_lengths": told}

    def gradient(self, x: np.ndarray, cut: int, whole: bool) -> np.ndarray:
        import jax
        from jax import numpy as jnp

        after = jnp.asarray(x[:, cut:])

        def loss(before: Any) -> Any:
            one = self.fresh()  # counters of random draws belong to one level of tracing
            if whole:
                y, _ = one._through(jnp.concatenate([before, after], axis=1))
            else:
                _, state = one._through(before)
                y, _ = one._through(after, state)
            part = y[:, -after.shape[1] :] if y.ndim > 2 else y
            return (part * jnp.linspace(-1, 1, part.size).reshape(part.shape)).sum()

        return np.array(jax.grad(loss)(jnp.asarray(x[:, :cut])))

    def half(self) -> Mapping[str, str]:
        from flax import nnx
        from jax import numpy as jnp

        if not self.explicit:
            raise UnavailableError("the model returns no state whose dtype could be seen")
        one = self.fresh()
        for _, part in nnx.iter_graph(one.model):
            if hasattr(part, "dtype") and isinstance(part, nnx.Module):
                held: Any = part
                held.dtype = jnp.bfloat16
        _, state = one._through(self.inputs.draw().astype(jnp.bfloat16))
        return {name: str(leaf.dtype) for name, leaf in self.leaves(state).items()}

    def _through(self, x: Any, state: Any = None, **more: Any) -> tuple[Any, Any]:
        """Outputs and carry; None where the module gives no carry."""
        from flax import nnx
        from jax import numpy as jnp

        x = jnp.asarray(x)
        if isinstance(self.model, nnx.RNN):
            state, y = self.model(x, initial_carry=state, return_carry=True, **more)
            return y, state
        out = self.model(x, **more) if state is None else self.model(x, state, **more)
        return out if isinstance(out, tuple) and len(out) == 2 else (out, None)

    def _outputs(self, model: Any, x: Any) -> Any:
        return replace(self, model=model)._through(x)[0]

    def _way(self, call: Callable[[np.ndarray], Any], code: str, **about: Any) -> Way:
        return Way(lambda xs, _: [np.array(call(x), np.float32) for x in xs], code, **about)
