"""The learned initial state."""

from __future__ import annotations

from collections.abc import Mapping

from statewise.cell import Field, Parameter
from statewise.initializers import Zeros


def learned(wanted: bool, fields: Mapping[str, Field]) -> dict[str, Parameter]:
    """Parameters ``<field>0`` for these fields, first zero, or none where not wanted."""
    if not wanted:
        return {}
    return {f"{name}0": Parameter(field.shape, Zeros()) for name, field in fields.items()}
