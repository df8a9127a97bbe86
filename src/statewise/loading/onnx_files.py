"""`load_onnx`: an ONNX file, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from statewise.errors import FileError
from statewise.extras import require


def load_onnx(path: str | Path) -> Any:
    """The ``onnx.ModelProto`` of a file, with its weights.

    Raises:
        FileError: no such file, one that is damaged, or weights outside of its folder.
    """
    onnx = require("onnx", "onnx", f"reading {path}")
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path} does not exist; expected an .onnx file")
    try:
        graph = onnx.load(path)
        onnx.checker.check_model(graph)
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FileError(f"{path} is not a whole ONNX model: {first[:200]}") from error
    return graph
