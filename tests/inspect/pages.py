"""Traces to make a page of, and a reader of pages in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.support.ui import WebDriverWait
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


class Reader:
    """The page before a reader's eyes and hands."""

    def __init__(self, window: Chrome) -> None:
        self.window = window

    def until(self, met: Callable[[], object]) -> None:
        WebDriverWait(self.window, 20, 0.05).until(lambda _: met())

    def ask(self, script: str, *given: object) -> Any:
        """What a script returns; the page has caught up with all before it, and with the script."""
        calm = "requestAnimationFrame(() => requestAnimationFrame(() => "
        return self.window.execute_async_script(
            f"const done = arguments[arguments.length - 1], given = [...arguments]; {calm} {{"
            f"const found = (() => {{ {script} }})(); {calm} done(found))); }}));",
            *given,
        )

    def keys(self, *keys: str) -> None:
        ActionChains(self.window).send_keys(*keys).perform()

    def chord(self, modifier: str, *keys: str) -> None:
        ActionChains(self.window).key_down(modifier).send_keys(*keys).key_up(modifier).perform()

    def focus(self, selector: str) -> None:
        self.window.execute_script("document.querySelector(arguments[0]).focus()", selector)

    def choose(self, name: str, unit: int) -> None:
        self.ask(
            "const [name, unit] = given; const set = (e, v) => { e.value = v;"
            "e.dispatchEvent(new Event('change')); };"
            "set(document.querySelector('.toolbar select'), name);"
            "set(document.querySelector('.unit input'), unit);",
            name, unit,
        )  # fmt: skip

    @property
    def now(self) -> tuple[int, float]:
        """The step and the value that the toolbar shows."""
        step, value = self.ask(
            "const q = (s) => document.querySelector(`.now ${s}`).textContent;"
            "return [q('span'), q('b')]"
        )
        return int(step.removeprefix("step ").replace(",", "")), number(value)

    def gates(self) -> dict[str, float]:
        found = self.ask(
            "return [...document.querySelectorAll('.labels output')].map("
            "(one) => [one.dataset.name, one.textContent])"
        )
        return {name: number(value) for name, value in found}


def number(text: str) -> float:
    return float("nan") if text == "\N{EN DASH}" else float(text.replace("\N{MINUS SIGN}", "-"))


def three_digits(value: float) -> Any:
    return pytest.approx(value, rel=6e-3)
