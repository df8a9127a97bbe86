"""The page of a recording: one file of HTML that needs nothing else"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

from statewise.extras import require
from statewise.inspect.page.payload import build_payload

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
"""The parts of the JavaScript module, in the order in which they are joined into one scope."""
_STYLES = ("page.css", "player.css")
_STATIC = files(__name__) / "static"


def read_module() -> str:
    """The page's own JavaScript as one module, which imports nothing.

    Its default export is ``{ render }``, as anywidget expects: ``render({model, el})`` shows the
    payload that ``model.get("payload")`` returns. In a page it shows the payload embedded there.
    """
    return _join(_PARTS)


def read_styles() -> str:
    """The style sheet of the page."""
    return _join(_STYLES)


def read_plotly() -> str:
    """The JavaScript of plotly, which draws the charts.

    Raises:
        MissingExtraError: plotly is not installed.
    """
    return str(require("plotly.offline", "inspect", "a page").get_plotlyjs())


def render_page(payload: Mapping[str, Any]) -> str:
    """A whole page, with plotly's JavaScript from its installed package.

    Its content security policy lets no other script run, and no connection be made.

    Raises:
        MissingExtraError: plotly is not installed.
    """
    drawing, own = read_plotly(), read_module()
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
        f"<style>{read_styles()}</style>\n</head>\n<body>\n"
        '<div id="page"><noscript>This page needs JavaScript.</noscript></div>\n'
        f'<script type="application/json" id="recording">{_embed(payload)}</script>\n'
        f"<script>{drawing}</script>\n"
        f'<script type="module">{own}</script>\n</body>\n</html>\n'
    )


def _join(names: tuple[str, ...]) -> str:
    return "\n".join((_STATIC / name).read_text(encoding="utf-8") for name in names)


def _embed(payload: Mapping[str, Any]) -> str:
    """JSON in ASCII, in which an HTML parser can find no markup."""
    written = json.dumps(payload, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        written = written.replace(sign, f"\\u{ord(sign):04x}")
    return written


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


__all__ = ["build_payload", "read_module", "read_plotly", "read_styles", "render_page"]
