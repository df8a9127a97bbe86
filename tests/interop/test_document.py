"""The blocks of docs/interop.md run, one after the other."""

import os
import re
import subprocess
import sys
from pathlib import Path

from .conftest import need

ROOT = Path(__file__).parent.parent.parent


def test_the_document_runs_from_top_to_bottom(tmp_path):
    for package in ("keras", "onnxruntime", "onnx", "jax"):
        need(package)
    blocks = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "interop.md").read_text(), re.DOTALL
    )
    assert len(blocks) == 4
    (tmp_path / "tour.py").write_text("\n".join(blocks))
    done = subprocess.run(
        [sys.executable, "tour.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KERAS_BACKEND": "torch"},
    )
    assert done.returncode == 0, done.stderr
