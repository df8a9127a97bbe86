"""``statewise convert``: a model file into another kind, with a run of both."""

from __future__ import annotations

from statewise.interop import convert


def run(source: str, target: str, reset: bool, unsafe: bool) -> None:
    """The command."""
    parity = convert(source, target, reset=reset, unsafe=unsafe)
    print(f"{source} -> {target}")
    print(
        f"parity: largest difference {parity.largest:.1e} of the largest output (reading "
        f"{parity.read:.1e}, writing {parity.written:.1e}), from a run of each on the same inputs"
    )
