"""The page of a trace in a notebook, as an anywidget"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from statewise.errors import MissingExtraError
from statewise.inspect.page import charts, module, payload, styles

if TYPE_CHECKING:
    from statewise.inspect.trace import Trace


def widget(trace: Trace, *args: Any, **options: Any) -> Any:
    """What `Trace.widget` gives; arguments are those of `page.payload`."""
    return _view()(payload=payload(trace, *args, **options), plotly=charts())


@cache
def _view() -> Any:
    try:
        import anywidget
        import traitlets
    except ImportError:
        raise MissingExtraError("anywidget", "notebook", "a widget") from None

    class View(anywidget.AnyWidget):  # type: ignore[misc,unused-ignore]
        """Shows a payload by the page's own module, which needs plotly's JavaScript beside it."""

        _esm = module()
        _css = styles()
        payload = traitlets.Dict().tag(sync=True)
        plotly = traitlets.Unicode().tag(sync=True)

    return View
