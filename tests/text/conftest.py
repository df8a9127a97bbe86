"""A small text, and a model that has learned it by heart, nearly."""

import pytest

import statewise as sw

RHYME = "one two three four five, once I caught a fish alive.\n"


@pytest.fixture(scope="session")
def learned(tmp_path_factory):
    """A text model of one layer and its folder."""
    folder = tmp_path_factory.mktemp("text") / "rhyme"
    model = sw.TextModel([sw.LSTM(48)], width=16)
    model.fit(RHYME * 60, epochs=40, lanes=4, chunk=53, learning_rate=1e-2, folder=folder)
    return model, folder
