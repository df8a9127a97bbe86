"""Checks of the inputs of a call, with errors that say how to convert what came."""

from __future__ import annotations

from typing import Any

from array_api_compat import is_numpy_array

from statewise.architecture import Tokens, Vector
from statewise.errors import InputError
from statewise.types import Array, array_namespace, dtype_name, is_torch

_PADDED = (
    "pad it: x, n = torch.nn.utils.rnn.pad_packed_sequence(x, batch_first=True), then write "
    "model(x, lengths=n)"
)


def check_layout(x: Any, inputs: Vector | Tokens, like: Array, steps: bool) -> None:
    """Raise unless inputs have the library, rank, width, dtype and device that a model takes.

    Arguments:
        x: what was given.
        inputs: the model's inputs.
        like: an array of the model.
        steps: whether there is an axis of time: (B, T, ...) instead of (B, ...).
    """
    torch = is_torch(like)
    fits = (is_torch(x) and not x.is_nested) if torch else is_numpy_array(x)
    if isinstance(inputs, Vector):
        fits = fits and x.ndim == 2 + steps and x.shape[-1] == inputs.features
        fits = fits and x.dtype == like.dtype
    else:
        fits = fits and x.ndim == 1 + steps and dtype_name(x).startswith(("int", "uint"))
    if not fits:
        raise InputError(_describe_misfit(x, inputs, like, steps))
    if torch and x.device != like.device:
        raise InputError(
            f"the inputs are on {x.device} and the model on {like.device}; move one of them"
        )


def check_tokens(x: Array, inputs: Vector | Tokens) -> None:
    """Raise unless all tokens are in the table. On a GPU that would wait for it at every call;
    there the look-up itself fails.
    """
    if isinstance(inputs, Vector) or str(x.device) != "cpu" or 0 in x.shape:
        return
    tokens = array_namespace(x).astype(x, array_namespace(x).int64)
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= inputs.size:
        raise InputError(f"tokens must lie in [0, {inputs.size}), got {low} to {high}")


def _describe_misfit(x: Any, inputs: Vector | Tokens, like: Array, steps: bool) -> str:
    axes = "(batch, time" if steps else "(batch"
    call = "model(x)" if steps else "model.step(x_t)"
    if isinstance(inputs, Vector):
        expected = f"{axes}, {inputs.features}) {dtype_name(like)}"
    else:
        expected = f"{axes}) integers"
    foreign = _describe_foreign(x, inputs, like)
    if foreign is not None:
        kind = "a torch tensor" if is_torch(like) else "a NumPy array"
        return f"{call} takes {kind} of {expected}, got {foreign}"
    came = f"{tuple(x.shape)} {dtype_name(x)}"
    return f"{call} expects {expected}, got {came}{_hint(x, inputs, like, steps)}"


def _describe_foreign(x: Any, inputs: Vector | Tokens, like: Array) -> str | None:
    """What came where it is no array of the model's library, and how to make it one."""
    if type(x).__name__ == "PackedSequence" and hasattr(x, "batch_sizes"):
        return f"a PackedSequence; {_PADDED}"
    if is_torch(x) and x.is_nested:
        return (
            "a nested tensor; pad it: n = [len(row) for row in x.unbind()], then write "
            "model(x.to_padded_tensor(0), lengths=n)"
        )
    if is_torch(x) if is_torch(like) else is_numpy_array(x):
        return None
    return _describe_conversion(
        x, like, dtype_name(like) if isinstance(inputs, Vector) else "int64"
    )


def _describe_conversion(x: Any, like: Array, dtype: str) -> str:
    """The type that came, and what makes an array of the model's library of it."""
    if isinstance(x, str):
        return "a text; a statewise.text.TextModel reads texts: text_model.score(text)"
    module = type(x).__module__
    came = type(x).__name__ if module == "builtins" else f"{module}.{type(x).__name__}"
    if x is None:
        return came
    if is_torch(like):
        source = "x" if is_numpy_array(x) or isinstance(x, (list, tuple)) else "np.asarray(x)"
        return f"{came}; write torch.as_tensor({source}, dtype=torch.{dtype})"
    source = "x.numpy(force=True)" if is_torch(x) else "x"
    return f"{came}; write np.asarray({source}, dtype=np.{dtype})"


def _hint(x: Array, inputs: Vector | Tokens, like: Array, steps: bool) -> str:
    """What to do about an array of another rank, width or dtype."""
    if not isinstance(inputs, Vector):
        return ""
    features, rank = inputs.features, 2 + steps
    if x.ndim == rank and x.shape[-1] == features:
        return f"; the model computes in {dtype_name(like)}: convert the inputs or the model"
    if x.ndim == rank - 1 and features == 1:
        return "; add the axis of features: x[..., None]"
    if x.ndim == rank - 1 and steps:
        return "; add the axis of the batch: x[None]"
    return "; inputs are batch first"
