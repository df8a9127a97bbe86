"""``module:attribute``: a model from a user's own code."""

from __future__ import annotations

import importlib
import sys
from operator import attrgetter
from pathlib import Path
from typing import Any

from statewise.errors import InputError, StatewiseError
from statewise.loading.frameworks import framework_of


def load_attribute(source: str) -> Any:
    """What ``module:attribute`` names: a model, or what a function or class gives.

    The module is found as ``python -m`` finds it: in the current folder too.

    Raises:
        InputError: a module that cannot be imported, an attribute that is not there, or a call
            that fails.
    """
    name, _, attribute = source.partition(":")
    module = _import(name)
    try:
        found = attrgetter(attribute)(module)
    except AttributeError:
        raise InputError(f"the module {name} has no {attribute!r}") from None
    if framework_of(found) is not None or not callable(found):
        return found
    try:
        return found()
    except StatewiseError:
        raise
    except Exception as error:
        raise InputError(
            f"{source} raised {type(error).__name__}: {error}; expected a function that takes no "
            "arguments and returns a model"
        ) from error


def _import(name: str) -> Any:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except StatewiseError:
        raise
    except ImportError as error:
        raise InputError(f"the module {name} cannot be imported ({error})") from error
    except Exception as error:
        raise InputError(f"importing {name} raised {type(error).__name__}: {error}") from error
