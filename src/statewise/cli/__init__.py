"""The command line: ``statewise forecast | text | inspect | check | serve`` and the rest"""

from __future__ import annotations

import sys
import warnings
from typing import Any

from statewise.errors import StatewiseError, StatewiseWarning
from statewise.progress import Progress


def main() -> None:
    """Run the command; an error, of statewise or of usage, is one line and exit status 2."""
    from typer import Abort

    from statewise.cli.app import command

    warnings.showwarning = _show  # type: ignore[assignment]
    Progress.everywhere = True
    try:
        status = command().main(prog_name="statewise", standalone_mode=False)
    except (KeyboardInterrupt, Abort):
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except StatewiseError as error:
        _fail(str(error))
    except Exception as error:
        if not hasattr(error, "format_message"):  # what Typer says of wrong usage has it
            raise
        _fail(error.format_message())
    raise SystemExit(status if isinstance(status, int) else 0)


def _fail(message: str) -> None:
    if message:
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2)


def _show(message: Warning | str, category: type[Warning], *_: Any) -> None:
    """A warning of statewise is one line; the user of a command can mend no other."""
    if issubclass(category, StatewiseWarning):
        print(f"warning: {message}", file=sys.stderr)
