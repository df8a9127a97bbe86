"""A headless Chromium for the tests of pages, which reaches loopback and files, nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

ALONE = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


CONTRAST = """
const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
const seen = [];
for (const e of document.querySelectorAll('body *')) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  if (!own || !e.getClientRects().length || !e.checkVisibility({opacityProperty: true})) continue;
  let behind = e;
  while (behind && (rgb(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0)
    behind = behind.parentElement;
  const style = getComputedStyle(e);
  seen.push([e.outerHTML.slice(0, 80),
    rgb(e.namespaceURI.endsWith('svg') ? style.fill : style.color),
    rgb(getComputedStyle(behind ?? document.documentElement).backgroundColor)]);
}
return seen;
"""


@contextmanager
def chromium(
    width: int = 1280, height: int = 900, dark: bool = False
) -> Iterator[webdriver.Chrome]:
    """A new window. With STATEWISE_REQUIRE_SERVERS=1 a missing browser fails, else it skips."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        if os.environ.get("STATEWISE_REQUIRE_SERVERS") == "1":
            raise RuntimeError("install Debian's packages chromium and chromium-driver")
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*ALONE, f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options, Service(driver))
    try:
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        # A window has a least width; a phone's is set on the page itself.
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        yield window
    finally:
        window.quit()


def complaints(window: webdriver.Chrome) -> list[str]:
    """Errors and warnings that the page wrote to its console."""
    return [entry["message"] for entry in window.get_log("browser")]


def faint(window: webdriver.Chrome) -> list[str]:
    """Elements whose text is hard to read: less than 4.5 to 1 between ink and paper."""
    found = []
    for what, ink, paper in window.execute_script(CONTRAST):
        light, deep = sorted((luminance(ink), luminance(paper)), reverse=True)
        if (light + 0.05) / (deep + 0.05) < 4.5:
            found.append(what)
    return found


def luminance(colour: list[float]) -> float:
    linear = [
        c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
        for c in (part / 255 for part in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    """A window as wide as a desk's."""
    with chromium() as window:
        yield window
