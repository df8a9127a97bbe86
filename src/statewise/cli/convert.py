"""``statewise convert``: a model file of another kind, compared in a run of both"""

from __future__ import annotations

import contextlib
import sys

from statewise.interop import convert


def run(source: str, target: str, reset: bool, unsafe: bool) -> None:
    """Run the command."""
    with contextlib.redirect_stdout(sys.stderr):  # what the model prints is not part of the answer
        parity = convert(source, target, reset=reset, unsafe=unsafe)
    print(f"{source} -> {target}")
    print(
        f"parity: largest difference {parity.largest:.1e} of the largest output (reading "
        f"{parity.read:.1e}, writing {parity.written:.1e}), from a run of each on the same inputs"
    )
