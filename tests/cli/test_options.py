"""Messages of commands name options, not arguments of Python."""

import pytest

from statewise.cli.app import command
from statewise.cli.options import name_options


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("pass unsafe=True only if", "pass --unsafe only if"),
        ("write inputs='4,?,3' or", "write --inputs 4,?,3 or"),
        ('or missing="skip"', "or --missing skip"),
        ("GRU(4, reset='before')", "GRU(4, reset='before')"),  # --reset takes no value
        ("merge_mode='sum'", "merge_mode='sum'"),  # not an option
        ("nothing of the kind", "nothing of the kind"),
    ],
)
def test_arguments_become_options(message, expected):
    assert name_options(message, command()) == expected
