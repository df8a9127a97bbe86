"""What a page holds is what was recorded."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.inspect.recorded import (
    MARKUP,
    RNG,
    TEXT,
    card_of,
    model_of,
    recorded,
)

import statewise as sw
from statewise import inspect
from statewise.inspect.losses import get_next_loss
from statewise.inspect.page import build_payload, read_module, render_page
from statewise.inspect.page.packing import pack, unpack
from statewise.spec import format_spec


@pytest.fixture(scope="module")
def trace() -> inspect.Trace:
    return recorded()


FINITE = st.floats(-1e12, 1e12, allow_subnormal=False)


@given(arrays.arrays(np.float64, arrays.array_shapes(min_dims=2, max_dims=2), elements=FINITE))
def test_numbers_are_close_to_what_was_packed(values: np.ndarray) -> None:
    parts = pack(values)
    found = unpack(json.loads(json.dumps(parts)))
    largest = np.abs(values).max()
    np.testing.assert_allclose(found, values, rtol=1e-3, atol=1e-11 * largest)
    assert np.abs(found - values).max() <= 1e-3 * (np.ptp(values) or largest)


def test_a_number_has_two_bytes_unless_that_is_too_few() -> None:
    values = RNG.normal(size=(3, 200))
    assert pack(values)["type"] == "f2"
    assert pack(np.exp(20 * values))["type"] == "f4"
    assert pack(1e9 + values)["type"] == "f8"
    strange = np.array([[np.nan, np.inf, -np.inf, 0.5, 0.0]])
    np.testing.assert_array_equal(unpack(pack(strange)), strange)
    np.testing.assert_array_equal(unpack(pack(np.zeros((2, 3)))), np.zeros((2, 3)))
    assert len(json.dumps(pack(np.tanh(values.astype(np.float32))))) < 2 * 4 / 3 * values.size


def test_the_payload_is_the_trace(trace: inspect.Trace) -> None:
    found = build_payload(
        trace, cards=[card_of(trace, "0.c", 3)], first=7, total=9000, notes=["so"]
    )
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    for name in trace:
        np.testing.assert_allclose(
            unpack(found["values"][name]).T, trace[name][0], rtol=1e-3, atol=1e-11
        )
    assert "".join(found["labels"]) == TEXT
    assert found["resets"] == [70]
    assert found["unit"] == {"name": "0.c", "unit": 3}
    lstm, gru = found["layers"]
    assert (lstm["cell"], lstm["label"]) == ("LSTM", "LSTM(6)")
    assert lstm["groups"] == [["i", "f", "g", "o", "c", "h"]]
    assert (gru["names"], gru["reset"]) == (["r", "z", "n", "h"], "after")
    held = {name: unpack(one)[:, 0] for name, one in found["before"].items()}
    assert set(held) == set(found["initial"]) == {"0.c", "0.h", "1.h"}
    for name, values in held.items():
        np.testing.assert_allclose(values, trace.before[name][0], rtol=1e-3, atol=1e-11)
    outputs, _ = trace.run_again(trace.steps)
    each = get_next_loss(trace.model.architecture)[1](trace.inputs, outputs)[0]
    loss = unpack(found["loss"]["values"])[0]
    assert np.isnan(loss[0])
    np.testing.assert_allclose(loss[1:], each, rtol=1e-3, atol=1e-11)


def test_a_layer_is_described_with_its_options() -> None:
    described = {
        "LSTM(64, projection=16)": sw.LSTM(64, projection=16),
        'GRU(32, reset="before")': sw.GRU(32, reset="before"),
        "Residual(GRU(32))": sw.Residual(sw.GRU(32)),
        "Zoneout(LSTM(8, forget_bias=Chrono(50)), rate=0.3)": sw.Zoneout(
            sw.LSTM(8, forget_bias=sw.Chrono(50)), 0.3
        ),
        "Dropout(0.5)": sw.Dropout(0.5),
        "LayerNorm": sw.LayerNorm(),
    }
    for text, cell in described.items():
        assert format_spec(cell) == text


def test_a_part_of_it(trace: inspect.Trace) -> None:
    cards = [card_of(trace, "0.c", 3), {**card_of(trace, "0.c", 2), "unit": 4}]
    found = build_payload(trace, unit=("1.z", 2), cards=cards, steps=(60, 90))
    np.testing.assert_allclose(unpack(found["values"]["1.z"]).T, trace["1.z"][0, 60:90], rtol=1e-3)
    np.testing.assert_allclose(unpack(found["before"]["0.h"])[:, 0], trace["0.h"][0, 59], rtol=1e-3)
    assert (found["first"], found["steps"], found["resets"]) == (110, 30, [10])
    assert found["unit"] == {"name": "1.z", "unit": 2}
    whole = build_payload(trace, cards=cards)
    highest = whole["cards"][0]["top"][0]["step"]
    assert trace.unit("0.c", 3)[highest] == trace.unit("0.c", 3).max()
    assert whole["cards"][0]["effects"][0]["contexts"][0]["step"] == 5
    assert whole["cards"][1]["top"][0]["step"] is None  # of other values than these
    assert found["cards"][0]["effects"][0]["contexts"][0]["step"] is None  # outside of the part


def test_rows_end_and_traces_from_files_have_no_cells(tmp_path: Path) -> None:
    model = model_of(sw.Architecture(sw.Vector(2), [sw.Elman(3)], sw.Linear(2)))
    x = RNG.normal(size=(2, 9, 2)).astype(np.float32)
    trace = inspect.record(model, x, lengths=[9, 4])
    found = build_payload(trace, row=1, inputs=["up", "down"])
    assert (found["kind"], found["steps"], found["labels"]) == ("series", 4, list("0123"))
    np.testing.assert_allclose(
        unpack(found["curves"]["down"])[0], x[1, :4, 1], rtol=1e-3, atol=1e-11
    )
    assert found["loss"]["unit"] == "squared error"
    trace.save(tmp_path / "t.safetensors")
    again = build_payload(inspect.Trace.load(tmp_path / "t.safetensors"))
    assert again["loss"] is None
    assert again["layers"][0]["label"] == "layer 0"


def test_a_page_is_whole_or_not_there(trace: inspect.Trace, tmp_path: Path, monkeypatch) -> None:
    bad = {
        "no '0.x'; did you mean": {"unit": ("0.x", 0)},
        "units 0 to 5, got 6": {"unit": ("0.c", 6)},
        "rows 0 to 0, got 1": {"row": 1},
        "not within": {"steps": (5, 4000)},
    }
    place = tmp_path / "page.html"
    for message, options in bad.items():
        with pytest.raises(sw.InputError, match=message):
            trace.save_html(place, **options)
    monkeypatch.setattr(sys.modules["statewise.inspect.page.payload"], "LARGEST", 1000)
    with pytest.raises(sw.InputError, match=r"give steps=, such as the first 19 of 3,1\d\d"):
        trace.save_html(place)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(sw.errors.MissingExtraError, match=r"statewise\[inspect\]"):
        trace.save_html(place, steps=(0, 9))
    assert not list(tmp_path.iterdir())


def test_nothing_is_loaded_and_markup_is_data(trace: inspect.Trace) -> None:
    own = read_module().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(
        r"^\s*import\b|\bimport\(|https?:|innerHTML|outerHTML|insertAdj", own, re.M
    )
    assert own.count("export default") == 1
    card = card_of(trace, "0.c", 3)
    page = render_page(
        build_payload(trace, steps=(0, 99), title=MARKUP, cards=[card], notes=[MARKUP])
    )
    assert page.count("</script>") == 3  # the data, plotly, the module
    assert "<img" not in page.replace('"<img', "")
    data = page.partition('id="recording">')[2].partition("</script>")[0]
    assert data.isascii()
    assert json.loads(data)["title"] == MARKUP
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
