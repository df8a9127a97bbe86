"""Messages of the library as a command shows them: arguments of Python become its options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

ALIASES = {
    "id_col": "key",
    "time_col": "time",
    "target_col": "value",
    "h": "horizon",
    "forecaster.seed": "seed",
}
"""Arguments of the library that commands call by another name."""

_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""

_CODE = r"\w\((?:[^()]|\([^()]*\))*\)"


def find_options(command: Any, words: Sequence[str]) -> dict[str, str]:
    """The options of the command that is called, by the names of their arguments in Python.

    Arguments:
        command: the whole command line, of click.
        words: what was typed after its name.
    """
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    options = {
        parameter.name: max(parameter.opts, key=len)
        for parameter in command.params
        if parameter.param_type_name == "option"
    }
    known = {name: options[own] for name, own in ALIASES.items() if own in options}
    return options | known


def name_options(message: str, options: Mapping[str, str]) -> str:
    """A message that names options: ``--missing skip`` for ``missing='skip'``.

    So does ``--test must be`` for ``test must be``. Text in quotes stays, since it is a user's, and
    so does code, such as ``LSTM(units=0)``.
    """
    names = "|".join(sorted(map(re.escape, options), key=len, reverse=True))
    if not names:
        return message
    pattern = re.compile(
        rf"(?<![\w.'\"-])(?P<set>{names})=(?P<value>{_QUOTED}|[\w.+-]+)?"
        rf"|(?:^|(?<=: )|(?<=; )|(?<=, ))(?P<subject>{names})(?= (?:must|is not|are not)\b)"
        rf"|(?<!\w)(?:{_QUOTED})(?!\w)|{_CODE}"
    )

    def rename(found: re.Match[str]) -> str:
        if found["subject"]:
            return options[found["subject"]]
        if not found["set"]:
            return found[0]
        value = found["value"] or ""
        option = options[found["set"]]
        if value in ("True", "None"):
            return option if value == "True" else f"no {option}"
        plain = value[1:-1] if value[:1] in ("'", '"') else value
        return f"{option} {shlex.quote(plain)}" if plain else option

    return pattern.sub(rename, message)
