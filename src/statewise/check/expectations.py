"""`load_expectation`: what ``--expect`` names"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from statewise.errors import FileError


def load_expectation(given: str | None) -> str | dict[str, Any] | None:
    """``carry``, ``reset``, or the contents of a JSON file of fact -> answer.

    Raises:
        FileError: no file, or one that does not map facts to answers.
    """
    if given is None or given in ("carry", "reset"):
        return given
    path = Path(given)
    if not path.is_file():
        raise FileError(
            f"there is no file {given}; expect carry, reset, or the answers in a JSON file"
        )
    try:
        expected = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileError(f"{given} is not JSON ({error}); it maps facts to answers") from error
    if not isinstance(expected, dict) or not all(map(_is_answer, expected.values())):
        raise FileError(
            f'{given} must map facts to answers, such as {{"carry.call": "reset", '
            '"padding.*": ["ignored", "seen"]}'
        )
    return expected


def _is_answer(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(isinstance(one, str) for one in values)
