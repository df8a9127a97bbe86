"""The player in a browser: what it shows is what was recorded, and it plays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from tests.browser import chromium, complaints
from tests.conformance.zoo import weights

import statewise as sw
from statewise import inspect
from statewise.inspect.page import build_payload, read_module, read_styles

MINUS, TIMES = "\u2212", "\u00d7"
TEXT = 'if "a" <b>\n\tx'


@dataclass(frozen=True)
class Leaky(sw.Cell):
    units: int

    def state(self, inputs):
        return {"h": (self.units,)}

    def parameters(self, inputs):
        return {"W": ((self.units, inputs), sw.Glorot())}

    def step(self, p, x, s):
        h = 0.9 * s["h"] + 0.1 * (x @ p["W"].T)
        return h, {"h": h}, {"h": h}


@dataclass(frozen=True)
class Slots(sw.Cell):
    """Units beside memories of other lengths: one of them as long as the output, by chance."""

    units: int
    slots: int

    def state(self, inputs):
        return {"h": (self.units,), "m": (self.slots,), "grid": (self.units, self.units)}

    def parameters(self, inputs):
        return {
            "W": ((self.units, inputs), sw.Glorot()),
            "V": ((self.slots, inputs), sw.Glorot()),
        }

    def step(self, p, x, s):
        z, gate = 1 / (1 + np.exp(-(x @ p["W"].T))), np.tanh(x @ p["V"].T)
        h, m = z * s["h"] + (1 - z) * x @ p["W"].T, 0.5 * s["m"] + gate
        grid = 0.9 * s["grid"] + h[:, :, None] * h[:, None, :]
        after = {"h": h, "m": m, "grid": grid}
        return h, after, {"z": z, "gate": gate, **after}


LAYERS = [
    sw.LSTM(4), sw.GRU(4), sw.GRU(4, reset="before", activation="softsign"), sw.Elman(4, "relu"),
    sw.Residual(sw.LSTM(4)), sw.LSTM(4, coupled=True), sw.Residual(sw.Zoneout(sw.GRU(4))), Leaky(4),
    sw.LSTM(4, projection=3), sw.Residual(sw.LSTM(4, projection=3)), Slots(3, slots=5),
]  # fmt: skip
DRAWN = {"LSTM": (0, 4), "GRU": (1, 2), "Elman": (3,)}
PLAIN = [
    ["5.i", "5.f", "5.g", "5.o", "5.c", "5.h"],
    ["6.r", "6.z", "6.n", "6.h", "6.y"],
    ["7.h"],
    ["8.i", "8.f", "8.g", "8.o", "8.c"], ["8.h"],  # a projection: other units
    ["9.i", "9.f", "9.g", "9.o", "9.c"], ["9.h", "9.y"],
    ["10.z", "10.h"], ["10.gate"], ["10.m"], ["10.grid"],
]  # fmt: skip
"""The values of one unit each, which the page may show side by side."""


@pytest.fixture(scope="module")
def trace() -> inspect.Trace:
    arch = sw.Architecture(sw.Tokens(9, 4), LAYERS, sw.Linear(9))
    model = sw.runtime.Model(arch, {k: 3 * w for k, w in weights(arch).items()})
    x = np.array([[ord(character) % 9 for character in TEXT]])
    _, before = model(x)
    reset = np.zeros(x.shape, bool)
    reset[0, 6] = True
    return inspect.record(model, x, before, names="*", reset=reset).align(TEXT)


@pytest.fixture(scope="module")
def chrome(trace: inspect.Trace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    place: Path = tmp_path_factory.mktemp("player") / "player.html"
    held = json.dumps(build_payload(trace)).replace("<", "\\u003c")
    place.write_text(
        f'<meta charset="utf-8"><style>{read_styles()}</style><div class="statewise"></div>'
        f'<script type="module">{read_module()}\nwindow.steps = [];'
        f"const recording = await Recording.decode({held});"
        'window.player = new Player(document.querySelector(".statewise"), recording,'
        "{ name: '0.c', unit: 2, step: 3, onstep: (step) => steps.push(step) });</script>"
    )
    with chromium() as window:
        window.get(place.as_uri())
        WebDriverWait(window, 10, 0.05).until(lambda w: w.execute_script("return !!window.player"))
        yield window


@pytest.fixture
def window(chrome: Chrome) -> Iterator[Chrome]:
    chrome.execute_script(
        "player.set({name: '0.c', unit: 2, step: 5}); player.go(3); steps.length = 0"
    )
    yield chrome
    assert complaints(chrome) == []


EVERYTHING = """
player.set({name: arguments[0], unit: arguments[1]});
const all = [];
for (let step = 0; step < arguments[2]; step++) {
  player.set({step});
  const parts = [...document.querySelectorAll("[data-part][data-value]")];
  all.push(Object.fromEntries(parts.map(({ dataset }) => [dataset.part, Number(dataset.value)])));
}
return all;
"""


def played(window: Chrome, trace: inspect.Trace, name: str, unit: int = 2) -> dict[str, Any]:
    """Every value shown with a unit of a name, part by part, through time."""
    each = window.execute_script(EVERYTHING, name, unit, trace.steps)
    return {part: np.array([one[part] for one in each]) for part in each[0]}


def before(trace: inspect.Trace, name: str, unit: int) -> np.ndarray:
    values = trace.unit(name, unit)
    old = np.r_[trace.before[name][0, unit], values[:-1]]
    return np.where(trace.reset[0], 0, old)


def near(shown: np.ndarray, expected: np.ndarray) -> None:
    """As near as a page keeps values: three digits of them, and of what they are made from."""
    np.testing.assert_allclose(shown, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("layer", DRAWN["LSTM"])
def test_an_lstm_is_computed_again(window: Chrome, trace: inspect.Trace, layer: int) -> None:
    shown = played(window, trace, f"{layer}.h")
    i, f, g, o, c, h = (trace.unit(f"{layer}.{name}", 2) for name in "ifgoch")
    old = before(trace, f"{layer}.c", 2)
    expected = {
        "f": f, "i": i, "g": g, "o": o, "c": c, "h": h, "oldC": old,
        "oldH": before(trace, f"{layer}.h", 2), "kept": f * old, "written": i * g,
        "shown": np.tanh(c), "fTimes": f, "oTimes": o, "keptPipe": f * old, "squash": c,
    }  # fmt: skip
    for part, values in expected.items():
        near(shown[part], values)
    near(shown["kept"] + shown["written"], c)
    near(shown["o"] * shown["shown"], h)
    assert not shown["oldC"][6]  # it was reset


@pytest.mark.parametrize("layer", DRAWN["GRU"])
def test_a_gru_is_computed_again(window: Chrome, trace: inspect.Trace, layer: int) -> None:
    shown = played(window, trace, f"{layer}.h")
    r, z, n, h = (trace.unit(f"{layer}.{name}", 2) for name in "rznh")
    old = before(trace, f"{layer}.h", 2)
    expected = {"r": r, "z": z, "n": n, "h": h, "oldH": old, "kept": z * old, "rest": 1 - z}
    for part, values in expected.items():
        near(shown[part], values)
    near(shown["kept"] + shown["written"], h)
    order = (
        "return ['rTimes', 'matrix'].map((part) => document.querySelector(`[data-part=${part}]`)"
    )
    x = window.execute_script(f"{order}.getBoundingClientRect().x)")
    assert (x[0] > x[1]) == (layer == 1)  # after the product with R, or before it


def test_an_elman_is_computed_again(window: Chrome, trace: inspect.Trace) -> None:
    shown = played(window, trace, "3.a")
    near(shown["a"], trace.unit("3.a", 2))
    near(np.maximum(shown["a"], 0), shown["h"])
    assert "relu(" in said(window, phase=2)


@pytest.mark.parametrize("names", PLAIN, ids="-".join)
def test_other_cells_get_no_false_diagram_and_one_unit(
    window: Chrome, trace: inspect.Trace, names: list[str]
) -> None:
    layer = names[0].partition(".")[0]
    others = [one for one in trace if one.partition(".")[0] == layer and one not in names]
    expected = {
        one.partition(".")[2]: trace[one][0].reshape(trace.steps, -1)[:, 2] for one in names
    }
    for name in names:
        shown = played(window, trace, name)
        assert shown.keys() == expected.keys()
        for own, values in expected.items():
            near(shown[own], values)
        assert not window.find_elements(By.CSS_SELECTOR, ".player-diagram")
        spoken = said(window)
        title = window.find_element(By.CSS_SELECTOR, ".player h3").text
        assert title.startswith(f"Unit 2 of layer {layer}, ")
        for other in others:
            assert f" {other.partition('.')[2]} " not in spoken.replace(",", "")
        legend = window.find_element(By.CSS_SELECTOR, ".player-legend").text
        assert ("of their own" in legend or "of its own" in legend) == bool(others)


def test_a_layer_is_called_what_python_calls_it(window: Chrome, trace: inspect.Trace) -> None:
    labels = [layer["label"] for layer in build_payload(trace)["layers"]]
    assert labels == [
        "LSTM(4)", "GRU(4)", 'GRU(4, reset="before", activation="softsign")',
        'Elman(4, activation="relu")', "Residual(LSTM(4))", "LSTM(4, coupled=True)",
        "Residual(Zoneout(GRU(4)))", "Leaky(4)", "LSTM(4, projection=3)",
        "Residual(LSTM(4, projection=3))", "Slots(3, 5)",
    ]  # fmt: skip
    window.execute_script("player.set({name: '8.h', unit: 1})")
    title = window.find_element(By.CSS_SELECTOR, ".player h3").text
    assert title == "Unit 1 of layer 8, LSTM(4, projection=3): h"


def said(window: Chrome, phase: int | None = None) -> str:
    if phase is not None:
        window.execute_script("player.at(player.step, arguments[0], 1)", phase)
    return str(window.find_element(By.CSS_SELECTOR, ".player-words").text)


def test_it_says_what_happens(window: Chrome, trace: inspect.Trace) -> None:
    f, i, g, o, c = (float(trace.unit(f"0.{name}", 2)[3]) for name in "figoc")
    old = float(trace.unit("0.c", 2)[2])

    def text(value: float) -> str:
        return (f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}").replace("-", MINUS)

    whole = said(window)
    assert whole.startswith(f"Keeps {100 * f:.0f}% of {text(old)}, adds {text(i)} {TIMES} ")
    assert f"c is {text(c)}. Shows {text(o)} of tanh(c)" in whole
    assert 'Reads “"” and all 4 values of the old h' in said(window, phase=0)
    assert text(f * old) in said(window, phase=1)
    assert text(i * g) in said(window, phase=2)
    window.execute_script("player.go(6)")
    assert said(window).startswith("The state was reset. Keeps ")
    window.execute_script("player.go(9)")
    assert window.find_element(By.CSS_SELECTOR, "[data-part=input] .player-text").text == ">"


def test_it_plays_and_stops(window: Chrome) -> None:
    window.execute_script("player.speed = 16")
    root = window.find_element(By.CSS_SELECTOR, ".player")
    words = window.find_element(By.CSS_SELECTOR, ".player-words")
    root.send_keys(" ")
    assert words.get_attribute("aria-live") == "off"
    assert window.find_element(By.CSS_SELECTOR, ".player-primary").get_attribute("title") == "Pause"
    WebDriverWait(window, 10, 0.02).until(lambda w: w.execute_script("return steps.length > 1"))
    root.send_keys(" ")
    step, moving = window.execute_script("return [player.step, player.playing]")
    assert not moving
    assert words.get_attribute("aria-live") == "polite"
    assert window.execute_script("return steps") == list(range(4, step + 1))
    window.execute_script("player.go(11); player.play()")  # to the end, where it stops by itself
    WebDriverWait(window, 10, 0.02).until(lambda w: w.execute_script("return player.ended"))
    assert not window.execute_script("return player.playing")


def test_keys_go_by_phase_and_step(window: Chrome) -> None:
    root = window.find_element(By.CSS_SELECTOR, ".player")

    def place() -> list[float]:
        return list(window.execute_script("return [player.step, player.phase, player.k]"))

    for key, expected in [
        (Keys.ARROW_DOWN, [4, 4, 1]), (Keys.ARROW_UP, [3, 4, 1]), (Keys.ARROW_LEFT, [3, 3, 1]),
        (Keys.END, [len(TEXT) - 1, 4, 1]), (Keys.HOME, [0, 4, 1]),
    ]:  # fmt: skip
        root.send_keys(key)
        assert place() == expected
    window.execute_script("player.speed = 16")
    root.send_keys(Keys.ARROW_RIGHT)  # flows to the end of the next phase
    WebDriverWait(window, 10, 0.02).until(lambda w: place() == [1, 0, 1])
    still = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    window.execute_cdp_cmd("Emulation.setEmulatedMedia", still)
    root.send_keys(Keys.ARROW_RIGHT)
    assert place() == [1, 1, 1]  # at once
    window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_pipe_is_as_wide_as_its_value(window: Chrome, trace: inspect.Trace) -> None:
    unit = int(np.abs(trace["0.c"][0, 3]).argmax())
    window.execute_script("player.set({unit: arguments[0]})", unit)
    wide = "return document.querySelector(`[data-part=${arguments[0]}] .player-fill`)"
    kept, new = (
        float(window.execute_script(f"{wide}.getAttribute('stroke-width')", part))
        for part in ("keptPipe", "cPipe")
    )
    f, c, old = (trace.unit(name, unit)[at] for name, at in [("0.f", 3), ("0.c", 3), ("0.c", 2)])
    assert kept / new == pytest.approx(abs(f * old / c), rel=0.01)
    flow = (
        "player.at(3, 1, 0.3); return document.querySelector('[data-part=oldCPipe] .player-fill')"
    )
    assert 0 < float(window.execute_script(f"{flow}.style.strokeDasharray.split(/[ ,]+/)[0]")) < 1


def test_what_is_no_number_breaks_nothing(window: Chrome) -> None:
    window.execute_script(
        "window.whole = player.recording;"
        "player.recording = Object.assign(Object.create(whole), {"
        "value: () => NaN, before: () => -Infinity, unit: () => new Float32Array(13).fill(NaN)});"
    )
    try:
        for name in window.execute_script("return whole.names"):
            window.execute_script("player.set({name: arguments[0], unit: 1})", name)
            window.execute_script("for (let k = 0; k <= player.last; k++) player.at(4, k, 0.5)")
        window.execute_script("player.set({name: '0.c'}); player.go(2)")
        assert "new c" in window.find_element(By.CSS_SELECTOR, ".player-sums").text
        assert "\u2013" in window.find_element(By.CSS_SELECTOR, "[data-part=c]").text
    finally:
        window.execute_script("player.recording = whole")


def test_a_phone_is_wide_enough(window: Chrome) -> None:
    def narrow(width: int) -> None:
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    narrow(360)
    WebDriverWait(window, 5, 0.02).until(
        lambda w: w.execute_script("return player.layout") == "narrow"
    )
    beyond = (
        "const edge = document.documentElement.clientWidth;"
        "const texts = [...document.querySelectorAll('.player-diagram text, .player button')];"
        "return texts.filter((one) => one.getBoundingClientRect().right > edge).length"
    )
    for layer in range(4):
        window.execute_script("player.set({name: `${arguments[0]}.h`})", layer)
        assert window.execute_script(beyond) == 0
        assert window.execute_script("return document.documentElement.scrollWidth") <= 360
    narrow(1280)
