"""One model loader for every room: a file or ``module:attribute`` as a model of its framework."""

from statewise.loading.foreign import describe_foreign
from statewise.loading.frameworks import framework_of
from statewise.loading.keras_backend import installed_backends, require_keras
from statewise.loading.keras_files import KERAS_SUFFIXES, load_keras
from statewise.loading.onnx_files import load_onnx
from statewise.loading.sources import (
    MODEL_SUFFIXES,
    find_model_file,
    is_keras_file,
    load_model,
    load_statewise,
)

__all__ = [
    "KERAS_SUFFIXES",
    "MODEL_SUFFIXES",
    "describe_foreign",
    "find_model_file",
    "framework_of",
    "installed_backends",
    "is_keras_file",
    "load_keras",
    "load_model",
    "load_onnx",
    "load_statewise",
    "require_keras",
]
