"""docs/formats.md, followed by a reader and writer that know nothing of statewise's own."""

import hashlib
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

import statewise as sw

DOCUMENT = Path(__file__).parent.parent / "docs" / "formats.md"
WORDS = {
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "I64": "int64",
}
ARCH = sw.Architecture(
    sw.Tokens(5, 2),
    [sw.Bidirectional(sw.GRU(3)), sw.LSTM(3), sw.Dropout(0.1)],
    sw.Linear(2, remember=True),
)


def parsed(path):
    """The metadata and, by name, (dtype, shape, bytes)."""
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    head, data = json.loads(raw[8 : 8 + size]), raw[8 + size :]
    meta = head.pop("__metadata__")
    arrays = {}
    for name, entry in head.items():
        start, stop = entry["data_offsets"]
        arrays[name] = (WORDS[entry["dtype"]], entry["shape"], data[start:stop])
    return meta, arrays


def contents(arrays):
    return b"".join(
        f"{name} {dtype} {shape}\n".encode() + data
        for name, (dtype, shape, data) in sorted(arrays.items())
    )


def sha256(meta, arrays):
    lines = "".join(f"{k} {len(v)} {v}\n" for k, v in sorted(meta.items()) if k != "sha256")
    return hashlib.sha256(lines.encode() + contents(arrays)).hexdigest()


def fingerprint(data):
    return hashlib.sha256(data).hexdigest()[:16]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_a_model_file_is_as_the_document_says(tmp_path, dtype):
    model = sw.nn.Model(ARCH, dtype=dtype)
    model.save(tmp_path / "m")
    meta, arrays = parsed(tmp_path / "m")
    assert meta["format"] == "statewise.model"
    assert meta["version"] == "1"
    assert meta["sha256"] == sha256(meta, arrays)
    assert meta["weights"] == fingerprint(contents(arrays)) == model.fingerprint()
    assert meta["fingerprint"] == fingerprint(meta["architecture"].encode()) == ARCH.fingerprint
    assert {word for word, _, _ in arrays.values()} == {str(dtype).removeprefix("torch.")}
    canonical = json.dumps(json.loads(meta["architecture"]), sort_keys=True, separators=(",", ":"))
    assert canonical == meta["architecture"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_state_file_is_as_the_document_says(tmp_path, dtype):
    model = sw.nn.Model(ARCH, dtype=dtype)
    _, state = model(torch.tensor([[1, 2, 3], [4, 0, 1]]))
    state.save(tmp_path / "s", extra={"note": "für später"})
    meta, arrays = parsed(tmp_path / "s")
    assert meta["format"] == "statewise.state"
    assert meta["sha256"] == sha256(meta, arrays)
    assert meta["architecture"] == ARCH.fingerprint
    assert meta["weights"] == model.fingerprint()
    assert json.loads(meta["fields"]) == list(ARCH.fields)
    assert set(arrays) == {*ARCH.fields, "position"}
    assert arrays["position"] == ("int64", [2], struct.pack("<2q", 3, 3))
    assert arrays["1.c"][0] == "float32"
    assert arrays["2.noise"][0] == "int64"


def test_a_file_written_by_the_document_alone_is_read(tmp_path):
    arch = '{"inputs":{"features":1,"kind":"Vector"},"kind":"Architecture",'
    arch += '"layers":[{"activation":"linear","kind":"Elman","units":1}],"statewise":1}'
    arrays = {
        "0.W": ("float32", [1, 1], struct.pack("<f", 1.0)),
        "0.R": ("float32", [1, 1], struct.pack("<f", 0.5)),
        "0.b": ("float32", [1], struct.pack("<f", 0.25)),
    }
    meta = {"format": "statewise.model", "version": "1", "architecture": arch, "mine": "own"}
    meta["sha256"] = sha256(meta, arrays)
    write(tmp_path / "m", meta, arrays)
    state = {
        "0.h": ("float32", [2, 1], struct.pack("<2f", 2.0, -4.0)),
        "position": ("int64", [2], struct.pack("<2q", 7, 9)),
    }
    meta = {"format": "statewise.state", "version": "1", "fields": '["0.h"]'}
    meta |= {"architecture": fingerprint(arch.encode()), "weights": ""}
    meta["sha256"] = sha256(meta, state)
    write(tmp_path / "s", meta, state)
    for model, one in (
        (sw.load(tmp_path / "m"), np.ones),
        (sw.nn.load(tmp_path / "m"), torch.ones),
    ):
        x = one((2, 1, 1)).astype("float32") if one is np.ones else one((2, 1, 1))
        y, after = model(x, sw.State.load(tmp_path / "s"))
        assert y.tolist() == [[[2.25]], [[-0.75]]]
        assert after.position.tolist() == [8, 10]


def write(path, meta, arrays):
    codes = {word: code for code, word in WORDS.items()}
    head, data = {"__metadata__": meta}, b""
    for name, (word, shape, own) in arrays.items():
        offsets = [len(data), len(data) + len(own)]
        head[name] = {"dtype": codes[word], "shape": shape, "data_offsets": offsets}
        data += own
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_the_example_in_the_document():
    text = DOCUMENT.read_text()
    arch = sw.Architecture(sw.Vector(1), [sw.LSTM(64), sw.Residual(sw.GRU(64))], sw.Linear(1))
    assert re.search(r"```json\n(.*)\n```", text).group(1) == arch.to_json()
    assert f"its fingerprint is `{arch.fingerprint}`" in text


def test_what_the_document_names():
    text = DOCUMENT.read_text()
    for kind in ("statewise.model", "statewise.state", "statewise.training"):
        assert kind in text
    from statewise import checkpoint

    for word in checkpoint._DTYPES:
        assert word in text
