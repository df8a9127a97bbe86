import numpy as np
import pytest
import torch
from tests.conformance.zoo import weights

import statewise as sw
from statewise import checkpoint, inspect

ARCH = sw.Architecture(sw.Tokens(9, 4), [sw.LSTM(5), sw.GRU(3)], sw.Linear(9))
X = np.random.default_rng(0).integers(0, 9, (2, 12))


@pytest.fixture
def model():
    return sw.runtime.Model(ARCH, weights(ARCH))


def test_a_state_of_any_step_goes_on(model):
    reset = np.zeros((2, 12), bool)
    reset[0, 4] = True
    lengths = [12, 7]
    trace = inspect.record(model, X, names="*", reset=reset, lengths=lengths)
    for step in (0, 5, 8, 11, -1):
        state = trace.state_at(step)
        for row, held in enumerate(np.minimum(lengths, step % 12 + 1)):
            for name in ("0.h", "0.c", "1.h"):
                value = trace[name][row, held - 1]
                np.testing.assert_allclose(state[name][row], value, atol=1e-6)
    whole, end = model(X[:, :], reset=reset)
    state = inspect.record(model, X, reset=reset).state_at(6)
    rest, again = model(X[:, 7:], state)
    np.testing.assert_allclose(rest, whole[:, 7:], atol=1e-5)
    assert again.allclose(end, atol=1e-5)
    with pytest.raises(sw.InputError, match="steps 0 to 11, got 12"):
        trace.state_at(12)


def test_a_state_of_a_torch_model(model):
    twin = sw.nn.Model(ARCH, weights=model.weights())
    trace = inspect.record(twin, torch.from_numpy(X))
    assert trace.state_at(3).numpy().allclose(model(X[:, :4])[1], atol=1e-5)


def test_slices(model):
    trace = inspect.record(model, X, names=["0.c", "1.z"])
    parts = trace.select("0.c", slice(2, 5), [4, 0])
    np.testing.assert_array_equal(parts["0.c"], trace["0.c"][:, 2:5, [4, 0]])
    np.testing.assert_array_equal(trace.unit("1.z", 2, row=1), trace["1.z"][1, :, 2])
    bad = {
        "no '0.cc'; did you mean '0.c'": lambda: trace["0.cc"],
        "units 0 to 4, got 5": lambda: trace.unit("0.c", 5),
        "rows 0 to 1, got 2": lambda: trace.unit("0.c", 0, row=2),
        "span 10 to 13 is not within": lambda: trace.span((10, 13)),
        "span 3 to 3 is not within": lambda: trace.span((3, 3)),
        "have no labels": lambda: trace.span("abc"),
        "takes as many labels, got 3": lambda: trace.align([1, 2, 3]),
    }
    for message, use in bad.items():
        with pytest.raises(sw.InputError, match=message):
            use()


def test_alignment_to_characters_bytes_and_times(model):
    trace = inspect.record(model, X).align("hello, world")
    assert trace.span("world") == (7, 12)
    with pytest.raises(sw.InputError, match="does not contain 'word'"):
        trace.span("word")
    text = "\u017c\u00f3\u0142\u0107 \u2713"  # 12 bytes
    trace = trace.align(text)
    assert "".join(trace.labels) == text
    assert trace.labels[:4] == ["", "\u017c", "", "\u00f3"]
    assert trace.span("\u00f3\u0142") == (3, 6)  # the last byte of each
    assert trace.align(np.arange(12) * 0.5).labels[3] == 1.5


def test_saved_and_loaded(model, tmp_path):
    trace = inspect.record(model, X, lengths=[12, 3]).align("hello, world")
    trace.save(tmp_path / "t.safetensors")
    again = inspect.Trace.load(tmp_path / "t.safetensors", model)
    assert list(again) == list(trace)
    assert again.labels == trace.labels
    assert again.after == trace.after
    for name in trace:
        np.testing.assert_array_equal(again[name], trace[name])
    np.testing.assert_array_equal(again.mask, trace.mask)
    assert again.state_at(5) == trace.state_at(5)
    alone = inspect.Trace.load(tmp_path / "t.safetensors")
    with pytest.raises(sw.InputError, match=r"state_at\(step, model\)"):
        alone.state_at(5)
    model.save(tmp_path / "m.safetensors")
    with pytest.raises(sw.FileError, match=r"expected a statewise\.trace file"):
        inspect.Trace.load(tmp_path / "m.safetensors")


def rewritten(model, path, change):
    """A trace file, written again after a change of its arrays and metadata."""
    inspect.record(model, X, names="*").save(path)
    arrays, metadata = checkpoint.read(path, "statewise.trace")
    own = {key: metadata[key] for key in ("names", "fields", "labels", "architecture", "weights")}
    change(arrays, own)
    checkpoint.write(path, "statewise.trace", arrays, own)
    return path


@pytest.mark.parametrize("lost", ["values/0.f", "inputs", "before/position", "after/0.c"])
def test_a_file_that_lacks_an_array_is_refused(model, tmp_path, lost):
    path = rewritten(model, tmp_path / "t.safetensors", lambda arrays, _: arrays.pop(lost))
    with pytest.raises(sw.FileError, match=f"not a whole trace file: '{lost}'"):
        inspect.Trace.load(path)


@pytest.mark.parametrize("lost", ["names", "fields", "labels"])
def test_a_file_that_lacks_what_it_says_of_itself_is_refused(model, tmp_path, lost):
    path = tmp_path / "t.safetensors"
    for change in (
        lambda _, metadata: metadata.pop(lost),
        lambda _, metadata: metadata.update({lost: "{"}),
    ):
        with pytest.raises(sw.FileError, match="not a whole trace file"):
            inspect.Trace.load(rewritten(model, path, change))
