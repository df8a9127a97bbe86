"""Frozen dataclasses as JSON and back: how an architecture is written down.

A part of an architecture (a cell, an initialiser, an input) is a frozen dataclass that derives
from `Spec`. Deriving is all the registration there is. In JSON it is an object with its kind and
the fields that differ from their defaults, so that an option added later leaves the text, and so
the fingerprint, of older architectures as it was.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from statewise.errors import ArchitectureError

_OWN = "statewise."


class Spec:
    """A part of an architecture: hyperparameters without arrays, written as JSON."""

    _kinds: ClassVar[dict[str, type[Spec]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        Spec._kinds[kind(cls)] = cls


def kind(cls: type) -> str:
    """The name a class goes by in a file: ``LSTM``, or ``package.module:Name`` for a user's own."""
    own = (cls.__module__ + ".").startswith(_OWN)
    return cls.__qualname__ if own else f"{cls.__module__}:{cls.__qualname__}"


def format_spec(part: Any) -> str:
    """A part of an architecture as Python writes it, without the options at their defaults:
    ``LSTM(64, projection=16)``.
    """
    if isinstance(part, (tuple, list)):
        return f"({', '.join(map(format_spec, part))}{',' * (len(part) == 1)})"
    if not isinstance(part, Spec):
        return json.dumps(part, ensure_ascii=False) if isinstance(part, str) else repr(part)
    options = []
    for field in dataclasses.fields(part):  # type: ignore[arg-type]
        value, default = getattr(part, field.name), field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if default is dataclasses.MISSING:
            options.append(format_spec(value))
        elif value != default:
            options.append(f"{field.name}={format_spec(value)}")
    return type(part).__name__ + (f"({', '.join(options)})" if options else "")


def encode(value: Any) -> Any:
    """The JSON form of a spec, or of a plain value inside one."""
    if isinstance(value, Spec):
        check_frozen(value)
        written: dict[str, Any] = {"kind": kind(type(value))}
        for field in dataclasses.fields(value):  # type: ignore[arg-type]
            item = getattr(value, field.name)
            if field.default is dataclasses.MISSING or item != field.default:
                written[field.name] = encode(item)
        return written
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): encode(item) for name, item in value.items()}
    if isinstance(value, float):
        return _number(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise ArchitectureError(
        f"a {type(value).__name__} ({value!r}) cannot be a hyperparameter: architectures are saved "
        "as JSON; use numbers, strings, booleans, tuples, or frozen dataclasses deriving from Spec"
    )


def decode(value: Any, cells: Iterable[type[Spec]] = ()) -> Any:
    """The spec that `encode` wrote.

    Arguments:
        value: what `encode` returned, lists standing for tuples.
        cells: classes of a user's own, found by their kind or by their bare name.

    Raises:
        ArchitectureError: an unknown kind, or fields that the class does not take.
    """
    given = tuple(cells)
    if isinstance(value, list):
        return tuple(decode(item, given) for item in value)
    if not isinstance(value, dict):
        return value
    if "kind" not in value:
        return {name: decode(item, given) for name, item in value.items()}
    cls = _find(value["kind"], given)
    options = {name: decode(item, given) for name, item in value.items() if name != "kind"}
    try:
        return cls(**options)
    except TypeError as error:
        raise ArchitectureError(
            f"{value['kind']} does not take what the file gives it ({', '.join(options)}): {error}"
            "; the file may come from a newer statewise, or the class has changed since"
        ) from error


def check_frozen(value: Spec) -> None:
    """Raise unless the object is an instance of a frozen dataclass."""
    options = getattr(type(value), "__dataclass_params__", None)
    if options is None or not options.frozen:
        raise ArchitectureError(
            f"{type(value).__qualname__} is not a frozen dataclass; "
            "write @dataclass(frozen=True) above the class, so that it can be compared and saved"
        )


def _number(value: float) -> float:
    """A whole number without its point: 2 and 2.0 are equal, so they are written alike."""
    if not math.isfinite(value):
        raise ArchitectureError(
            f"{value} cannot be a hyperparameter: architectures are saved as JSON, which has only "
            "finite numbers"
        )
    return int(value) if value.is_integer() and abs(value) < 2**53 else float(value)


def _find(name: Any, given: tuple[type[Spec], ...]) -> type[Spec]:
    bare = str(name).rpartition(":")[2].rpartition(".")[2]
    for cls in given:
        if kind(cls) == name or cls.__name__ == bare:
            return cls
    found = Spec._kinds.get(str(name))
    if found is not None:
        return found
    if ":" not in str(name):
        raise ArchitectureError(
            f"this version of statewise knows no {name!r}; the file may come from a newer one"
        )
    module = str(name).partition(":")[0]
    raise ArchitectureError(
        f"the model uses the cell {bare!r} of the module {module!r}, which has not been imported; "
        f"import it first, or pass the class when loading: cells=[{bare}]"
    )
