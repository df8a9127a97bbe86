"""One loader: paths and ``module:attribute``, with messages that say what to do."""

import numpy as np
import pytest
import torch

import statewise as sw
from statewise.loading import find_model_file, framework_of, load_model, load_statewise

ARCH = sw.Architecture(sw.Vector(2), [sw.LSTM(3)], sw.Linear(1))
MODULE = """
import torch

ready = torch.nn.GRU(2, 3)
number = 3

def make():
    return torch.nn.LSTM(2, 3)

def fails():
    raise ValueError("nothing today")

class Factory:
    make = staticmethod(make)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_models.py").write_text(MODULE)
    sw.nn.Model(ARCH, seed=0).save(tmp_path / "m.safetensors")
    (tmp_path / "run").mkdir()
    sw.nn.Model(ARCH, seed=0).save(tmp_path / "run" / "model.safetensors")
    return tmp_path


def test_files_folders_and_attributes_are_loaded(folder):
    assert isinstance(load_model("m.safetensors"), sw.runtime.Model)
    assert isinstance(load_model(folder / "run"), sw.runtime.Model)
    assert isinstance(load_model("m.safetensors", trainable=True), sw.nn.Model)
    assert isinstance(load_model("own_models:make"), torch.nn.LSTM)
    assert isinstance(load_model("own_models:Factory.make"), torch.nn.LSTM)
    assert isinstance(load_model("own_models:ready"), torch.nn.GRU)
    assert load_model("own_models:number") == 3
    assert find_model_file("run") == (folder / "run" / "model.safetensors").relative_to(folder)


def test_a_file_whose_name_has_a_colon_is_a_file(folder):
    (folder / "m.safetensors").rename(folder / "a:b")
    assert isinstance(load_model("a:b"), sw.runtime.Model)


@pytest.mark.parametrize("name", ["m.pt", "m.pth", "m.pkl", "m.CKPT"])
def test_a_pickle_is_not_read(folder, name):
    class Trap:
        def __reduce__(self):
            return (exit, ("code from a pickle ran",))

    torch.save(Trap(), folder / name)
    with pytest.raises(sw.FileError, match=r"can run code .* module:function"):
        load_model(name)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("none.safetensors", sw.FileError, "there is no file none.safetensors"),
        ("own_models.py", sw.FileError, "give own_models:NAME"),
        ("empty", sw.FileError, "the folder empty holds no model.safetensors"),
        ("saved", sw.FileError, "SavedModel of TensorFlow"),
        ("text.json", sw.FileError, "not a readable safetensors file"),
        ("own_models:absent", sw.InputError, "own_models has no 'absent'"),
        ("own_models:fails", sw.InputError, "raised ValueError: nothing today"),
        ("absent_module:make", sw.InputError, "absent_module cannot be imported"),
    ],
)
def test_each_error_says_what_to_do(folder, source, error, message):
    (folder / "empty").mkdir()
    (folder / "saved").mkdir()
    (folder / "saved" / "saved_model.pb").write_bytes(b"")
    (folder / "text.json").write_text("{}")
    with pytest.raises(error, match=message):
        load_model(source)


@pytest.mark.parametrize("name", ["m.keras", "m.onnx"])
def test_rooms_that_take_only_models_of_statewise_name_the_conversion(folder, name):
    (folder / name).write_bytes(b"")
    with pytest.raises(sw.FileError, match=rf"statewise convert {name} m.safetensors"):
        load_statewise(name)


def test_every_model_has_its_framework(folder):
    assert framework_of(load_model("m.safetensors")) == "statewise"
    assert framework_of(load_model("m.safetensors", trainable=True)) == "statewise"
    assert framework_of(torch.nn.LSTM(1, 2)) == "torch"
    for value in (None, 3, torch.nn.LSTM, np.zeros(3), torch.zeros(3), ARCH, "m.safetensors"):
        assert framework_of(value) is None
