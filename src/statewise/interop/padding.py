"""`lengths`: what a mask of padding says, as the lengths that a call takes."""

from __future__ import annotations

import numpy as np

from statewise.errors import InputError


def lengths(x: np.ndarray, padding: float = 0) -> np.ndarray:
    """How many steps of each row are not padding, for models that Keras masks.

    Arguments:
        x: tokens (B, T), or vectors (B, T, F) of which one all of `padding` is padding.
        padding: Keras's ``mask_value``; 0 for ``mask_zero``.

    Returns:
        (B,) int64.

    Raises:
        InputError: padding before a step that is not: pad at the end.

    Example::

        y, state = model(tokens, lengths=sw.interop.lengths(tokens))
    """
    x = np.asarray(x)
    if x.ndim not in (2, 3):
        raise InputError(f"lengths takes (batch, time) or (batch, time, features), got {x.shape}")
    differs = x != padding
    valid = differs if x.ndim == 2 else differs.any(axis=2)
    if (valid[:, 1:] & ~valid[:, :-1]).any():
        row = int(np.flatnonzero((valid[:, 1:] & ~valid[:, :-1]).any(axis=1))[0])
        raise InputError(
            f"row {row} has padding before a step that is not padding; statewise pads at the end: "
            "move the padding there"
        )
    return np.asarray(valid.sum(axis=1), dtype=np.int64)
