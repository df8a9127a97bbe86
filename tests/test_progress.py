"""`Progress`: quiet at first, then a line every few seconds on standard error alone."""

import time

import pytest

from statewise import progress
from statewise.progress import Progress


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 0.1)
    monkeypatch.setattr(progress, "INTERVAL", 0.1)
    monkeypatch.setattr(Progress, "everywhere", False)  # a command in this process sets it


def wait_for_line(capsys, seconds=10.0):
    end = time.monotonic() + seconds
    shown = capsys.readouterr()
    while not shown.err and time.monotonic() < end:
        time.sleep(0.02)
        shown = capsys.readouterr()
    return shown


def test_a_short_task_shows_nothing(capsys):
    with Progress("counting", shown=True) as task:
        task.update(1)
    assert capsys.readouterr() == ("", "")


def test_a_long_task_writes_lines_to_standard_error(capsys):
    with Progress("counting", total=4, shown=True) as task:
        task.update(2, note="loss 0.5")
        shown = wait_for_line(capsys)
    assert shown.out == ""
    assert shown.err.startswith("counting: 50% ")
    assert shown.err.splitlines()[0].endswith(" s, loss 0.5")


def test_a_task_may_be_shown_at_once_and_its_end_kept(capsys):
    with Progress("counting", total=4, shown=True, delay=0, keep=True) as task:
        task.update(4)
    assert capsys.readouterr().err.splitlines()[-1] == "counting: 100% 0 s"


def test_nothing_is_written_where_there_is_no_terminal_unless_asked(capsys):
    with Progress("counting"):
        time.sleep(0.3)
    assert capsys.readouterr() == ("", "")


def test_commands_show_it_everywhere(capsys, monkeypatch):
    monkeypatch.setattr(Progress, "everywhere", True)
    with Progress("counting"):
        assert "counting:" in wait_for_line(capsys).err


def test_the_outermost_task_is_shown(capsys):
    with Progress("outer", shown=True), Progress("inner", shown=True):
        shown = wait_for_line(capsys)
    assert "outer" in shown.err
    assert "inner" not in shown.err
    with Progress("next", shown=True):
        assert "next" in wait_for_line(capsys).err


def test_it_ends_with_an_error_in_the_block():
    with pytest.raises(ZeroDivisionError), Progress("counting", shown=True) as task:
        raise ZeroDivisionError
    assert not task._thread.is_alive()
    assert Progress._outermost is None
