"""Pictures: fonts for every script, labels that never overlap, legends that cover nothing."""

import itertools
import warnings

import matplotlib.font_manager
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

import statewise as sw
from statewise import figures

CHINESE, JAPANESE, KOREAN = "销售额", "売上高", "매출"


def make_font(path, characters):
    """A font file with a glyph of its own for each character: a bar, ever taller."""
    glyphs = {".notdef": None, **{f"g{n}": n for n in range(len(characters))}}
    drawn = {}
    for name, number in glyphs.items():
        pen = TTGlyphPen(None)
        if number is not None:
            top = 200 + 150 * number
            pen.moveTo((100, 0))
            for point in ((100, top), (500, top), (500, 0)):
                pen.lineTo(point)
            pen.closePath()
        drawn[name] = pen.glyph()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(list(glyphs))
    font.setupCharacterMap({ord(one): f"g{n}" for n, one in enumerate(characters)})
    font.setupGlyf(drawn)
    font.setupHorizontalMetrics(dict.fromkeys(glyphs, (600, 0)))
    font.setupHorizontalHeader(ascent=900, descent=-100)
    font.setupNameTable({"familyName": "Test of Scripts", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)
    return path


@pytest.fixture
def no_fonts(monkeypatch):
    """Only the fonts that matplotlib brings, and no warning given yet."""
    manager = matplotlib.font_manager.fontManager
    own = [font for font in manager.ttflist if "DejaVu" in font.name]
    monkeypatch.setattr(manager, "ttflist", own)
    monkeypatch.setattr(matplotlib.font_manager, "findSystemFonts", list)
    monkeypatch.setattr(figures, "_reported", set())
    return manager


def titled(text, path=None):
    figure = figures.make_figure(3, 2, "inspect")
    figures.style_axes(figure.subplots(), text)
    return figures.write_figure(figure, path)


def pixels(text):
    figure = titled(text)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba()).copy()


def test_a_font_that_has_the_characters_is_found(no_fonts, tmp_path):
    no_fonts.addfont(make_font(tmp_path / "test.ttf", CHINESE))
    first, second = pixels(CHINESE[0]), pixels(CHINESE[1])  # a missing glyph would warn
    assert (first != second).any()
    text = titled(f"sales {CHINESE}").axes[0].get_title(loc="left")
    assert text == f"sales {CHINESE}"


def test_fonts_installed_after_matplotlib_listed_them_are_found(no_fonts, tmp_path, monkeypatch):
    path = str(make_font(tmp_path / "new.ttf", KOREAN))
    monkeypatch.setattr(matplotlib.font_manager, "findSystemFonts", lambda: [path])
    assert (pixels(KOREAN[0]) != pixels(KOREAN[1])).any()


def test_without_a_font_it_is_said_once_and_the_picture_is_made(no_fonts, tmp_path):
    with pytest.warns(sw.FigureWarning) as said:
        titled(f"{CHINESE} {JAPANESE} {KOREAN}", tmp_path / "first.png")
    assert len(said) == 1
    message = str(said[0].message)
    assert "fonts-noto-cjk" in message
    assert "销" in message
    titled(CHINESE, tmp_path / "second.png")  # silent: warnings are errors here
    assert {path.name for path in tmp_path.iterdir()} == {"first.png", "second.png"}
    with pytest.warns(sw.FigureWarning, match="fonts-noto[^-]"):
        titled("\u0e01", tmp_path / "thai.png")


@pytest.mark.parametrize("text", [CHINESE, JAPANESE, KOREAN])
def test_installed_fonts_show_east_asian_scripts(text, tmp_path):
    fonts = {font.name for font in matplotlib.font_manager.fontManager.ttflist}
    if not any("CJK" in name for name in fonts):
        pytest.skip("no font with CJK characters is installed")
    titled(text, tmp_path / "a.png")
    assert (pixels(text[0]) != pixels(text[1])).any()


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(sw.InputError, match=r"ends with \.png"):
        titled("a", tmp_path / "a.xyz")
    with pytest.raises(sw.FileError, match="no folder"):
        titled("a", tmp_path / "nowhere" / "a.png")
    assert not list(tmp_path.iterdir())


# Axes

STEPS = {
    "microseconds": np.timedelta64(10, "us"),
    "seconds": np.timedelta64(1, "s"),
    "minutes": np.timedelta64(1, "m"),
    "quarters of an hour": np.timedelta64(15, "m"),
    "hours": np.timedelta64(1, "h"),
    "days": np.timedelta64(1, "D"),
    "weeks": np.timedelta64(7, "D"),
    "months": np.timedelta64(1, "M"),
    "quarters": np.timedelta64(3, "M"),
    "years": np.timedelta64(1, "Y"),
}


def times_of(name, count, start="1999-11-23"):
    unit = np.datetime_data(STEPS[name].dtype)[0]
    first = np.datetime64(start, unit if unit in "YMD" else "us")
    return (first + STEPS[name] * np.arange(count)).astype("datetime64[us]")


def label_boxes(axes):
    axes.get_figure().draw_without_rendering()
    low, high = axes.get_xlim()
    ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    shown = [label for at, label in ticks if low <= at <= high and label.get_text()]
    return [label.get_window_extent() for label in shown]


def drawn_over(times, width):
    figure = figures.make_figure(width + 0.7, 2, "inspect")
    axes = figure.subplots()
    x = figures.scale_times(times)
    axes.plot(x, np.arange(len(x)))
    axes.set_xlim(x[0], x[-1])
    figures.label_times(axes, times, width)
    axes.tick_params(labelsize=8 if width < 3 else 9)
    return axes


def check_apart(boxes):
    assert boxes
    for left, right in itertools.pairwise(boxes):
        assert left.x1 < right.x0


@pytest.mark.parametrize("width", [1.75, 3.0, 6.7])
@pytest.mark.parametrize("name", STEPS)
def test_labels_of_dates_never_overlap(name, width):
    for count in (3, 10, 24, 25, 50, 61, 84, 100, 200, 365, 700):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_apart(label_boxes(drawn_over(times_of(name, count), width)))


@pytest.mark.parametrize("width", [1.75, 6.7])
@pytest.mark.parametrize("first", [0, 1990, 202401, 20240101, -5, 10**12])
def test_labels_of_whole_numbers_are_whole_and_never_overlap(first, width):
    for count in (2, 5, 84, 1000):
        axes = drawn_over(np.arange(first, first + count), width)
        check_apart(label_boxes(axes))
        for label in axes.get_xticklabels():
            assert "." not in label.get_text()
            assert "e" not in label.get_text()


def test_years_before_the_first_are_numbered_by_steps():
    times = times_of("months", 40, "0000-01")
    assert figures.scale_times(times).tolist() == list(range(40))
    check_apart(label_boxes(drawn_over(times, 6.7)))


def points_under_legend(axes):
    axes.get_figure().draw_without_rendering()
    box = axes.get_legend().get_window_extent()
    for line in axes.lines:
        points = axes.transData.transform(np.stack(line.get_data(), axis=1))
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            share = np.linspace(0, 1, 20)
            x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
            inside = (x >= box.x0) & (x <= box.x1) & (y >= box.y0) & (y <= box.y1)
            yield from np.flatnonzero(inside)


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("count", [1, 3, 9])
def test_a_legend_covers_no_line(scale, count):
    axes = figures.make_figure(5, 3, "inspect").subplots()
    axes.set_yscale(scale)
    for number in range(count):
        axes.plot(np.arange(30), np.linspace(9, 1, 30) * (1 + number), label=f"layer {number}.c")
        axes.autoscale(axis="y")
        figures.add_legend(axes)
    assert not list(points_under_legend(axes))
    assert axes.get_legend().get_window_extent().width <= axes.get_window_extent().width


def test_texts_are_cut_to_a_width():
    assert figures.shorten("shop", 4) == "shop"
    assert figures.shorten("shops", 4) == "sho…"
    assert figures.shorten(CHINESE, 6) == CHINESE
    assert figures.shorten(CHINESE, 5) == f"{CHINESE[:2]}…"
