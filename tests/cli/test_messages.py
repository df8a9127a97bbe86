"""Messages on the command line name options, never arguments of Python."""

import re

import pytest

import statewise as sw
from statewise.cli.app import build_command
from statewise.cli.messages import find_options, name_options

FORECAST = find_options(build_command(), ["forecast", "shampoo", "--test", "3"])

SAID = {
    "fix them, or pass missing='skip' or missing='interpolate'":
        "fix them, or pass --missing skip or --missing interpolate",
    "h must be a whole number": "--horizon must be a whole number",
    "test must be 1": "--test must be 1",
    "LSTM: units must be 1": "LSTM: --units must be 1",
    "did you mean time_col='when sold'?": "did you mean --time 'when sold'?",
    "name it with target_col=": "name it with --value",
    "name it with id_col=; or": "name it with --id; or",
    "pass json=True": "pass --json",
    "try seed=7, epochs=100": "try --seed 7, --epochs 100",
    # words that are no arguments, and texts of a user, stay
    "the test must go on": "the test must go on",
    "a level is what you expect": "a level is what you expect",
    "there is no series 'missing=3'": "there is no series 'missing=3'",
    'column "h must be" of units': 'column "h must be" of units',
    "the series' own test": "the series' own test",
    "got LSTM(units=1, a=A(test=2)); h must": "got LSTM(units=1, a=A(test=2)); --horizon must",
    "takes id_col=None": "takes no --id",
    "calibration must be a whole number": "calibration must be a whole number",
}  # fmt: skip


@pytest.mark.parametrize("message", SAID)
def test_arguments_become_options(message: str) -> None:
    assert name_options(message, FORECAST) == SAID[message]


def test_the_options_are_those_of_the_command_that_is_called() -> None:
    assert FORECAST["id_col"] == FORECAST["key"] == "--id"
    assert "id_col" not in find_options(build_command(), ["doctor"])
    train = find_options(build_command(), ["text", "train"])
    assert "--out" in train.values()
    assert "id_col" not in find_options(build_command(), ["no such command"])
    assert name_options("h must be 1", {}) == "h must be 1"


ARGUMENT = re.compile(r"\b[a-z_]+=(?!=)|\b[a-z]+_[a-z_]+\b|(?<!-)\b(h|test|repeats|season) must")


@pytest.mark.parametrize(
    "cause",
    [
        lambda f, df: f.predict(0),
        lambda f, df: f.predict(2, level=[200]),
        lambda f, df: f.fit(df, missing="drop"),
        lambda f, df: f.fit(df.assign(y=float("nan"))),
        lambda f, df: f.fit(df.drop(index=[3, 4])),
        lambda f, df: f.fit(df, id_col="shop"),
        lambda f, df: f.fit(df, time_col="dss"),
        lambda f, df: f.fit(df, target_col="x"),
        lambda f, df: f.update(df),
        lambda f, df: f.update(df.rename(columns={"ds": "time"})),
        lambda f, df: sw.Forecaster([sw.LSTM(0)]),
        *(
            lambda f, df, name=name: sw.forecast.compare_state_policies(
                df, **{"test": 2, "repeats": 1, name: 0}
            )
            for name in ("test", "repeats", "season", "window")
        ),
    ],
)
def test_whatever_the_library_says_can_be_said_on_the_command_line(cause, forecaster, frame):
    with pytest.raises(sw.errors.StatewiseError) as error:
        cause(forecaster, frame)
    said = name_options(str(error.value), FORECAST).replace("unique_id", "")
    assert not ARGUMENT.search(said), said


@pytest.fixture(scope="module")
def frame():
    import pandas as pd

    days = pd.date_range("2024-01-01", periods=12)
    return pd.DataFrame({"unique_id": "a", "ds": days, "y": [3.0, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]})


@pytest.fixture(scope="module")
def forecaster(frame):
    return sw.Forecaster([sw.LSTM(2)], epochs=1).fit(frame)


@pytest.mark.parametrize(
    ("command", "message", "expected"),
    [
        ("check", "pass unsafe=True only if", "pass --unsafe only if"),
        ("check", "write inputs='4,20,3' or", "write --inputs 4,20,3 or"),
        ("check", "such as inputs='rows,steps'", "such as --inputs rows,steps"),
        ("convert", "reset=True is for", "--reset is for"),
        ("convert", "merge_mode='sum'", "merge_mode='sum'"),  # not an option
        ("forecast", 'or missing="skip"', "or --missing skip"),
        ("forecast", "nothing of the kind", "nothing of the kind"),
    ],
)
def test_arguments_of_every_command_become_its_options(command, message, expected):
    options = find_options(build_command(), [command])
    assert name_options(message, options) == expected
