"""The command line: ``statewise forecast | text | inspect | check | serve`` and the rest"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

from statewise.errors import StatewiseError, StatewiseWarning
from statewise.progress import Progress

INTERRUPTED = 130  # the exit status


def main() -> None:
    """Run a command. An error, of statewise or of usage, is one line and exit status 2."""
    from typer import Abort

    from statewise.cli.app import build_command
    from statewise.cli.messages import find_options, name_options

    app = build_command()
    options = find_options(app, sys.argv[1:])
    warnings.showwarning = partial(_show_warning, options)
    warnings.simplefilter("once", StatewiseWarning)
    Progress.everywhere = True
    try:
        status = app.main(prog_name="statewise", standalone_mode=False)
    except (KeyboardInterrupt, Abort):
        print("interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except StatewiseError as error:
        _fail(name_options(str(error), options))
    except Exception as error:
        if not hasattr(error, "format_message"):  # Typer's errors of usage have it
            raise
        _fail(error.format_message())
    if status == INTERRUPTED:  # Typer returns it for Ctrl-C
        print("interrupted", file=sys.stderr)
    raise SystemExit(status if isinstance(status, int) else 0)


def _fail(message: str) -> None:
    if message:
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2)


def _show_warning(
    options: Mapping[str, str], message: Warning | str, category: type[Warning], *_: Any
) -> None:
    """Print a warning of statewise as one line; the user of a command can act on no other."""
    from statewise.cli.messages import name_options

    if issubclass(category, StatewiseWarning):
        print(f"warning: {name_options(str(message), options)}", file=sys.stderr)
