"""Checks that a state fits a model; the error says what differs and the likely mistake."""

from __future__ import annotations

from collections.abc import Mapping

from statewise.declarations import Field
from statewise.errors import StateError
from statewise.origin import Origin, other_weights, warn
from statewise.state import State
from statewise.types import dtype_name


def check_state(
    state: object,
    fields: Mapping[str, Field],
    rows: int,
    dtype: str,
    origin: Origin,
) -> None:
    """Raise unless the state fits a model.

    Arguments:
        state: what was given as a state.
        fields: the model's state fields by full name.
        rows: the batch of the inputs.
        dtype: the dtype the model computes in, as a word.
        origin: the model's own origin; a state of other weights is flagged by a warning.
    """
    if not isinstance(state, State):
        raise StateError(
            f"expected a statewise State, got {type(state).__name__}; a tuple (h, c) as torch uses "
            "is (layers, batch, hidden): build sw.State({'0.h': h[0], '0.c': c[0]}) from it, each "
            "array (batch, hidden)"
        )
    theirs = state.origin.architecture if state.origin is not None else None
    if theirs is not None and theirs != origin.architecture:
        raise StateError(
            f"this state belongs to another architecture: expected fingerprint "
            f"{origin.architecture}, got {theirs}{_first_difference(state, fields)}; it came from "
            "another model, or the architecture has changed since. If the fields mean the same, "
            "drop its origin: sw.State(dict(state), state.position)"
        )
    if list(state) != list(fields) and set(state) != set(fields):
        raise StateError(
            f"the state does not fit this model{_first_difference(state, fields)}; "
            f"the model remembers {', '.join(fields) or 'nothing'}"
        )
    if state.batch != rows:
        raise StateError(
            f"the state has {state.batch} rows and the inputs have {rows}; choose rows with "
            "state.rows([...]), or put states together with State.cat"
        )
    for name, field in fields.items():
        array = state[name]
        expected, came = (rows, *field.shape), tuple(array.shape)
        if came != expected:
            raise StateError(
                f"{name!r} must have shape {expected}, got {came}; states are batch first, one "
                "array for each layer's field"
            )
        if dtype_name(array) != field.dtype(dtype):
            raise StateError(
                f"{name!r} must be {field.dtype(dtype)} in a model that computes in {dtype}, got "
                f"{dtype_name(array)}; convert it: sw.State({{**state, {name!r}: ...}}, "
                "state.position), or every field with state.to(...)"
            )
    weights = other_weights(state.origin, origin)
    if weights is not None:
        warn(
            f"this state was made with other weights (fingerprint {weights[0]}, the model's is "
            f"{weights[1]}): what it remembers is in another model's terms. Seed a new state "
            "from the history, or go on if the weights were only trained further"
        )


def _first_difference(state: State, fields: Mapping[str, Field]) -> str:
    missing = [name for name in fields if name not in state]
    extra = [name for name in state if name not in fields]
    if missing:
        return f" ({missing[0]!r} is missing)"
    if extra:
        return f" ({extra[0]!r} is not among its fields)"
    for name, field in fields.items():
        if tuple(state[name].shape[1:]) != field.shape:
            return f" ({name!r} is {tuple(state[name].shape[1:])}, expected {field.shape})"
    return ""
