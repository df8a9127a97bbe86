"""Bridges to other frameworks: models go in and out, their states with them."""

from statewise.interop.conversion import Parity, convert
from statewise.interop.keras_in import from_keras
from statewise.interop.keras_out import to_keras
from statewise.interop.onnx_in import from_onnx
from statewise.interop.onnx_out import to_onnx
from statewise.interop.padding import lengths
from statewise.interop.torch_in import from_torch
from statewise.interop.torch_out import to_torch
from statewise.loading import load_keras

__all__ = [
    "Parity",
    "convert",
    "from_keras",
    "from_onnx",
    "from_torch",
    "lengths",
    "load_keras",
    "to_keras",
    "to_onnx",
    "to_torch",
]
