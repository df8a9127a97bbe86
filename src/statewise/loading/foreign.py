"""`describe_foreign`: what a value is that is no model, and what to pass instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from statewise.loading.frameworks import framework_of

Test = Callable[[Any], bool]


def describe_foreign(value: Any) -> str:
    """What was passed in place of a model, and what to pass instead, as the end of a message.

    Example::

        raise InputError(f"expected a model, got {describe_foreign(value)}")
    """
    kind = type(value).__name__
    text = next((text for is_this, text in _KINDS if is_this(value)), "{kind}")
    name = getattr(value, "__name__", kind)
    return text.format(kind=kind, name=name, value=value, parts=_list_parts(value))


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _is_one_of(*names: str) -> Test:
    """A test for values one of whose classes has one of these names; nothing is imported."""
    return lambda value: any(base.__name__ in names for base in type(value).__mro__)


def _is_state_dict(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(map(_is_array, value.values()))


def _has_model(value: Any) -> bool:
    return framework_of(getattr(value, "model", None)) is not None


def _list_parts(value: Any) -> str:
    """The types of the first parts of a tuple, list or mapping."""
    if not isinstance(value, (tuple, list, Mapping)):
        return ""
    parts = list(value.values() if isinstance(value, Mapping) else value)
    names = [type(part).__name__ for part in parts[:4]] + ["..."] * (len(parts) > 4)
    return ", ".join(names) or "nothing in it"


_KINDS: tuple[tuple[Test, str], ...] = (
    (lambda value: value is None, "None; if a function made it, let it return the model"),
    (lambda value: isinstance(value, type), "the class {name}; pass an object of it: {name}(...)"),
    (
        _is_one_of("str", "Path"),
        (
            "the text {value!s}; if it is a path, load the model first: "
            "statewise.loading.load_model({value!r})"
        ),
    ),
    (
        _is_one_of("bytes", "bytearray", "_IOBase"),
        (
            "{kind}; a pickle can run code when it is read, so it is not read: make the model and "
            "pass it"
        ),
    ),
    (_is_one_of("State"), "a State; pass the model that it belongs to"),
    (
        _is_one_of("PackedSequence", "DataFrame", "Series"),
        "data ({kind}); pass the model that reads it",
    ),
    (_is_array, "data ({kind}); pass the model that reads it"),
    (
        _is_one_of("Dataset", "DataLoader", "PyDataset", "DatasetV2"),
        "a data set ({kind}); pass the model that reads it",
    ),
    (
        _is_state_dict,
        (
            "arrays by name ({kind}), such as a state_dict: weights without a model; make the "
            "model, give it the weights with load_state_dict, and pass it"
        ),
    ),
    (_is_one_of("tuple", "list", "dict"), "a {kind} ({parts}); pass the model alone"),
    (_has_model, "a {kind}, which holds a model; pass its .model"),
    (_is_one_of("InferenceSession"), "a session of onnxruntime; pass the graph: onnx.load(path)"),
    (lambda value: hasattr(value, "__code__"), "the function {name}; pass what it returns"),
)
