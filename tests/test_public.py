"""What is public, and what importing it costs."""

import importlib
import subprocess
import sys

import pytest

import statewise as sw

HEAVY = (
    *("torch", "pandas", "polars", "narwhals", "matplotlib", "rich", "typer", "scipy", "joblib"),
    *("array_api_compat.numpy", "numpy.testing", "importlib.metadata"),
)


def test_every_public_name_can_be_imported():
    for name in sw.__all__:
        assert getattr(sw, name) is not None, name
    assert sorted(sw.__all__, key=str.casefold) == sorted(set(sw.__all__), key=str.casefold)


def test_public_names_are_shown_by_dir():
    assert set(sw.__all__) <= set(dir(sw))


def test_nothing_public_is_missing_from_all():
    own = {
        name
        for name, value in vars(sw).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("statewise.")
    }
    assert own <= set(sw.__all__)


def test_everything_public_says_what_it_is():
    for name in sw.__all__:
        assert getattr(sw, name).__doc__, f"{name} has no docstring"
    for method in ("rows", "cat", "where", "replace", "detach", "clone", "to", "numpy", "map"):
        assert getattr(sw.State, method).__doc__
    for method in ("forward", "step", "trace", "initial_state", "weights", "save"):
        assert getattr(sw.nn.Model, method).__doc__


def test_the_torch_and_the_numpy_model_offer_the_same():
    torchs = {"step", "trace", "initial_state", "weights", "fingerprint", "save", "architecture"}
    model = sw.runtime.Model(sw.Architecture(sw.Vector(1), []), {})
    assert all(hasattr(model, name) for name in torchs)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'statewise' has no attribute 'LSTMM'"):
        sw.LSTMM  # noqa: B018
    with pytest.raises(ImportError):
        importlib.import_module("statewise.nothing")


def test_importing_statewise_imports_nothing_heavy():
    code = (
        "import sys, time; start = time.perf_counter(); import statewise as sw\n"
        "took = time.perf_counter() - start\n"
        "model = sw.runtime.Model(sw.Architecture(sw.Vector(1), [sw.LSTM(2)]), \n"
        "    sw.Architecture(sw.Vector(1), [sw.LSTM(2)]).draw(0))\n"
        "import numpy as np; model(np.zeros((1, 3, 1))); sw.State.load\n"
        f"print([name for name in {HEAVY} if name in sys.modules]); print(f'{{took:.3f}} s')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found, took = done.stdout.splitlines()
    print(f"import statewise: {took}")
    assert found == "[]"


def test_the_server_is_there_without_being_imported():
    code = (
        "import sys; import statewise as sw; sw.serve\n"
        "heavy = ('fastapi', 'uvicorn', 'httpx', 'msgspec', 'torch')\n"
        "print([name for name in heavy if name in sys.modules])\n"
        "print(sw.serve.create_app.__name__, sw.serve.Client.__name__, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "create_app Client False"]


@pytest.mark.parametrize(("missing", "name"), [("fastapi", "create_app"), ("httpx", "Client")])
def test_without_what_the_server_needs_the_error_names_the_extra(missing, name):
    code = f"import sys; sys.modules[{missing!r}] = None; import statewise as sw; sw.serve.{name}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"needs {missing}, which is not installed" in done.stderr
    assert "pip install 'statewise[serve]'" in done.stderr


def test_without_torch_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import statewise as sw\n"
        "for use in (lambda: sw.nn, lambda: sw.fit, lambda: sw.Streams):\n"
        "    try:\n"
        "        use()\n"
        "    except sw.MissingExtraError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all("pip install 'statewise[train]'" in line for line in lines)
