"""A recorded run with markup in its text, and what stands beside it on a page."""

from __future__ import annotations

from typing import Any

import numpy as np
from tests.conformance.zoo import weights

import statewise as sw
from statewise import inspect

MARKUP = "</script><img src=x onerror=\"document.title='taken'\"><!--\u2028"
LETTERS = sorted(set("abcdef \n\t'=()" + MARKUP))
RNG = np.random.default_rng(0)
TEXT = MARKUP + "".join(RNG.choice(LETTERS, 3100))


def model_of(arch: sw.Architecture) -> sw.runtime.Model:
    return sw.runtime.Model(arch, {name: 3 * value for name, value in weights(arch).items()})


def recorded() -> inspect.Trace:
    size = len(LETTERS)
    model = model_of(sw.Architecture(sw.Tokens(size, 4), [sw.LSTM(6), sw.GRU(4)], sw.Linear(size)))
    x = np.array([[LETTERS.index(letter) for letter in TEXT]])
    _, before = model(x[:, :50])
    reset = np.zeros(x.shape, bool)
    reset[0, 70] = True
    return inspect.record(model, x, before, "*", reset=reset).align(TEXT)


def card_of(trace: inspect.Trace, name: str, unit: int) -> dict[str, Any]:
    """A card as `explain_units` gives it."""
    values = trace[name][0, :, unit]

    def context(step: int) -> dict[str, Any]:
        around = {"before": MARKUP, "at": TEXT[step], "after": TEXT[step + 1 : step + 9]}
        return {"step": step, "value": float(values[step]), **around}

    label = {"label": MARKUP, "score": 0.9, "control": float("nan"), "sign": -1}
    effect = {"kind": "ablated", "to": 0.25, "change": 0.5, "where": [{**label, "change": 1.5}]}
    return {
        "name": name, "unit": unit, "mean": 0.1, "low": -0.5, "high": 0.75, "labels": [label],
        "effects": [{**effect, "contexts": [context(5)]}], "measure": "bits",
        "top": [context(int(values.argmax()))], "bottom": [context(int(values.argmin()))],
    }  # fmt: skip


def horizon_of(units: int) -> dict[str, Any]:
    curves = {"actual": [1.0, 0.5, 0.1], "claimed": [1.0, 0.25, float("inf")]}
    steps = {"actual": [2, 3] * (units // 2), "claimed": [1] * units}
    return {"name": "0.c", "units": list(range(units)), "curves": curves, "steps": steps}
