"""The errors: one tree, drawn as it is."""

import inspect
import pickle
import re

import pytest

import statewise as sw
from statewise import errors


def drawn():
    """The tree in the docstring: name -> (parent, what it says)."""
    tree, path = {}, []
    for line in errors.__doc__.splitlines()[2:]:
        if not line.strip():
            continue
        name = re.search(r"\w+", line)
        depth = name.start() // 4
        path[depth:] = [name.group()]
        tree[name.group()] = path[depth - 1] if depth else None
    return tree


def real():
    own = [value for _, value in inspect.getmembers(errors, inspect.isclass)]
    return {
        cls.__name__: next((base.__name__ for base in cls.__bases__ if base in own), None)
        for cls in own
    }


def test_the_tree_is_drawn_as_it_is():
    assert drawn() == real()
    assert {"StatewiseError", "StatewiseWarning"} == {k for k, v in drawn().items() if v is None}


def test_every_error_is_public():
    assert set(real()) <= set(sw.__all__)


@pytest.mark.parametrize("name", real())
def test_errors_are_also_what_python_calls_them(name):
    cls = getattr(sw, name)
    if issubclass(cls, Warning):
        assert issubclass(cls, UserWarning)
    elif cls is not sw.StatewiseError:
        assert issubclass(cls, (ValueError, RuntimeError, ImportError))


def test_errors_survive_a_process_boundary():
    error = pickle.loads(pickle.dumps(sw.MissingExtraError("torch", "train", "training")))
    assert str(error) == (
        "training needs torch, which is not installed; "
        "install it with: pip install 'statewise[train]'"
    )
    assert str(pickle.loads(pickle.dumps(sw.StateError("no")))) == "no"
