"""Keras models in and out: the same outputs, on whichever backend Keras is set to.

Fact 20: import and export keep the reset convention, the gate order and the number of biases.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import statewise as sw
from statewise import kernels
from statewise.interop import from_keras, lengths, load_keras, to_keras

from .conftest import need

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5"),
]
BACKENDS = ("torch", "jax", "tensorflow")


@pytest.fixture(scope="module")
def keras():
    module = need("keras")
    module.utils.set_random_seed(0)
    return module


def shaken(model, seed=0):
    """The model with weights none of which is zero, so that no bias can go unseen."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.4, w.shape).astype(w.dtype) for w in model.get_weights()])
    return model


def stack(keras, *layers, features=3):
    return shaken(keras.Sequential([keras.Input((None, features)), *layers]))


def x_of(features=3, rows=3, steps=6, seed=1):
    return np.random.default_rng(seed).normal(size=(rows, steps, features)).astype(np.float32)


def run(model, x):
    return np.asarray(model.predict(x, verbose=0))


RECURRENT = {
    "rnn": ("SimpleRNN", {}),
    "rnn relu without bias": ("SimpleRNN", {"activation": "relu", "use_bias": False}),
    "lstm": ("LSTM", {}),
    "lstm activations": (
        "LSTM",
        {"activation": "softsign", "recurrent_activation": "hard_sigmoid"},
    ),
    "gru after": ("GRU", {}),
    "gru after without bias": ("GRU", {"use_bias": False}),
    "gru before": ("GRU", {"reset_after": False}),
    "gru before without bias": ("GRU", {"reset_after": False, "use_bias": False}),
    "gru activations": ("GRU", {"activation": "relu", "recurrent_activation": "hard_sigmoid"}),
}


@pytest.mark.parametrize("both", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("name", RECURRENT)
def test_a_layer_goes_in_and_comes_out(keras, name, both):
    kind, options = RECURRENT[name]
    layer = getattr(keras.layers, kind)(4, return_sequences=True, **options)
    theirs = stack(keras, keras.layers.Bidirectional(layer) if both else layer)
    x = x_of()
    expected = run(theirs, x)
    model = from_keras(theirs)
    np.testing.assert_allclose(model(x)[0], expected, atol=1e-5)
    back = to_keras(model)
    np.testing.assert_allclose(run(back, x), expected, atol=1e-5)
    assert from_keras(back).fingerprint() == model.fingerprint()


def test_a_stack_goes_through_files(keras, tmp_path):
    layers = keras.layers
    theirs = stack(
        keras,
        layers.LayerNormalization(scale=False),
        layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
        layers.Dropout(0.3),
        layers.Dense(5),
        layers.Activation("relu"),
        layers.TimeDistributed(layers.Dense(4, activation="tanh")),
        layers.GRU(4, return_sequences=True, dropout=0.1),
        layers.LayerNormalization(),
        layers.Dense(2, activation="softmax"),
    )
    x = x_of()
    expected = run(theirs, x)
    for name in ("model.keras", "model.h5"):
        theirs.save(tmp_path / name)
        model = from_keras(tmp_path / name)
        np.testing.assert_allclose(model(x)[0], expected, atol=1e-5)
    model.save(tmp_path / "m.safetensors")
    np.testing.assert_allclose(sw.load(tmp_path / "m.safetensors")(x)[0], expected, atol=1e-5)
    trains = sw.nn.load(tmp_path / "m.safetensors")
    y, _ = trains(torch.from_numpy(x))
    np.testing.assert_allclose(y.detach(), expected, atol=1e-5)


def test_a_functional_chain_with_a_mask(keras):
    layers = keras.layers
    tokens = keras.Input((None,), dtype="int32")
    y = layers.Embedding(11, 3, mask_zero=True)(tokens)
    y = layers.Bidirectional(layers.GRU(4, return_sequences=True))(y)
    y = layers.LSTM(4)(y)
    theirs = shaken(keras.Model(tokens, layers.Dense(2)(y)))
    x = np.random.default_rng(0).integers(1, 11, (3, 6))
    x[1, 4:] = x[2, 2:] = 0
    held = lengths(x)
    assert held.tolist() == [6, 4, 2]
    y, _ = from_keras(theirs)(x, lengths=held)
    last = y[np.arange(3), held - 1]
    np.testing.assert_allclose(last, run(theirs, x), atol=1e-5)


def test_masking_of_vectors(keras):
    layers = keras.layers
    theirs = stack(keras, layers.Masking(-1.0), layers.GRU(4, return_sequences=True))
    x = x_of()
    x[1, 3:] = -1.0
    y, _ = from_keras(theirs)(x, lengths=lengths(x, -1.0))
    expected = run(theirs, x)
    np.testing.assert_allclose(y[0], expected[0], atol=1e-5)
    np.testing.assert_allclose(y[1, :3], expected[1, :3], atol=1e-5)
    with pytest.raises(sw.InputError, match="row 0 has padding before"):
        lengths(np.array([[0, 1, 2]]))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_a_converted_model_is_served_step_by_step(keras, kind):
    """Keras's whole sequence, from the runtime's slots, one step at a time."""
    recurrent = getattr(keras.layers, kind)
    theirs = stack(
        keras,
        recurrent(16, return_sequences=True),
        recurrent(8, return_sequences=True),
        keras.layers.Dense(2),
    )
    x = x_of(steps=40)
    expected = run(theirs, x)
    model = from_keras(theirs)
    if kernels.is_available():
        assert model.executor == "native"
    table = sw.SlotTable(model, capacity=8)
    slots = [table.open() for _ in x]
    for t in range(x.shape[1]):
        y = table.step(slots, np.ascontiguousarray(x[:, t]))
        np.testing.assert_allclose(y, expected[:, t], atol=1e-5)


def test_a_stateful_model_comes_out_and_carries(keras):
    model = sw.runtime.Model(
        arch := sw.Architecture(sw.Vector(3), [sw.GRU(4), sw.LSTM(4)], sw.Linear(2)),
        {name: value.astype(np.float32) for name, value in arch.draw(3).items()},
    )
    theirs = to_keras(model, stateful=3)
    x = x_of()
    expected, _ = model(np.concatenate([x, x], axis=1))
    keras.ops.convert_to_numpy(theirs(x))
    again = keras.ops.convert_to_numpy(theirs(x))
    np.testing.assert_allclose(again, expected[:, 6:], atol=1e-5)


def test_what_cannot_be_carried_over_is_named_all_at_once(keras):
    layers = keras.layers
    theirs = stack(
        keras,
        layers.Conv1D(4, 1, name="mix"),
        layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode="sum", name="both"),
        layers.LSTM(4, activation="gelu", name="odd", return_sequences=True),
        layers.GRU(4, go_backwards=True, name="turned"),
    )
    with pytest.raises(sw.ConversionError) as raised:
        from_keras(theirs)
    said = str(raised.value)
    for part in ("mix (Conv1D)", "merge_mode='sum'", "activation gelu", "go_backwards"):
        assert part in said
    with pytest.raises(sw.ConversionError, match="no recurrent layer"):
        from_keras(stack(keras, layers.Dense(3)))
    with pytest.raises(sw.ConversionError, match="got a list"):
        from_keras([])
    a, b = keras.Input((None, 3)), keras.Input((None, 3))
    with pytest.raises(sw.ConversionError, match="several inputs"):
        from_keras(keras.Model([a, b], layers.GRU(3)(layers.Add()([a, b]))))
    skip = keras.Model(a, layers.Add()([a, layers.GRU(3, return_sequences=True)(a)]))
    with pytest.raises(sw.ConversionError, match="takes several inputs"):
        from_keras(skip)
    with pytest.raises(sw.ConversionError, match="return_sequences=False"):
        from_keras(stack(keras, layers.Bidirectional(layers.GRU(3))))
    with pytest.warns(sw.ConversionWarning, match="recurrent_dropout"):
        from_keras(stack(keras, layers.GRU(3, recurrent_dropout=0.2)))
    model = sw.nn.Model(
        sw.Architecture(sw.Vector(3), [sw.LSTM(4, projection=2), sw.Zoneout(sw.GRU(3))])
    )
    with pytest.raises(sw.ConversionError, match=r"layer 0 .*projection; layer 1 \(Zoneout\)"):
        to_keras(model)


def test_no_code_from_a_file_is_run(keras, tmp_path):
    layers = keras.layers
    for name in ("code.keras", "code.h5"):
        theirs = stack(keras, layers.GRU(3, return_sequences=True), layers.Lambda(lambda x: 2 * x))
        theirs.save(tmp_path / name)
        with pytest.raises(sw.ConversionError, match="holds code"):
            from_keras(tmp_path / name)
        with pytest.raises(sw.ConversionError, match=r"lambda.* \(Lambda\): no counterpart"):
            from_keras(tmp_path / name, unsafe=True)


def test_a_class_from_elsewhere_is_not_imported(keras, tmp_path):
    theirs = stack(keras, keras.layers.GRU(3))
    theirs.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(held["config.json"])
    config["config"]["layers"][1] |= {"module": "antigravity", "class_name": "Fly"}
    held["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(tmp_path / "bad.keras", "w") as archive:
        for name, data in held.items():
            archive.writestr(name, data)
    with pytest.raises(sw.ConversionError, match="uses Fly of antigravity"):
        from_keras(tmp_path / "bad.keras")
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_files_that_are_no_models(keras, tmp_path, name):
    path = tmp_path / name
    with pytest.raises(sw.FileError, match="does not exist"):
        load_keras(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(sw.FileError, match="not a Keras model"):
        load_keras(path)
    stack(keras, keras.layers.GRU(3)).save(path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(sw.FileError):
        load_keras(path)


def test_without_keras_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['keras'] = None\n"
        "import statewise as sw\n"
        "try:\n    sw.interop.from_keras(3)\n"
        "except sw.MissingExtraError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'statewise[keras]'" in done.stdout


SCRIPT = """
import sys, numpy as np, keras, statewise as sw
keras.utils.set_random_seed(0)
L = keras.layers
m = keras.Sequential([keras.Input((None, 3)), L.GRU(4, return_sequences=True),
    L.LSTM(4, return_sequences=True), L.Bidirectional(L.GRU(3, return_sequences=True,
    reset_after=False)), L.Dense(2)])
rng = np.random.default_rng(0)
m.set_weights([rng.normal(0, 0.4, w.shape) for w in m.get_weights()])
x = rng.normal(size=(2, 9, 3)).astype("float32")
mine = sw.interop.from_keras(m)
off = abs(mine(x)[0] - m.predict(x, verbose=0)).max()
back = abs(mine(x)[0] - sw.interop.to_keras(mine).predict(x, verbose=0)).max()
print(keras.backend.backend(), off < 1e-5 and back < 1e-5)
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend(keras, backend, tmp_path):
    need(backend)
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"},
        cwd=Path(__file__).parent,
    )
    assert done.stdout.split() == [backend, "True"], done.stderr
