"""The picture of a forecast: which series it draws, and that nothing covers anything."""

import itertools

import numpy as np
import pandas as pd
import pytest

import statewise as sw
from statewise.forecast import compare_state_policies, plot
from statewise.forecast.plot import PANELS, draw_forecast

pytestmark = pytest.mark.filterwarnings("ignore:no installed font", "ignore:Glyph")
"""What is drawn where matters here, whether fonts are installed or not."""

IDS = ["销售额", "売上高", "매출", "price $x_1$", *(f"store {n}" for n in range(16))]


@pytest.fixture(scope="module")
def material():
    """Twenty weekly series with policies and a forecast; values tell the series apart."""
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame(
            {
                "unique_id": key,
                "ds": pd.date_range("2023-01-01", periods=30, freq="W"),
                "y": 1000.0 * number + rng.normal(size=30),
            }
        )
        for number, key in enumerate(IDS)
    ]
    frame = pd.concat(parts, ignore_index=True)
    forecaster = sw.Forecaster([sw.LSTM(2)], epochs=1)
    comparison = compare_state_policies(
        frame, test=4, repeats=2, n_jobs=1, season=4, forecaster=forecaster
    )
    forecast = forecaster.fit(frame).predict(6, level=[80, 95])
    return comparison, forecast


@pytest.fixture
def figure(material, monkeypatch):
    """Draws series and returns the figure, whose file is not written."""
    drawn = []
    write = plot.write_figure
    monkeypatch.setattr(
        plot, "write_figure", lambda figure, path: drawn.append(write(figure, None))
    )

    def draw(**options):
        draw_forecast("unused.png", *material, levels=[80.0, 95.0], **options)
        drawn[-1].draw_without_rendering()
        return drawn[-1]

    return draw


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_the_first_series_of_many_are_drawn_where_none_is_chosen(figure, material):
    panels = titles(figure())
    assert panels[:-1] == [one.id for one in material[0].panel.series][:PANELS]
    assert panels[-1] == "Ways to handle the state"
    assert figure().get_suptitle() == f"{PANELS} of {len(IDS)} series"


@pytest.mark.parametrize("chosen", [["store 9"], ["売上高", "price $x_1$"], IDS[2:11], IDS])
def test_chosen_series_are_drawn_with_their_own_values(figure, material, chosen):
    comparison, forecast = material
    axes = figure(ids=chosen).axes
    assert titles(figure(ids=chosen))[:-1] == chosen
    for panel, key in zip(axes, chosen, strict=False):
        lines = {line.get_label(): line.get_ydata() for line in panel.lines}
        own = next(one for one in comparison.panel.series if one.id == key)
        np.testing.assert_array_equal(lines["observed"], own.values)
        ahead = forecast[forecast.unique_id == key]
        np.testing.assert_array_equal(lines["forecast"][1:], ahead.statewise)
        assert lines["forecast"][0] == own.values[-1]
        band = panel.collections[-1].get_paths()[0].vertices[:, 1]
        assert band.min() == min(ahead["statewise-lo-80"].min(), own.values[-1])
        assert band.max() == max(ahead["statewise-hi-80"].max(), own.values[-1])
        one_step = next(values for label, values in lines.items() if "one step" in label)
        policy = next(label for label in lines if "one step" in label).split()[-1]
        row = [one.id for one in comparison.panel.series].index(key)
        np.testing.assert_allclose(one_step, comparison.forecasts[policy][:, row].mean(axis=0))


@pytest.mark.parametrize("count", [1, 2, 3, 9, 12, 20])
def test_nothing_covers_anything(figure, count):
    drawn = figure(ids=IDS[:count])
    (legend,) = drawn.legends
    boxes = [axes.get_tightbbox() for axes in drawn.axes] + [legend.get_window_extent()]
    for one, other in itertools.combinations(boxes, 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        along = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert min(across, along) <= 1, (one, other)  # a pixel may round
    for box in boxes:
        assert box.x0 >= -1
        assert box.x1 <= drawn.bbox.x1 + 1
    for axes in drawn.axes[:count]:
        low, high = axes.get_xlim()
        labels = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
        shown = [label.get_window_extent() for at, label in labels if low <= at <= high]
        for left, right in itertools.pairwise(shown):
            assert left.x1 < right.x0


def test_a_single_series_needs_no_id(tmp_path, shampoo):
    forecaster = sw.Forecaster([sw.LSTM(2)], epochs=1)
    comparison = compare_state_policies(
        shampoo, test=5, repeats=1, n_jobs=1, forecaster=forecaster, policies=("seed",)
    )
    path = tmp_path / "forecast.png"
    draw_forecast(path, comparison, forecaster.fit(shampoo).predict(3), [])
    assert path.read_bytes().startswith(b"\x89PNG")
