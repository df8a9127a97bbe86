"""What commands print, read in tests."""

import re


def error_lines(stderr: str) -> list[str]:
    """The lines of standard error without those of progress, which a busy machine has."""
    return [line for line in stderr.splitlines() if not re.search(r": (\d+% )?\d+ s", line)]
