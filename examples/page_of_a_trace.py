"""A page on which to look inside a model of text: coloured text, gates, unit cards, memory horizon,
and the cell step by step.

Run with ``python examples/page_of_a_trace.py``; writes page-of-a-trace.html. With ``--pictures`` it
also shows the page to a headless Chromium (which takes selenium) and keeps what that sees.
"""

import shutil
import sys
import time
from pathlib import Path

import statewise as sw
from statewise import inspect

RHYME = 'one, two, three, "once I caught a fish alive", six, seven, "then I let it go again".\n'

model = sw.TextModel([sw.LSTM(32)], width=16)
model.fit(RHYME * 50, epochs=8, lanes=4, chunk=86, learning_rate=1e-2)

text = RHYME * 3
trace = inspect.record(model, text, names="*")
cards = inspect.explain_units(model, text)
cards.sort(key=lambda card: -card.effects[0].change)  # what the model relies on most comes first

page = Path("page-of-a-trace.html")
trace.save_html(
    page, cards=cards[:4], horizon=inspect.horizon(model, text, "0.c"), title="A rhyme, read"
)
print(f"{page}, {page.stat().st_size / 1e6:.1f} MB: open it in a browser; it needs no network")


def pictures() -> None:
    """What a browser shows of the page: all of it, and the player in the middle of a step."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By

    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--window-size=1300,2400"):
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium") or ""
    with webdriver.Chrome(options, Service(shutil.which("chromedriver"))) as browser:
        browser.implicitly_wait(10)
        browser.get(page.resolve().as_uri())
        browser.find_element(By.CSS_SELECTOR, "[aria-label='Previous phase']").click()
        time.sleep(1)  # until all has faded in
        browser.save_screenshot("page-of-a-trace.png")
        browser.find_element(By.CSS_SELECTOR, ".player").screenshot("player.png")


if "--pictures" in sys.argv:
    pictures()
