"""Progress of training: a bar on a terminal, lines elsewhere if they are asked for."""

import sys

import pytest

import statewise as sw
from statewise import progress
from statewise.progress import Progress

from .runs import model, waves


@pytest.fixture
def streams():
    return sw.Streams(waves(60, 2), lanes=2, chunk=20)


def test_training_is_quiet_where_there_is_no_terminal(streams, capsys):
    sw.fit(model(), streams, epochs=2)
    assert capsys.readouterr() == ("", "")


def test_training_shows_epochs_and_losses_when_asked(streams, capsys):
    history = sw.fit(model(), streams, epochs=2, validation=streams, progress=True)
    out, shown = capsys.readouterr()
    assert out == ""
    assert "epoch 2/2" in shown
    assert f"loss {history.loss[-1]:.4g}" in shown
    assert f"validation {history.validation[-1]:.4g}" in shown


def test_a_terminal_is_noticed_and_may_be_refused(streams, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    sw.fit(model(), streams, epochs=1, progress=False)
    assert capsys.readouterr().err == ""
    sw.fit(model(), streams, epochs=1)
    assert "epoch 1/1" in capsys.readouterr().err


def test_without_a_terminal_there_is_a_line_now_and_then(streams, capsys, monkeypatch):
    monkeypatch.setattr(Progress, "everywhere", True)
    sw.fit(model(), streams, epochs=2)
    assert capsys.readouterr() == ("", "")  # done before anybody wonders
    monkeypatch.setattr(progress, "DELAY", 0.01)
    monkeypatch.setattr(progress, "INTERVAL", 0.01)
    history = sw.fit(model(), streams, epochs=20)
    out, shown = capsys.readouterr()
    assert out == ""
    first, *_, last = shown.splitlines()
    assert first.startswith("epoch ")
    assert last.startswith("epoch 20/20: 100% ")
    assert last.endswith(f"loss {history.loss[-1]:.4g}")


def test_a_fit_inside_another_task_leaves_the_line_to_it(streams, capsys):
    with Progress("comparing", shown=True, delay=0):
        sw.fit(model(), streams, epochs=1, progress=True)
    shown = capsys.readouterr().err
    assert "comparing" in shown
    assert "epoch" not in shown


def test_the_bar_is_closed_where_training_ends_early(streams, capsys):
    def fails(history):
        raise KeyError

    with pytest.raises(KeyError):
        sw.fit(model(), streams, progress=True, on_epoch=fails)
    sw.fit(model(), streams, epochs=1, progress=True)
