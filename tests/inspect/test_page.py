"""What a page shows is what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from tests.browser import chromium, complaints, faint
from tests.inspect.recorded import MARKUP, card_of, horizon_of, model_of, recorded

import statewise as sw
from statewise import inspect
from statewise.inspect.page import build_payload
from statewise.inspect.page.packing import unpack


@pytest.fixture(scope="module")
def trace() -> inspect.Trace:
    return recorded()


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


@pytest.fixture(scope="module")
def page(trace: inspect.Trace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    place = tmp_path_factory.mktemp("page") / "page.html"
    cards = [card_of(trace, "0.c", 3), card_of(trace, "1.h", 1)]
    trace.save_html(place, cards=cards, horizon=horizon_of(6), title=MARKUP)
    with chromium() as window:
        window.set_script_timeout(20)
        window.get(place.as_uri())
        reader = Reader(window)
        reader.until(lambda: len(window.find_elements(By.CSS_SELECTOR, ".main-svg")) > 4)
        yield reader


def test_it_begins_where_the_first_card_is_highest(page: Reader, trace: inspect.Trace) -> None:
    values = trace.unit("0.c", 3)
    assert page.now == (50 + int(values.argmax()), three_digits(values.max()))
    assert page.window.title == MARKUP
    assert page.window.find_element(By.TAG_NAME, "h1").text.startswith("</script><img")
    assert "9 steps" not in page.window.find_element(By.CSS_SELECTOR, ".title").text
    assert page.ask("return performance.getEntriesByType('resource').length") == 0
    assert page.ask("return document.images.length") == 0


def test_keys_move_through_the_text_and_its_values(page: Reader, trace: inspect.Trace) -> None:
    page.focus(".text")
    page.chord(Keys.CONTROL, Keys.HOME)
    assert page.now == (50, three_digits(trace["0.c"][0, 0, 3]))
    page.keys(*[Keys.ARROW_RIGHT] * 3, "]")
    assert page.now == (53, three_digits(trace["0.c"][0, 3, 4]))
    page.keys(Keys.ARROW_DOWN)
    down = page.now[0]
    assert down > 53
    page.keys(Keys.ARROW_UP, "[")
    step, value = page.now
    assert 50 <= step < down
    assert value == three_digits(trace["0.c"][0, step - 50, 3])
    page.chord(Keys.CONTROL, Keys.END)  # which is on the second leaf of the text
    assert page.now == (50 + trace.steps - 1, three_digits(trace["0.c"][0, -1, 3]))
    shown = page.ask("return document.querySelectorAll('.text span').length")
    assert shown == trace.steps - 3000
    page.chord(Keys.CONTROL, Keys.HOME)
    assert page.ask("return document.querySelector('.text').textContent")[:9] == MARKUP[:9]


def test_every_gate_of_the_unit_at_the_cursor(page: Reader, trace: inspect.Trace) -> None:
    loss = unpack(build_payload(trace)["loss"]["values"])[0]
    for name, unit, step in (("0.f", 5, 2), ("1.n", 2, 71), ("1.h", 3, 200)):
        page.choose(name, unit)
        page.ask("document.querySelector(`.text [data-step='${given[0]}']`).dispatchEvent("
                 "new PointerEvent('pointerdown', {bubbles: true}));", step)  # fmt: skip
        layer = name[0]
        expected = {
            own[2:]: three_digits(trace[own][0, step, unit]) for own in trace if own[0] == layer
        }
        assert page.gates() == expected | {"surprise": three_digits(loss[step])}


def test_a_character_under_the_pointer_shows_its_value(page: Reader, trace: inspect.Trace) -> None:
    page.choose("0.h", 1)
    place = page.window.find_element(By.CSS_SELECTOR, ".text [data-step='5']")
    page.window.execute_script("document.querySelector('.text').scrollTop = 0")
    ActionChains(page.window).move_to_element(place).perform()
    step, value = page.window.find_element(By.CLASS_NAME, "tip").text.split(": ")
    assert (int(step), number(value)) == (55, three_digits(trace["0.h"][0, 5, 1]))


def test_the_heat_map_is_the_trace_and_chooses(page: Reader, trace: inspect.Trace) -> None:
    page.choose("0.h", 1)
    page.ask("document.querySelector(\".text [data-step='40']\").dispatchEvent("
             "new PointerEvent('pointerdown', {bubbles: true}));")  # fmt: skip
    x, z = page.ask(
        "const [map] = document.querySelector('.heat .drawing').data; return [map.x, map.z]"
    )
    assert 40 in x
    np.testing.assert_allclose(z, trace["0.h"][0, x].T, rtol=1e-3, atol=1e-11)
    drawing = page.window.find_element(By.CSS_SELECTOR, ".heat .plot")
    width, height = drawing.size["width"] - 46 - 62, drawing.size["height"] - 28
    column, unit = 17, 4
    left, top = 46 + (column + 0.5) / len(x) * width, 6 + (unit + 0.5) / 6 * height
    action = ActionChains(page.window).move_to_element_with_offset(
        drawing, int(left - drawing.size["width"] / 2), int(top - drawing.size["height"] / 2)
    )
    action.click().perform()
    step = x[column]
    assert page.now == (50 + step, three_digits(trace["0.h"][0, step, unit]))
    page.keys(Keys.ARROW_UP, Keys.ARROW_LEFT)
    assert page.now == (50 + step - 1, three_digits(trace["0.h"][0, step - 1, unit - 1]))


SELECT = """
const [start, stop, threshold] = given, [from, to, on] = document.querySelectorAll('.fields input');
from.value = start + 50; to.value = stop + 49; on.value = threshold;
for (const field of [on, to]) field.dispatchEvent(new Event('change'));
"""
FOUND = """
const all = (selector) => [...document.querySelectorAll(`.found ${selector}`)];
return {
  units: all('.decisive button').map((one) => Number(one.dataset.unit)),
  always: all('.chip').map((one) => Number(one.dataset.unit)),
  matches: all('.passage').map(({dataset: d}) => [d.start, d.stop, d.units].map(Number)),
};
"""


def test_a_selection_finds_what_find_finds(page: Reader, trace: inspect.Trace) -> None:
    held = build_payload(trace)["values"]
    seen = inspect.Trace(
        {name: unpack(one).T[None] for name, one in held.items()},
        inputs=trace.inputs, before=trace.before, after=trace.after,
    )  # fmt: skip
    some = 0
    for name in ("0.h", "1.z", "0.c"):
        page.choose(name, 0)
        for start, stop, threshold in ((3, 5, 0.3), (70, 71, 0.5), (400, 403, 0.1), (0, 1, -0.2)):
            page.ask(SELECT, start, stop, threshold)
            shown = page.ask(FOUND)
            found = inspect.find(seen, (start, stop), threshold, name)
            assert shown["units"] == found.units
            assert sorted(shown["always"]) == found.always
            assert [tuple(match) for match in shown["matches"]] == found.matches[:40]
            assert inspect.find(trace, (start, stop), threshold, name).units == found.units
            some += bool(found.matches)
    assert some > 3


def test_hands_and_keys_select(page: Reader, trace: inspect.Trace) -> None:
    page.choose("0.h", 1)
    page.window.execute_script("document.querySelector('.text').scrollTop = 0")
    first, last = (
        page.window.find_element(By.CSS_SELECTOR, f".text [data-step='{step}']") for step in (4, 9)
    )
    ActionChains(page.window).click_and_hold(first).move_to_element(last).release().perform()
    bounds = (
        "return [...document.querySelectorAll('.fields input')].slice(0, 2).map((e) => e.value)"
    )
    assert page.ask(bounds) == ["54", "59"]
    marked = "return document.querySelectorAll('.text .selected').length"
    assert page.ask(marked) == 6
    window = "return document.querySelector('.heat .drawing').data[0].x"
    assert 9 in page.ask(window)
    page.chord(Keys.SHIFT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert page.ask(bounds) == ["54", "61"]
    page.chord(Keys.SHIFT, *[Keys.ARROW_LEFT] * 4)
    assert page.ask(bounds) == ["54", "57"]
    starts = range(10, 99)
    start = next(t for t in starts if inspect.find(trace, (t, t + 2), 0.3, "0.h").matches)
    page.ask(SELECT, start, start + 2, 0.3)
    match = page.window.find_element(By.CSS_SELECTOR, ".found .passage")
    match.click()
    assert page.now[0] == 50 + int(match.get_attribute("data-start"))
    page.keys(Keys.ESCAPE)
    assert page.ask(bounds) == ["", ""]
    assert page.ask(marked) == 0


def test_cards_lead_to_their_places(page: Reader, trace: inspect.Trace) -> None:
    first, second = page.window.find_elements(By.CSS_SELECTOR, ".card")
    assert "not" not in first.find_element(By.TAG_NAME, "summary").text
    assert "onerror" in first.find_element(By.TAG_NAME, "summary").text
    second.find_element(By.TAG_NAME, "summary").click()
    second.find_element(By.XPATH, ".//button[text()='Show']").click()
    second.find_element(By.CSS_SELECTOR, "button.passage").click()  # where its effect is largest
    assert page.now == (55, three_digits(trace["1.h"][0, 5, 1]))
    assert page.ask("return document.querySelector('.card.chosen').dataset.name") == "1.h"
    second.find_elements(By.CSS_SELECTOR, "button.passage")[1].click()
    assert page.now[1] == three_digits(trace.unit("1.h", 1).max())
    curves = page.ask("return document.querySelector('.horizon .drawing').data.map((one) => one.y)")
    assert curves == [[1, 0.5, 0.1], [1, 0.25, None]]
    page.choose("0.c", 3)
    said = page.window.find_element(By.CSS_SELECTOR, ".horizon > p:last-child").text
    assert said.startswith(
        "Measured, half of the units keep a third of it for 2 steps, unit 3 for more than 2 steps; "
        "by the gates alone, half of the units keep a third of it for 1 step, unit 3 for 1 step."
    )


def test_a_phone_holds_it_and_it_can_be_read_in_both_schemes(page: Reader) -> None:
    page.choose("0.h", 1)
    page.ask(SELECT, 3, 5, 0.3)
    size = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": False}
    page.window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    papers = []
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        assert page.ask("return document.documentElement.scrollWidth") <= 360
        assert faint(page.window) == []
        papers.append(
            page.ask("return getComputedStyle(document.body.firstElementChild).backgroundColor")
        )
    assert papers[0] != papers[1]


def test_it_never_complained(page: Reader) -> None:
    assert complaints(page.window) == []


def test_a_series_has_its_curve_and_labels(tmp_path: Path) -> None:
    model = model_of(sw.Architecture(sw.Vector(1), [sw.LSTM(5)], sw.Linear(1)))
    x = np.sin(np.arange(120, dtype=np.float32) / 3)[None, :, None]
    trace = inspect.record(model, x).align([f"day {day} <b>" for day in range(120)])
    trace.save_html(tmp_path / "series.html", unit=("0.h", 2))
    with chromium(dark=True) as window:
        window.set_script_timeout(20)
        window.get((tmp_path / "series.html").as_uri())
        page = Reader(window)
        page.until(lambda: len(window.find_elements(By.CSS_SELECTOR, ".main-svg")) > 4)
        y, text = page.ask(
            "const [c] = document.querySelector('.reading .drawing').data; return [c.y, c.text]"
        )
        np.testing.assert_allclose(y, x[0, :, 0], rtol=1e-3, atol=1e-11)
        assert text[7] == "day 7 <b>"
        page.focus(".reading .plot")
        page.keys(Keys.HOME, *[Keys.ARROW_RIGHT] * 7)
        page.chord(Keys.SHIFT, Keys.ARROW_RIGHT)
        assert page.now == (8, three_digits(trace["0.h"][0, 8, 2]))
        assert page.gates()["input"] == three_digits(float(x[0, 8, 0]))
        assert "day 7 <b> to day 8 <b>" in window.find_element(By.CLASS_NAME, "found").text
        assert faint(window) == []
        assert complaints(window) == []


def test_a_projection_is_shown_by_itself(tmp_path: Path) -> None:
    """Unit 1 of h is no unit 1 of c: gates, player and horizon keep them apart."""
    model = model_of(
        sw.Architecture(sw.Vector(1), [sw.LSTM(6, projection=2), sw.GRU(3)], sw.Linear(1))
    )
    x = np.sin(np.arange(60, dtype=np.float32) / 3)[None, :, None]
    trace = inspect.record(model, x, names="*")
    horizon = {**horizon_of(6), "units": list(range(6))}
    trace.save_html(tmp_path / "projected.html", unit=("0.c", 1), horizon=horizon)
    with chromium() as window:
        window.set_script_timeout(20)
        window.get((tmp_path / "projected.html").as_uri())
        page = Reader(window)
        page.until(lambda: len(window.find_elements(By.CSS_SELECTOR, ".main-svg")) > 4)
        assert "LSTM(6, projection=2) → GRU(3)" in window.find_element(By.TAG_NAME, "header").text
        shown = [
            (("0.c", 1), set("ifgoc"), "h has units of its own: choose", "unit 1 for"),
            (("0.h", 1), set("h"), "i, f, g, o and c have units of their own: choose", ""),
            (("1.h", 1), set("rznh"), "", ""),
        ]
        for (name, unit), values, note, horizon_note in shown:
            page.choose(name, unit)
            assert page.gates().keys() - {"input", "surprise"} == values
            assert page.now[1] == three_digits(trace[name][0, page.now[0], unit])
            noted = window.find_element(By.CSS_SELECTOR, ".gates .keys").text
            assert noted.startswith(note)
            assert bool(noted) == bool(note)
            said = window.find_element(By.CSS_SELECTOR, ".horizon > p:last-child").text
            assert ("unit 1 for" in said) == bool(horizon_note)
            parts = page.ask(
                "return [...document.querySelectorAll('.player-values [data-part]')].map("
                "(one) => one.dataset.part)"
            )
            assert set(parts) == (set() if name == "1.h" else values)
        assert complaints(window) == []
