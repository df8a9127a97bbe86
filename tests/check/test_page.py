"""The page, as a browser shows it; and the fixture for pytest."""

import subprocess
import sys

import torch

from statewise import check
from statewise.check.page import render_page
from tests.browser import complaints

SUITE = """
import torch

def test_met(assert_state_facts):
    assert_state_facts(torch.nn.GRU(2, 3), expect={"carry.call": "reset"}, only=["carry"])

def test_not_met(assert_state_facts):
    assert_state_facts(torch.nn.GRU(2, 3), expect="carry", only=["carry"])
"""


def test_a_browser_shows_every_row(browser, tmp_path):
    report = check.run(torch.nn.LSTM(3, 4, 2), target="<b>mine</b>", expect="reset")
    path = tmp_path / "page.html"
    path.write_text(render_page([report]))
    browser.get(path.as_uri())
    assert browser.find_element("tag name", "h1").text == "<b>mine</b>"
    assert len(browser.find_elements("css selector", "tbody tr")) == len(report.rows)
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= browser.execute_script("return window.innerWidth")
    assert complaints(browser) == []


def test_the_fixture_fails_where_an_expectation_is_not_met(tmp_path):
    (tmp_path / "test_mine.py").write_text(SUITE)
    plugin = ["-p", "statewise.check.pytest_plugin", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin, "test_mine.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "carry.call: expected carried, saw reset" in done.stdout
