"""Messages of commands name options, not arguments of Python."""

import pytest

from statewise.cli.app import build_command
from statewise.cli.messages import find_options, name_options


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
def test_arguments_become_options(command, message, expected):
    options = find_options(build_command(), [command])
    assert name_options(message, options) == expected
