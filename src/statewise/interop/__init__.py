"""Bridges to other frameworks: models go in and out, their states with them."""

from statewise.interop.torch_in import from_torch
from statewise.interop.torch_out import to_torch

__all__ = ["from_torch", "to_torch"]
