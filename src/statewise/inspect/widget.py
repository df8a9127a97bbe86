"""The page of a trace in a notebook, as an anywidget"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from statewise.extras import require
from statewise.inspect.page import build_payload, read_module, read_plotly, read_styles

if TYPE_CHECKING:
    from statewise.inspect.trace_values import TraceValues


def widget(trace: TraceValues, *args: Any, **options: Any) -> Any:
    """The widget of a trace; arguments are those of `page.build_payload`."""
    return _widget_class()(payload=build_payload(trace, *args, **options), plotly=read_plotly())


@cache
def _widget_class() -> Any:
    base: Any = require("anywidget", "notebook", "a widget").AnyWidget
    traitlets = require("traitlets", "notebook", "a widget")

    class View(base):  # type: ignore[misc,unused-ignore]
        """Shows a payload by the JavaScript of the page and of plotly."""

        _esm = read_module()
        _css = read_styles()
        payload = traitlets.Dict().tag(sync=True)
        plotly = traitlets.Unicode().tag(sync=True)

    return View
