"""Files: what is written comes back, whole or not at all."""

import os
import stat
import sys

import numpy as np
import pytest
import torch

import statewise as sw
from statewise import checkpoint

ARCH = sw.Architecture(sw.Vector(2), [sw.GRU(3), sw.LSTM(2)], sw.Linear(1))


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "m.safetensors"
    sw.nn.Model(ARCH).save(path)
    return path


# Round trips


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_models_come_back_as_they_were(tmp_path, dtype):
    path = tmp_path / "m.safetensors"
    model = sw.nn.Model(ARCH, seed=3, dtype=dtype)
    model.save(path)
    again = sw.nn.load(path)
    assert again.architecture == ARCH
    assert again.fingerprint() == model.fingerprint()
    assert not again.training
    for name, value in model.weights().items():
        assert again.weights()[name].dtype == dtype
        assert torch.equal(again.weights()[name], value)
    if dtype == torch.bfloat16:
        with pytest.raises(
            sw.FileError, match=r"bfloat16 weights, which NumPy lacks; use sw.nn.lo"
        ):
            sw.load(path)
    else:
        light = sw.load(path)
        assert light.fingerprint() == model.fingerprint()
        light.save(tmp_path / "again.safetensors")
        again = sw.load(tmp_path / "again.safetensors")
        assert again.fingerprint() == model.fingerprint()


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "uint8", "int64", "bool"]
)
def test_arrays_come_back_bit_for_bit(tmp_path, dtype):
    array = np.arange(-3, 3).reshape(2, 3).astype(dtype)
    arrays = {
        "a": array,
        "none": array[:0],
        "one": array[0, 0],
        "turned": array.T,
        "b": array[::-1],
    }
    checkpoint.write(tmp_path / "f", "statewise.test", arrays, {"note": "Größe ü 中"})
    back, meta = checkpoint.read(tmp_path / "f", "statewise.test")
    assert meta["note"] == "Größe ü 中"
    assert meta["format"] == "statewise.test"
    assert meta["version"] == "1"
    for name, value in arrays.items():
        assert back[name].dtype == value.dtype
        np.testing.assert_array_equal(back[name], value)


def test_special_values_come_back(tmp_path):
    array = np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324])
    checkpoint.write(tmp_path / "f", "k", {"a": array}, {})
    assert checkpoint.read(tmp_path / "f", "k")[0]["a"].tobytes() == array.tobytes()


def test_a_dtype_that_has_no_place_in_a_file(tmp_path):
    for array in (np.zeros(2, dtype=complex), np.zeros(2, dtype=">f4"), torch.zeros(2).cfloat()):
        with pytest.raises(sw.FileError, match=r"'a' has dtype .* not among those that are saved"):
            checkpoint.write(tmp_path / "f", "k", {"a": array}, {})
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_plain_safetensors(model_file):
    from safetensors.numpy import load_file

    assert set(load_file(model_file)) == set(ARCH.parameters)
    meta = checkpoint.read_metadata(model_file, "statewise.model")
    assert set(meta) == {
        "format",
        "version",
        "sha256",
        "architecture",
        "fingerprint",
        "weights",
    }
    assert meta["architecture"] == ARCH.to_json()
    assert meta["fingerprint"] == ARCH.fingerprint


# Writing


def test_an_interrupted_write_leaves_the_old_file(model_file, monkeypatch):
    before = model_file.read_bytes()
    full = checkpoint.Path.write_bytes

    def interrupted(path, data):
        full(path, data[: len(data) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sw.nn.Model(ARCH, seed=1).save(model_file)
    assert model_file.read_bytes() == before
    assert list(model_file.parent.iterdir()) == [model_file]


def test_a_full_disk_is_told_and_leaves_the_old_file(model_file, monkeypatch):
    before = model_file.read_bytes()

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.Path, "write_bytes", full)
    with pytest.raises(
        sw.FileError, match=r"cannot write .*m.safetensors: No space left on device"
    ):
        sw.nn.Model(ARCH, seed=1).save(model_file)
    assert model_file.read_bytes() == before
    assert list(model_file.parent.iterdir()) == [model_file]


def test_places_that_cannot_be_written(tmp_path, model_file):
    state = sw.State({"0.h": np.zeros((1, 1))})
    for save in (sw.nn.Model(ARCH).save, sw.load(model_file).save, state.save):
        with pytest.raises(
            sw.FileError, match=r"cannot write .*: it is a folder; name a file in it"
        ):
            save(tmp_path)
        with pytest.raises(sw.FileError, match=r"cannot write .*: there is no folder .*gone"):
            save(tmp_path / "gone" / "m.safetensors")
        with pytest.raises(sw.FileError, match=r"cannot write .*: File name too long"):
            save(tmp_path / ("m" * 300))
    assert list(tmp_path.iterdir()) == [model_file]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="every folder can be written")
def test_a_folder_without_permission(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(sw.FileError, match=r"cannot write .*: Permission denied"):
        sw.nn.Model(ARCH).save(locked / "m.safetensors")


def test_who_reads_the_old_file_goes_on_reading_it(model_file):
    before = model_file.read_bytes()
    with model_file.open("rb", buffering=0) as reader:
        first = reader.read(10)
        sw.nn.Model(ARCH, seed=1).save(model_file)
        assert first + reader.read() == before


def test_what_is_written_replaces_what_was_there(model_file):
    model = sw.nn.Model(ARCH, seed=1)
    model.save(model_file)
    assert sw.load(model_file).fingerprint() == model.fingerprint()
    assert list(model_file.parent.iterdir()) == [model_file]


@pytest.mark.skipif(sys.platform == "win32", reason="no umask")
def test_files_have_the_permissions_of_any_new_file(tmp_path):
    previous = os.umask(0o027)
    try:
        sw.nn.Model(ARCH).save(tmp_path / "m")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o640


def test_paths_may_be_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sw.nn.Model(ARCH).save("m.safetensors")
    assert sw.load("m.safetensors").architecture == ARCH


# Fingerprints


def test_fingerprints_of_weights():
    a = {"x": np.zeros((2, 3), dtype="float32"), "y": np.ones(2)}
    assert checkpoint.fingerprint(a) == checkpoint.fingerprint(dict(reversed(a.items())))
    assert checkpoint.fingerprint(a) == checkpoint.fingerprint(
        {name: torch.as_tensor(value) for name, value in a.items()}
    )
    others = [
        {"x": a["x"]},
        {"x": a["x"], "z": a["y"]},
        {"x": a["x"].reshape(3, 2), "y": a["y"]},
        {"x": a["x"].astype("float64"), "y": a["y"]},
        {"x": a["x"] - 0.0 * -1, "y": a["y"] + 1e-15},
    ]
    prints = {checkpoint.fingerprint(each) for each in (a, *others)}
    assert len(prints) == 1 + len(others)


def test_the_fingerprint_is_golden():
    """As docs/formats.md says how to compute it."""
    arrays = {"b": np.array([1.0, -2.0], dtype="<f4"), "a": np.array([[3]], dtype="<i8")}
    import hashlib

    text = b"a int64 [1, 1]\n" + b"\x03" + b"\0" * 7
    text += b"b float32 [2]\n" + b"\x00\x00\x80\x3f" + b"\x00\x00\x00\xc0"
    assert checkpoint.fingerprint(arrays) == hashlib.sha256(text).hexdigest()[:16]


def test_reading_metadata_alone(model_file):
    meta = checkpoint.read_metadata(model_file, "statewise.model")
    assert meta["fingerprint"] == ARCH.fingerprint
    with pytest.raises(sw.FileError, match=r"is a statewise.model file"):
        checkpoint.read_metadata(model_file, "statewise.state")
