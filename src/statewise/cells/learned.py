"""The learned initial state."""

from __future__ import annotations

from collections.abc import Mapping

from statewise.declarations import Field, Parameter
from statewise.initializers import Zeros


def declare_learned_state(wanted: bool, fields: Mapping[str, Field]) -> dict[str, Parameter]:
    """Parameters ``<field>0`` for these fields, first zero, or none where not wanted."""
    if not wanted:
        return {}
    return {f"{name}0": Parameter(field.shape, Zeros()) for name, field in fields.items()}
