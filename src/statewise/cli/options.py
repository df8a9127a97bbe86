"""`name_options`: messages of the library in the words of the command line"""

from __future__ import annotations

import re
from typing import Any


def name_options(message: str, command: Any) -> str:
    """The message with the options of a command in place of arguments of Python.

    ``unsafe=True`` becomes ``--unsafe``, and ``missing='skip'`` becomes ``--missing skip``.

    Arguments:
        message: of an error or a warning.
        command: the click command, whose options and those of its subcommands are named.
    """
    for parameter in _list_options(command):
        option = next(name for name in parameter.opts if name.startswith("--"))
        value = "True" if parameter.is_flag else r"(?P<quote>['\"])(?P<value>.*?)(?P=quote)"
        named = option if parameter.is_flag else rf"{option} \g<value>"
        message = re.sub(rf"\b{parameter.name}={value}", named, message)
    return message


def _list_options(command: Any) -> list[Any]:
    """The options of a command and of its subcommands that have a long name."""
    options = [one for one in command.params if any(name.startswith("--") for name in one.opts)]
    for subcommand in getattr(command, "commands", {}).values():
        options += _list_options(subcommand)
    return options
