"""A page on which to look into a recording: one file of HTML that needs nothing else"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

from statewise.errors import MissingExtraError
from statewise.inspect.page.payload import payload

_PARTS = (
    "dom.js",
    "palette.js",
    "recording.js",
    "finding.js",
    "text.js",
    "plots.js",
    "curve.js",
    "gates.js",
    "heatmap.js",
    "selection.js",
    "cards.js",
    "horizon.js",
    "player_cells.js",
    "player_drawing.js",
    "player_tape.js",
    "player.js",
    "page.js",
)
"""The parts of the module, in the order in which they are joined. They share one scope."""
_STYLES = ("page.css", "player.css")
_STATIC = files(__name__) / "static"


def module() -> str:
    """The page's own JavaScript as one module, which imports nothing.

    It exports ``default { render }`` as an anywidget does: ``render({model, el})`` shows the
    payload that ``model.get("payload")`` gives. In a page it shows the one that lies there.
    """
    return _joined(_PARTS)


def styles() -> str:
    """The style sheet of what the module shows."""
    return _joined(_STYLES)


def charts() -> str:
    """The JavaScript of plotly, which draws what the module does not.

    Raises:
        MissingExtraError: plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise MissingExtraError("plotly", "inspect", "a page") from None
    return str(get_plotlyjs())


def html(payload: Mapping[str, Any]) -> str:
    """A whole page, with plotly's JavaScript from its installed package.

    Nothing else runs in it, and it can connect to nothing: its policy names what is here by hashes.

    Raises:
        MissingExtraError: plotly is not installed.
    """
    drawing, own = charts(), module()
    policy = (
        f"default-src 'none'; script-src {_hash(drawing)} {_hash(own)}; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<title>{escape(str(payload["title"]))}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>{styles()}</style>\n</head>\n<body>\n"
        '<div id="page"><noscript>A recording, shown by JavaScript.</noscript></div>\n'
        f'<script type="application/json" id="recording">{_embedded(payload)}</script>\n'
        f"<script>{drawing}</script>\n"
        f'<script type="module">{own}</script>\n</body>\n</html>\n'
    )


def _joined(names: tuple[str, ...]) -> str:
    parts = [_STATIC / name for name in names]
    return "\n".join(part.read_text(encoding="utf-8") for part in parts if part.is_file())


def _embedded(payload: Mapping[str, Any]) -> str:
    """JSON that no HTML parser takes for markup, in ASCII, which line separators are not."""
    written = json.dumps(payload, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        written = written.replace(sign, f"\\u{ord(sign):04x}")
    return written


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


__all__ = ["charts", "html", "module", "payload", "styles"]
