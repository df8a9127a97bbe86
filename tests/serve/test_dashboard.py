"""The page in a browser that reaches loopback only: what it shows, and what its buttons do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

import statewise as sw
from statewise.serve import Client
from tests.browser import chromium, complaints, faint
from tests.serve.running import application, listening

MARKUP = '<img src=x onerror="document.title=`taken`"><b>&amp;'


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "sales.safetensors"
    sw.nn.Model(sw.Architecture(sw.Vector(1), [sw.LSTM(16)], sw.Linear(1)), seed=0).save(path)
    return path


@pytest.fixture
def url(model: Path) -> Iterator[str]:
    with listening(application(model)) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    with chromium() as window:
        yield window


@pytest.fixture
def window(chrome: Chrome, url: str) -> Iterator[Chrome]:
    """A window that leaves the page before the server ends, and says nothing of other tests."""
    complaints(chrome)
    yield chrome
    chrome.get("about:blank")


def until(window: Chrome, met: Callable[[], object]) -> None:
    WebDriverWait(window, 10, 0.05).until(lambda _: met())


def text(window: Chrome, selector: str) -> str:
    return str(
        window.execute_script(f"return document.querySelector({selector!r})?.innerText ?? ''")
    )


def press(window: Chrome, selector: str, label: str) -> None:
    found = (
        "const [where, label] = arguments;"
        "const all = document.querySelectorAll(`${where} button`);"
        "return [...all].find((button) => button.innerText === label && !button.disabled)"
    )
    until(window, lambda: window.execute_script(found, selector, label))
    window.execute_script(found, selector, label).click()


def names(window: Chrome) -> list[str]:
    ids = "return [...document.querySelectorAll('.session')].map((row) => row.dataset.id)"
    return list(window.execute_script(ids))


@contextmanager
def stepping(url: str, session: str) -> Iterator[None]:
    """The session steps while the block lasts."""
    over = threading.Event()

    def go() -> None:
        with Client(url) as client:
            t = 0
            while not over.wait(0.02):
                t += 1
                client.step(session, [float(np.sin(t))])

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def colours(window: Chrome) -> int:
    """How many colours the first heat map shows."""
    return int(
        window.execute_script(
            "const c = document.querySelector('.plot canvas'); if (!c || !c.width) return 0;"
            "const d = new OffscreenCanvas(c.width, c.height).getContext('2d');"
            "d.drawImage(c, 0, 0);"
            "const seen = d.getImageData(0, 0, c.width, c.height).data;"
            "return new Set(new Uint32Array(seen.buffer)).size"
        )
    )


def test_the_state_moves_as_the_session_steps(window: Chrome, url: str, client: Client) -> None:
    client.create("sales", id="live")
    with stepping(url, "live"):
        window.get(url)
        until(window, lambda: names(window) == ["live"])
        window.find_element(By.CLASS_NAME, "session").click()
        until(window, lambda: colours(window) > 50)
        first = text(window, ".steps span:last-child")
        until(window, lambda: text(window, ".steps span:last-child") != first)
        until(window, lambda: text(window, ".chart .first b") not in ("", "\N{EN DASH}", "0"))
        charts = window.find_elements(By.CSS_SELECTOR, ".chart")
        assert len(charts) == 4
        assert all(chart.find_elements(By.CSS_SELECTOR, "svg text") for chart in charts)
    assert complaints(window) == []


def test_snapshot_rollback_fork_and_delete_by_a_click(
    window: Chrome, url: str, client: Client
) -> None:
    client.create("sales", id="main")
    client.step("main", [[0.1], [0.2], [0.3]])
    before = client.read("main")
    window.get(f"{url}/#main")
    until(window, lambda: "3" in text(window, ".facts"))
    press(window, ".title", "Snapshot")
    until(window, lambda: "Roll back" in text(window, ".kept"))
    client.step("main", [1.0])
    assert client.read("main") != before
    press(window, ".kept", "Roll back")
    until(window, lambda: client.read("main") == before)
    press(window, ".title", "Fork")
    until(window, lambda: text(window, ".title h2") not in ("", "main"))
    forked = text(window, ".title h2")
    assert client.read(forked) == before
    press(window, ".title", "Delete")
    press(window, "#confirm", "Keep it")
    assert client.info(forked).step == 3
    press(window, ".title", "Delete")
    press(window, "#confirm", "Delete")
    until(window, lambda: names(window) == ["main"])
    assert [info.id for info in client.sessions()] == ["main"]
    assert complaints(window) == []


def test_an_id_that_looks_like_markup_is_text(window: Chrome, url: str, client: Client) -> None:
    client.create("sales", id=MARKUP)
    window.get(url)
    until(window, lambda: names(window) == [MARKUP])
    assert window.find_element(By.CSS_SELECTOR, ".session .id").text == MARKUP
    window.find_element(By.CLASS_NAME, "session").click()
    until(window, lambda: text(window, ".title h2") == MARKUP)
    assert window.execute_script("return document.images.length") == 0
    assert window.title == "statewise sessions"


def test_search_finds_among_many_and_the_list_grows(
    window: Chrome, url: str, client: Client
) -> None:
    for i in range(60):
        client.create("sales", id=f"sensor-{i:02d}")
    window.get(url)
    until(window, lambda: len(names(window)) == 50)
    press(window, "#list", "Show more")
    until(window, lambda: len(names(window)) == 60)
    window.find_element(By.TAG_NAME, "body").send_keys("/")
    window.switch_to.active_element.send_keys("R-57")
    until(window, lambda: names(window) == ["sensor-57"])
    window.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    assert window.switch_to.active_element.get_attribute("data-id") == "sensor-57"
    window.switch_to.active_element.send_keys(Keys.ENTER)
    until(window, lambda: text(window, ".title h2") == "sensor-57")


def test_a_server_with_tokens_asks_for_one(window: Chrome, model: Path, tmp_path: Path) -> None:
    with listening(application(model, {"secret": "public"})) as url:
        assert httpx.get(f"{url}/dashboard/figures").status_code == 401
        assert httpx.get(f"{url}/dashboard/sessions").status_code == 401
        assert httpx.get(f"{url}/dashboard/watch?session=a").status_code == 401
        with Client(url, token="secret") as client:
            client.create("sales", id="guarded")
        window.get(url)
        for given in ("wrong", "secret"):
            until(window, lambda: window.find_element(By.ID, "token").is_displayed())
            window.find_element(By.CSS_SELECTOR, "#token input[type=password]").send_keys(given)
            press(window, "#token", "Enter")
        until(window, lambda: names(window) == ["guarded"])


@pytest.mark.parametrize("dark", [False, True])
def test_a_phones_width_holds_the_page_and_text_can_be_read(
    url: str, client: Client, dark: bool
) -> None:
    client.create("sales", id="a-session-with-a-very-long-name-" * 4)
    client.step("a-session-with-a-very-long-name-" * 4, [1.0])
    with chromium(360, 740, dark) as window:
        window.get(url)
        until(window, lambda: len(names(window)) == 1)
        window.find_element(By.CLASS_NAME, "session").click()
        until(window, lambda: colours(window) > 1)
        assert window.execute_script("return document.documentElement.scrollWidth") <= 360
        assert faint(window) == []


def test_the_page_loads_nothing_from_elsewhere(url: str) -> None:
    page = httpx.get(url)
    assert "default-src 'self'" in page.headers["content-security-policy"]
    files = Path(sw.__file__).parent / "serve" / "dashboard" / "static"
    for file in files.iterdir():
        written = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in written
        assert "https://" not in written
        served = httpx.get(url if file.name == "index.html" else f"{url}/dashboard/{file.name}")
        assert served.text == file.read_text()
    assert httpx.get(f"{url}/dashboard/nothing.js").status_code == 404


def test_a_watched_session_that_ends_is_said_to(url: str, client: Client) -> None:
    client.create("sales", id="short")
    with httpx.stream("GET", f"{url}/dashboard/watch?session=short") as lines:
        seen = lines.iter_lines()
        assert '"fields"' in next(seen)
        client.delete("short")
        assert any('"gone"' in line for line in seen)
    assert httpx.get(f"{url}/dashboard/watch?session=never").status_code == 404


def test_limits_that_are_none_are_refused(url: str) -> None:
    for limit in ("0", "x", "99999"):
        assert httpx.get(f"{url}/dashboard/sessions?limit={limit}").status_code == 400
