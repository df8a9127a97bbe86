"""Words of messages: counts that agree with their noun, and names near the one that was given."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def format_count(count: int, noun: str, plural: str | None = None) -> str:
    """``1 step``, ``2 steps``; `plural` for a noun that takes no plain s."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def suggest(word: object, known: Iterable[object], prefix: str = "") -> str:
    """``; did you mean 'x'?`` where known names are near a word, nothing elsewhere.

    Arguments:
        prefix: what stands before each name, such as ``"id_col="``.
    """
    near = get_close_matches(str(word), [str(one) for one in known], 3, 0.5)
    return f"; did you mean {' or '.join(f'{prefix}{one!r}' for one in near)}?" if near else ""
