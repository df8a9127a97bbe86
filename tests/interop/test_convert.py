"""``statewise convert``: from one kind of file to another, with a figure from a run of both."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

import statewise as sw
from statewise.interop import convert, from_keras, from_onnx, to_keras

from ..check.environments import block
from ..conformance.zoo import ZOO, weights
from .conftest import need

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5"),
]
ARCH = sw.Architecture(sw.Vector(3), [sw.LSTM(4), sw.Dropout(0.1), sw.GRU(4)], sw.Linear(2))


def model_of(arch=ARCH):
    return sw.runtime.Model(arch, weights(arch))


CODE = "from statewise.cli import main; main()"


def call(*words, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-c", CODE, "convert", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "KERAS_BACKEND": "torch", **environment},
        check=False,
    )


@pytest.fixture
def files(tmp_path):
    need("keras"), need("onnx"), need("onnxruntime")
    model = model_of()
    model.save(tmp_path / "m.safetensors")
    to_keras(model).save(tmp_path / "m.keras")
    convert(str(tmp_path / "m.safetensors"), tmp_path / "m.onnx")
    return tmp_path


def test_every_kind_into_every_other(files):
    expected = model_of().fingerprint()
    for source in ("m.safetensors", "m.keras", "m.onnx"):
        for target in ("t.safetensors", "t.keras", "t.h5", "t.onnx"):
            path = files / target
            parity = convert(str(files / source), path)
            assert 0 <= parity.largest < 1e-5
            opened = {".safetensors": sw.load, ".onnx": from_onnx}.get(path.suffix, from_keras)
            assert opened(path).fingerprint() == expected
            path.unlink()


def test_the_command_prints_a_figure_from_a_run(files):
    (files / "mine.py").write_text(
        "import torch\n"
        "def model():\n"
        "    torch.manual_seed(0)\n"
        "    return torch.nn.LSTM(3, 4, num_layers=2, batch_first=True)\n"
    )
    done = call("mine:model", "torch.onnx", "--reset", cwd=files)
    assert done.returncode == 0, done.stderr
    assert re.search(r"parity: largest difference \d\.\de-0[678]", done.stdout), done.stdout
    model = from_onnx(files / "torch.onnx")
    assert [cell.units for cell in model.architecture.layers] == [4, 4]
    done = call("m.keras", "c.onnx", cwd=files)
    assert done.returncode == 0, done.stderr


def test_bad_input_is_one_line_and_leaves_nothing(files):
    (files / "junk.keras").write_bytes(b"junk")
    (files / "junk.onnx").write_bytes(b"junk")
    (files / "mine.py").write_text(
        "def broken(): 1 / 0\ndef three(): return 3\n"
        "def state_dict():\n    import torch\n    return torch.nn.LSTM(1, 2).state_dict()\n"
    )
    (files / "weights.pt").write_bytes(b"")
    model_of(ZOO["residual"]).save(files / "residual.safetensors")
    before = set(files.iterdir()) | {files / "__pycache__"}
    for words, said in [
        (("none.keras", "t.onnx"), "does not exist"),
        (("junk.keras", "t.onnx"), "not a Keras model"),
        (("junk.onnx", "t.keras"), "not a whole ONNX model"),
        (("m.pt", "t.onnx"), "there is no file m.pt"),
        (("m.onnx", "t.txt"), "cannot write t.txt"),
        (("m.onnx", "t.keras", "--reset"), "--reset is for an .onnx target"),
        (("mine:broken", "t.onnx"), "ZeroDivisionError"),
        (("weights.pt", "t.onnx"), "can run code"),
        (("mine:state_dict", "t.onnx"), "load_state_dict"),
        (("mine:three", "t.onnx"), "got int"),
        (("residual.safetensors", "t.keras"), "layer 0 (Residual): Keras has no counterpart"),
        (("m.onnx", "none/t.keras"), "no folder none"),
    ]:
        done = call(*words, cwd=files)
        assert done.returncode == 2, words
        lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
        assert len(lines) == 1, done.stderr
        assert said in lines[0], lines
        assert set(files.iterdir()) <= before, words


def test_what_is_replaced_stays_until_the_new_file_is_whole(files):
    path = files / "kept.onnx"
    path.write_bytes(b"as it was")
    arch = sw.Architecture(sw.Vector(2), [sw.Bidirectional(sw.GRU(3))])
    model_of(arch).save(files / "both.safetensors")
    with pytest.raises(sw.ConversionError, match="forward alone"):
        convert(str(files / "both.safetensors"), path, reset=True)
    assert path.read_bytes() == b"as it was"
    convert(str(files / "both.safetensors"), path)
    np.testing.assert_array_equal(
        from_onnx(path)(np.ones((1, 4, 2), np.float32))[0],
        model_of(arch)(np.ones((1, 4, 2), np.float32))[0],
    )


@pytest.mark.parametrize(
    ("source", "target", "status"),
    [
        ("m.keras", "t.onnx", 0),
        ("m.onnx", "t.keras", 0),
        ("m.safetensors", "t.h5", 0),
        ("m.keras", "none/t.onnx", 2),
    ],
)
def test_no_temporary_file_is_left(files, source, target, status):
    temporary = files / "temporary"
    temporary.mkdir()
    before = set(files.iterdir())
    done = call(source, target, cwd=files, TMPDIR=str(temporary))
    assert done.returncode == status, done.stderr
    left = {path.name for path in temporary.iterdir()}
    assert left <= {".ses"}  # of onnxruntime itself
    assert set(files.iterdir()) - before <= {files / target}


def test_no_file_is_left_by_an_interrupt(files):
    temporary = files / "temporary"
    temporary.mkdir()
    slow = "import time\nprint('imported', flush=True)\ntime.sleep(60)\n"
    (files / "slow.py").write_text(slow)
    before = set(files.iterdir())
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, "convert", "slow:model", "t.onnx"],
        cwd=files,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    while "imported" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted"
    left = {path.name for path in temporary.iterdir()}
    assert left <= {".ses"}  # of onnxruntime itself
    assert set(files.iterdir()) == before


def test_without_another_backend_keras_files_are_converted_on_torch(files):
    """The extra installs Keras and torch, and Keras alone would look for TensorFlow."""
    missing = block(files, "tensorflow", "jax")
    done = call("m.keras", "t.onnx", cwd=files, KERAS_BACKEND="", KERAS_HOME=str(files), **missing)
    assert done.returncode == 0, done.stderr
    assert "warning: Keras runs on torch here" in done.stderr
    assert "pip install" not in done.stderr
