"""The widget: built without a browser, and shown by one as a notebook would show it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from tests.browser import chromium, complaints
from tests.conformance.zoo import weights

import statewise as sw
from statewise import inspect
from statewise.inspect.page import build_payload, read_module, read_styles

HOST = """<!doctype html><meta charset="utf-8"><style>%(css)s</style><div id="cell"></div>
<script type="application/json" id="state">%(state)s</script>
<script type="module">
const { esm, ...state } = JSON.parse(document.getElementById("state").textContent);
const held = new Blob([esm], { type: "text/javascript" });
const { default: widget } = await import(URL.createObjectURL(held));
const model = { get: (name) => state[name], on() {}, set() {}, save_changes() {} };
window.leave = await widget.render({ model, el: document.getElementById("cell") });
</script>"""


@pytest.fixture(scope="module")
def trace() -> inspect.Trace:
    arch = sw.Architecture(sw.Tokens(9, 4), [sw.LSTM(5)], sw.Linear(9))
    text = "notebook <cells>\n" * 3
    x = np.array([[ord(character) % 9 for character in text]])
    return inspect.record(sw.runtime.Model(arch, weights(arch)), x).align(text)


def test_it_is_built_without_a_browser(trace: inspect.Trace, monkeypatch) -> None:
    view = trace.widget(unit=("0.h", 3), title="notes", steps=(4, 20))
    assert view.payload == build_payload(trace, 0, ("0.h", 3), title="notes", steps=(4, 20))
    assert (str(view._esm), str(view._css)) == (read_module(), read_styles())
    with pytest.raises(sw.InputError, match="units 0 to 4, got 9"):
        trace.widget(unit=("0.h", 9))
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(sw.errors.MissingExtraError, match=r"statewise\[inspect\]"):
        trace.widget()


def test_a_notebook_shows_it(trace: inspect.Trace, tmp_path: Path) -> None:
    view = trace.widget(unit=("0.c", 2))
    state = {"esm": str(view._esm), "payload": view.payload, "plotly": view.plotly}
    place = tmp_path / "notebook.html"
    written = json.dumps(state).replace("<", "\\u003c")
    place.write_text(HOST % {"css": view._css, "state": written})
    with chromium() as window:
        window.get(place.as_uri())
        WebDriverWait(window, 20, 0.05).until(lambda w: w.execute_script("return !!window.leave"))
        WebDriverWait(window, 20, 0.05).until(
            lambda w: "Unit 2 of layer 0" in w.find_element(By.CSS_SELECTOR, ".player h3").text
        )
        step = int(window.execute_script("return document.querySelector('.player > input').value"))
        shown = window.execute_script(
            "return document.querySelector('[data-part=c]').dataset.value"
        )
        assert float(shown) == pytest.approx(trace["0.c"][0, step, 2], rel=1e-3)
        window.execute_script("window.leave()")
        assert complaints(window) == []
