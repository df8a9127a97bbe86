"""`framework_of`: whose model this is."""

from __future__ import annotations

import sys
from typing import Any

from statewise.model import ModelBase


def framework_of(model: Any) -> str | None:
    """``statewise``, ``keras``, ``flax``, ``torch`` or ``onnx``; None for what is no model.

    Nothing is imported for it: whoever holds a model of a framework has imported that framework.
    """
    if isinstance(model, type):
        return None
    if isinstance(model, ModelBase):
        return "statewise"
    for name, path in _CLASSES.items():  # Keras before torch, on which its layers may be built
        package, *attributes = path.split(".")
        kind: Any = sys.modules.get(package)
        for attribute in attributes:
            kind = getattr(kind, attribute, None)
        if isinstance(kind, type) and isinstance(model, kind):
            return name
    return None


_CLASSES = {
    "keras": "keras.layers.Layer",
    "flax": "flax.nnx.Module",
    "torch": "torch.nn.Module",
    "onnx": "onnx.ModelProto",
}
