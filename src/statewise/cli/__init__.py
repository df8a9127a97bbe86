"""The command line: ``statewise forecast | update | state``."""

from __future__ import annotations

import sys

from statewise.errors import MissingExtraError, StatewiseError


def main() -> None:
    """Run the command; an error of statewise is one line and exit status 2."""
    try:
        from statewise.cli.app import app
    except ModuleNotFoundError as error:
        raise SystemExit(f"error: the command line needs {error.name}") from None
    try:
        app()
    except MissingExtraError as error:
        _fail(str(error))
    except StatewiseError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def _fail(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2)
