import itertools
import sys

import numpy as np
import pytest
from matplotlib import pyplot
from tests.conformance.zoo import weights

import statewise as sw
from statewise import inspect

pytestmark = pytest.mark.filterwarnings("ignore:no installed font", "ignore:Glyph")
"""What is drawn where matters here, whether fonts are installed or not."""

TEXT = 'if (a):\n\treturn "$x$", "\u732b\x00 \ud7ff"\n' * 3
SERIES = sw.Architecture(sw.Vector(1), [sw.LSTM(4), sw.GRU(3)], sw.Linear(1))


def tokens(text=TEXT, cell=None):
    arch = sw.Architecture(sw.Tokens(9, 4), [cell or sw.LSTM(5)], sw.Linear(9))
    x = np.array([[ord(character) % 9 for character in text]])
    return inspect.record(sw.runtime.Model(arch, weights(arch)), x, names="*").align(text)


def series(steps=30, **options):
    x = np.random.default_rng(0).normal(size=(2, steps, 1)).astype(np.float32)
    return inspect.record(sw.runtime.Model(SERIES, weights(SERIES)), x, names="*", **options)


def test_a_heat_map_shows_every_value():
    trace = tokens()
    figure = trace.plot("heat", "0.h", steps=slice(3, 20))
    image = figure.axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), trace["0.h"][0, 3:20].T)
    low, high = image.get_clim()
    assert -low == high == np.abs(trace["0.h"][0, 3:20]).max()  # zero has the paper's colour
    letters = "".join(label.get_text() for label in figure.axes[0].get_xticklabels())
    assert letters[:5] == TEXT[3:8].replace(" ", " ").replace("\n", "↵")
    assert figure.axes[0].get_title(loc="left") == "0.h: 5 units, step by step"


def test_gates_stand_below_the_series(tmp_path):
    trace = series(reset=np.arange(30)[None].repeat(2, 0) == 12)
    figure = trace.plot("gates", "0.c", 2, row=1, path=tmp_path / "gates.png")
    names = [panel.get_ylabel() for panel in figure.axes]
    assert names == [
        "input", "i\ninput gate", "f\nforget gate", "g\ncandidate", "o\noutput gate", "c", "h",
    ]  # fmt: skip
    for panel, name in zip(figure.axes[1:], "ifgoch", strict=True):
        np.testing.assert_array_equal(panel.lines[0].get_ydata(), trace.unit(f"0.{name}", 2, 1))
        assert panel.lines[-1].get_xdata()[0] == 11.5  # the reset
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), trace.inputs[1, :, 0])
    assert (tmp_path / "gates.png").stat().st_size > 10_000
    assert trace.plot("gates", "1.h").axes[1].get_ylabel() == "r\nreset gate"


def test_text_is_coloured_line_by_line(tmp_path):
    trace = tokens()
    figure = trace.plot("text", "0.c", 3, path=tmp_path / "text.svg")
    grid = figure.axes[0].images[0].get_array()
    values = trace.unit("0.c", 3)
    np.testing.assert_allclose(np.asarray(grid)[0, :8], values[:8])
    assert np.isnan(np.asarray(grid)[0, 8:]).all()
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "".join(texts[:8]) == "if (a):↵"
    assert texts[8:16] == [*"→return", " "]
    assert len(texts) == len(TEXT)
    assert texts[TEXT.index("\u732b")] == "\u732b"
    assert texts[TEXT.index("\x00")] == "□"  # has no shape
    long = tokens("x" * 4000).plot("text", "0.h", 0)
    assert "the first 3,200 of 4,000 steps" in long.axes[0].get_title(loc="left")


def test_long_lines_keep_their_extremes():
    trace = series(steps=20_000)
    line = trace.plot("gates", "0.h", 1).axes[-1].lines[0].get_ydata()
    values = trace.unit("0.h", 1)
    assert len(line) <= 4000
    assert (line.min(), line.max()) == (values.min(), values.max())


def test_horizons_and_gradients():
    model = sw.nn.Model(SERIES, seed=0).eval()
    x = np.sin(np.arange(20) / 3).astype(np.float32)
    horizon = inspect.horizon(model, x, "0.c", lags=8)
    actual, claimed = horizon.plot().axes[0].lines
    np.testing.assert_array_equal(actual.get_ydata(), horizon.curves()["actual"])
    np.testing.assert_array_equal(claimed.get_ydata(), horizon.curves()["claimed"])
    found = inspect.gradients(model, x, at=10)
    axes = found.plot(["0.h", "1.h"]).axes[0]
    np.testing.assert_array_equal(axes.lines[1].get_ydata()[:11], found.norms("1.h")[0, :11])
    assert np.isnan(axes.lines[0].get_ydata()[11:]).all()
    horizon.plot(axes=axes, label="LSTM", only="actual")
    assert axes.get_legend_handles_labels()[1][-1] == "LSTM actual"
    with pytest.raises(sw.InputError, match="rows 0 to 0, got 3"):
        found.plot(row=3)
    with pytest.raises(sw.InputError, match=r"no gradient of '0\.x'"):
        found.plot(["0.x"])


def test_bad_requests(tmp_path, monkeypatch):
    trace = series(lengths=[30, 0])
    bad = {
        "nothing is drawn as 'gate'; did you mean 'gates'": lambda: trace.plot("gate"),
        "no '0.q'": lambda: trace.plot("heat", "0.q"),
        "units 0 to 3, got 9": lambda: trace.plot("gates", "0.c", 9),
        "rows 0 to 1, got 2": lambda: trace.plot(row=2),
        "row 1 of this trace has no steps": lambda: trace.plot(row=1),
        "span 10 to 99 is not within": lambda: trace.plot(steps=(10, 99)),
        "no labels to colour": lambda: trace.plot("text"),
        "ends with .png": lambda: trace.plot(path=tmp_path / "a.xyz"),
    }
    for message, use in bad.items():
        with pytest.raises(sw.InputError, match=message):
            use()
    with pytest.raises(sw.errors.FileError, match="no folder"):
        trace.plot(path=tmp_path / "nowhere" / "a.png")
    assert not list(tmp_path.iterdir())
    assert not pyplot.get_fignums()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(sw.errors.MissingExtraError, match=r"statewise\[inspect\]"):
        trace.plot()


LABELS = {
    "letters": list("abcd efgh"),
    "East Asian letters": list("吾輩は猫である"),
    "hours": [f"2024-01-01T{hour:02}:00" for hour in range(24)],
    "East Asian words": ["一月一日火曜日", "一月二日水曜日"],
    "words": ["a", "longer word"],
}


@pytest.mark.parametrize("kind", ["heat", "gates"])
@pytest.mark.parametrize("steps", [1, 9, 30, 90, 200, 700])
@pytest.mark.parametrize("labels", LABELS)
def test_labels_of_steps_never_overlap(labels, steps, kind):
    words = [LABELS[labels][step % len(LABELS[labels])] for step in range(steps)]
    trace = series(steps=steps).align(words)
    figure = trace.plot(kind, "0.h", unit=1)
    axes = figure.axes[0] if kind == "heat" else figure.axes[-1]
    figure.draw_without_rendering()
    low, high = axes.get_xlim()
    ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    shown = [label for at, label in ticks if low <= at <= high and label.get_text().strip()]
    boxes = [label.get_window_extent() for label in shown]
    assert boxes
    for left, right in itertools.pairwise(boxes):
        assert left.x1 <= right.x0 + 0.5
