"""Architecture: a model as data, written as JSON and back."""

import copy
import dataclasses
import hashlib
import json
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import statewise as sw
from statewise.initializers import GateBias

INITIALIZERS = st.one_of(
    st.builds(sw.Zeros),
    st.builds(sw.Constant, st.floats(-9, 9)),
    st.builds(sw.Normal, st.floats(0.01, 9)),
    st.builds(sw.Uniform, st.none() | st.integers(1, 9)),
    st.builds(sw.Glorot, st.floats(0.1, 3)),
    st.builds(sw.Orthogonal, st.floats(0.1, 3)),
)
ACTIVATIONS = st.sampled_from(["tanh", "sigmoid", "relu", "softsign", "hard_sigmoid", "linear"])
CHRONO = st.builds(sw.Chrono, st.integers(3, 99))
COMMON = {
    "units": st.integers(2, 6),
    "activation": ACTIVATIONS,
    "kernel": INITIALIZERS,
    "recurrent": INITIALIZERS,
    "learned_state": st.booleans(),
}
RECURRENT = st.one_of(
    st.builds(sw.Elman, **COMMON),
    st.builds(
        sw.GRU,
        reset=st.sampled_from(["after", "before"]),
        update_bias=st.floats(-3, 3) | CHRONO,
        recurrent_activation=ACTIVATIONS,
        **COMMON,
    ),
    st.builds(
        sw.LSTM,
        projection=st.none() | st.just(1),
        peepholes=st.booleans(),
        coupled=st.booleans(),
        layer_norm=st.booleans(),
        forget_bias=st.floats(-3, 3) | CHRONO,
        recurrent_activation=ACTIVATIONS,
        **COMMON,
    ),
)
RATES = st.floats(0, 0.9)
CELLS = st.one_of(
    RECURRENT,
    st.builds(sw.Zoneout, RECURRENT, RATES, st.booleans()),
    st.builds(sw.Bidirectional, RECURRENT),
    st.builds(sw.Dropout, RATES),
    st.builds(sw.LayerNorm, st.floats(1e-8, 1e-2)),
    st.builds(sw.Residual, st.builds(sw.Residual, st.builds(sw.Dropout, RATES))),
)
NUMBERS = st.floats(-99, 99)
TRANSFORMS = st.one_of(
    st.builds(sw.Difference, st.integers(1, 24)),
    st.builds(sw.Lags, st.lists(st.integers(1, 24), min_size=1, max_size=3)),
    st.builds(sw.RunningScale, st.none() | st.floats(1.5, 99)),
    st.builds(sw.Standardize, NUMBERS, st.floats(0.1, 99)),
)


@st.composite
def architectures(draw):
    transforms = draw(st.lists(TRANSFORMS, max_size=2))
    inputs = draw(st.builds(sw.Vector, st.integers(1, 4)))
    inverse = draw(st.booleans()) if transforms else False
    units = 1 if inverse else draw(st.integers(1, 4))
    outputs = draw(
        st.none() | st.builds(sw.Linear, st.just(units), st.just(inverse), st.booleans())
    )
    if not transforms and draw(st.booleans()):
        inputs = draw(st.builds(sw.Tokens, st.integers(1, 9), st.integers(1, 4)))
    return sw.Architecture(inputs, [*transforms, *draw(st.lists(CELLS, max_size=3))], outputs)


@given(architectures())
def test_json_and_back(arch):
    text = arch.to_json()
    back = sw.Architecture.from_json(text)
    assert back == arch
    assert back.to_json() == text
    assert back.fingerprint == arch.fingerprint
    assert hash(back) == hash(arch)
    assert list(back.fields) == list(arch.fields)


@given(architectures())
def test_the_layout_says_what_is_drawn(arch):
    drawn = arch.draw(3)
    assert {name: a.shape for name, a in drawn.items()} == {
        name: p.shape for name, p in arch.parameters.items()
    }
    assert all(a.dtype == np.float64 and np.isfinite(a).all() for a in drawn.values())
    again = arch.draw(3)
    assert all(np.array_equal(again[name], a) for name, a in drawn.items())


GOLDEN = sw.Architecture(
    sw.Vector(2),
    [
        sw.Difference(12),
        sw.RunningScale(memory=50),
        sw.LSTM(8, forget_bias=sw.Chrono(100), learned_state=True),
        sw.Dropout(0.25),
        sw.Residual(sw.Zoneout(sw.GRU(8, reset="before"), 0.2)),
    ],
    sw.Linear(1, inverse=True),
)
GOLDEN_JSON = (
    '{"inputs":{"features":2,"kind":"Vector"},"kind":"Architecture","layers":['
    '{"kind":"Difference","lag":12},'
    '{"kind":"RunningScale","memory":50},'
    '{"forget_bias":{"kind":"Chrono","longest":100},"kind":"LSTM","learned_state":true,"units":8},'
    '{"kind":"Dropout","rate":0.25},'
    '{"inner":{"inner":{"kind":"GRU","reset":"before","units":8},"kind":"Zoneout","rate":0.2},'
    '"kind":"Residual"}],'
    '"outputs":{"inverse":true,"kind":"Linear","units":1},"statewise":1}'
)
GOLDEN_FINGERPRINT = hashlib.sha256(GOLDEN_JSON.encode()).hexdigest()[:16]


def test_the_text_and_the_fingerprint_are_golden():
    """Files in the world depend on these: an option added later must not change them."""
    assert GOLDEN.to_json() == GOLDEN_JSON
    assert GOLDEN.fingerprint == GOLDEN_FINGERPRINT == "d585302c139ff814"


def test_what_is_left_at_its_default_is_left_out():
    written = json.loads(sw.Architecture(sw.Vector(1), [sw.LSTM(4, peepholes=False)]).to_json())
    assert written == {
        "statewise": 1,
        "kind": "Architecture",
        "inputs": {"kind": "Vector", "features": 1},
        "layers": [{"kind": "LSTM", "units": 4}],
    }


def test_equal_architectures_have_equal_fingerprints():
    pairs = [
        (sw.Dropout(0), sw.Dropout(0.0)),
        (sw.RunningScale(memory=9), sw.RunningScale(memory=9.0)),
        (sw.LSTM(3, forget_bias=2), sw.LSTM(3, forget_bias=2.0)),
        (sw.Elman(3, kernel=sw.Constant(1)), sw.Elman(3, kernel=sw.Constant(np.float64(1.0)))),
        (sw.Lags(3), sw.Lags([3])),
    ]
    for a, b in pairs:
        first, second = (sw.Architecture(sw.Vector(3), [cell]) for cell in (a, b))
        assert first == second
        assert first.fingerprint == second.fingerprint
    different = [sw.GRU(3), sw.GRU(4), sw.GRU(3, reset="before"), sw.Elman(3), sw.LSTM(3)]
    prints = {sw.Architecture(sw.Vector(3), [cell]).fingerprint for cell in different}
    assert len(prints) == len(different)


def test_an_architecture_is_a_value():
    assert copy.deepcopy(GOLDEN) == pickle.loads(pickle.dumps(GOLDEN)) == GOLDEN
    assert {GOLDEN: 1}[copy.deepcopy(GOLDEN)] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        GOLDEN.layers = ()
    changed = dataclasses.replace(GOLDEN, outputs=sw.Linear(2))
    assert changed.outputs == sw.Linear(2)
    assert changed.layers == GOLDEN.layers
    assert sw.Architecture(sw.Vector(1), sw.GRU(2)) == sw.Architecture(sw.Vector(1), (sw.GRU(2),))


def test_names_and_widths():
    arch = sw.Architecture(
        sw.Tokens(9, 3),
        [sw.Bidirectional(sw.LSTM(4)), sw.GRU(5, learned_state=True), sw.LayerNorm()],
        sw.Linear(9, remember=True),
    )
    assert arch.widths == (3, 8, 5, 5)
    assert arch.width == 9
    assert list(arch.fields) == [
        "0.forward.h",
        "0.forward.c",
        "0.backward.h",
        "0.backward.c",
        "1.h",
        "outputs.y",
    ]
    assert list(arch.parameters) == [
        "inputs.E",
        *(f"0.{way}.{name}" for way in ("forward", "backward") for name in "WRb"),
        *(f"1.{name}" for name in ("W", "R", "b", "m", "h0")),
        "2.scale",
        "2.shift",
        "outputs.W",
        "outputs.b",
    ]
    assert sw.Architecture(sw.Vector(3), []).width == 3
    assert GOLDEN.transforms == GOLDEN.layers[:2]


WRONG = {
    "inputs must be Vector or Tokens, got 1; .*inputs=sw.Vector.1.": (1, []),
    "outputs must be Linear or None, got 3": (sw.Vector(1), [], 3),
    "layers must be a list of cells, got 5": (sw.Vector(1), 5),
    "layer 1 is not a cell: 'lstm'": (sw.Vector(1), [sw.GRU(1), "lstm"]),
    "layer 0 is not a cell: <class .*LSTM'>; write an instance, with its units": (
        sw.Vector(1),
        [sw.LSTM],
    ),
    "a parameter needs an initialiser such as sw.Glorot.., got 'glorot'": (
        sw.Vector(1),
        [sw.LSTM(3, kernel="glorot")],
    ),
    "a type .<class .*Glorot'>. cannot be a hyperparameter": (
        sw.Vector(1),
        [sw.LSTM(3, kernel=sw.Glorot)],
    ),
    "inf cannot be a hyperparameter.*only finite numbers": (
        sw.Vector(1),
        [sw.LSTM(3, forget_bias=float("inf"))],
    ),
    "a function .* cannot be a hyperparameter: architectures are saved as JSON": (
        sw.Vector(1),
        [sw.Elman(3, kernel=lambda rng, shape: rng.normal(size=shape))],
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_no_architecture_can_be_made_of(message):
    with pytest.raises(sw.ArchitectureError, match=message):
        sw.Architecture(*WRONG[message])


def changed(**values):
    written = json.loads(GOLDEN_JSON)
    written.update(values)
    return json.dumps(written)


UNREADABLE = {
    "the architecture is not JSON": "{",
    "the JSON is not a statewise architecture$": "[]",
    "the JSON is not a statewise architecture": '{"kind":"LSTM","units":3}',
    "has format 2; this statewise reads format 1": changed(statewise=2),
    "has format None": json.dumps({"kind": "Architecture"}),
    "Architecture does not take what the file gives it .inputs, layers, outputs, x.*newer": changed(
        x=1
    ),
    "Architecture does not take .*missing": '{"statewise":1,"kind":"Architecture"}',
    "knows no 'Mamba'; the file may come from a newer one": changed(layers=[{"kind": "Mamba"}]),
    "LSTM does not take what the file gives it .units, gates.": changed(
        layers=[{"kind": "LSTM", "units": 2, "gates": 5}]
    ),
    "LSTM: units must be a whole number": changed(layers=[{"kind": "LSTM", "units": "2"}]),
    "layer 0 is not a cell: Glorot": changed(layers=[{"kind": "Glorot"}], outputs=None),
    "Cell is not a frozen dataclass": changed(layers=[{"kind": "Cell"}], outputs=None),
    "layers must be a list of cells, got 3": changed(layers=3),
    "inputs must be Vector or Tokens, got LSTM": changed(inputs={"kind": "LSTM", "units": 3}),
    "knows no 'os.system'": changed(layers=[{"kind": "os.system"}]),
    "uses the cell 'system' of the module 'os', which has not been imported": changed(
        layers=[{"kind": "os:system"}]
    ),
}


@pytest.mark.parametrize("message", UNREADABLE)
def test_json_that_is_no_architecture(message):
    with pytest.raises(sw.ArchitectureError, match=message):
        sw.Architecture.from_json(UNREADABLE[message])


@pytest.mark.parametrize("text", ["null", "3", '"x"', '{"statewise":1}', "\x00", "", "[" * 99999])
def test_junk_is_no_architecture(text):
    with pytest.raises(sw.ArchitectureError):
        sw.Architecture.from_json(text)


@dataclass(frozen=True)
class Leaky(sw.Cell):
    units: int
    leak: float = 0.1
    rates: tuple[float, ...] = ()

    def state(self, inputs):
        return {"h": (self.units,)}

    def parameters(self, inputs):
        return {"W": ((self.units, inputs), sw.Glorot())}

    def step(self, p, x, s):
        raise NotImplementedError


def test_an_architecture_is_described_a_part_a_line_as_it_is_written():
    arch = sw.Architecture(
        sw.Tokens(1256, 8),
        [
            sw.Bidirectional(sw.GRU(16)),
            sw.Dropout(0.1),
            sw.Residual(sw.LSTM(32, learned_state=True)),
            Leaky(1024, leak=0.3, rates=(0.5,)),
        ],
        sw.Linear(3),
    )
    assert arch.describe().splitlines() == [
        "inputs   Tokens(1256, 8)                         -> 8",
        "0        Bidirectional(GRU(16))                  8 -> 32",
        "1        Dropout(0.1)                            32 -> 32",
        "2        Residual(LSTM(32, learned_state=True))  32 -> 32",
        "3        Leaky(1024, leak=0.3, rates=(0.5,))     32 -> 1,024",
        "outputs  Linear(3)                               1,024 -> 3",
    ]
    assert sw.Architecture(sw.Vector(1), []).describe() == "inputs   Vector(1)  -> 1"
    written = arch.describe().splitlines()[3].split("  ")[4]
    assert eval(written, vars(sw)) == arch.layers[2]


def test_gate_biases_are_no_part_of_a_file():
    """They are built from forget_bias and update_bias, which are."""
    assert "GateBias" not in GOLDEN.to_json()
    assert isinstance(GOLDEN.parameters["2.b"].initializer, GateBias)
