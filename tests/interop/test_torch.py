"""Fact 20: torch modules in and out keep gate order, biases and so outputs and states."""

import numpy as np
import pytest
import torch
from torch import nn

import statewise as sw
from statewise.interop import from_torch, to_torch

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported")

OPTIONS = [
    (nn.RNN, {}),
    (nn.RNN, {"nonlinearity": "relu", "bias": False}),
    (nn.RNN, {"num_layers": 2, "bidirectional": True}),
    (nn.LSTM, {"num_layers": 3}),
    (nn.LSTM, {"proj_size": 2, "num_layers": 2}),
    (nn.LSTM, {"proj_size": 2, "bidirectional": True, "bias": False}),
    (nn.LSTM, {"num_layers": 2, "bidirectional": True, "dropout": 0.5}),
    (nn.GRU, {"num_layers": 2}),
    (nn.GRU, {"bias": False}),
    (nn.GRU, {"bidirectional": True, "num_layers": 2}),
]


def named(kind, options):
    return f"{kind.__name__} {' '.join(options)}"


def per_layer(module, state):
    """torch's final state by statewise's names."""
    state = state if isinstance(state, tuple) else (state,)
    ways = ("forward.", "backward.") if module.bidirectional else ("",)
    spaced = 2 if module.dropout else 1
    return {
        f"{layer * spaced}.{way}{field}": value[layer * len(ways) + index]
        for field, value in zip("hc", state, strict=False)
        for layer in range(module.num_layers)
        for index, way in enumerate(ways)
    }


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=[named(*case) for case in OPTIONS])
def test_a_module_goes_in_and_comes_out(kind, options, batch_first):
    torch.manual_seed(0)
    theirs = kind(3, 5, batch_first=batch_first, **options).eval()
    model = from_torch(theirs)
    x = torch.randn(4, 7, 3)
    with torch.no_grad():
        expected, last = theirs(x if batch_first else x.transpose(0, 1))
        expected = expected if batch_first else expected.transpose(0, 1)
        y, state = model(x)
        again, _ = to_torch(model)(x)
    np.testing.assert_allclose(y, expected, atol=1e-6)
    for name, value in per_layer(theirs, last).items():
        np.testing.assert_allclose(state[name], value, atol=1e-6)
    np.testing.assert_allclose(again, expected, atol=1e-6)


def test_like_layers_come_out_as_one_module():
    arch = sw.Architecture(sw.Vector(3), [sw.LSTM(4, projection=2), sw.LSTM(4, projection=2)])
    out = to_torch(sw.nn.Model(arch))
    assert isinstance(out, nn.LSTM)
    assert (out.num_layers, out.proj_size, out.batch_first) == (2, 2, True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_there_and_back_keeps_every_bit(dtype):
    arch = sw.Architecture(
        sw.Tokens(11, 3),
        [
            sw.Bidirectional(sw.GRU(4)),
            sw.LayerNorm(),
            sw.Dense(5, "relu"),
            sw.LSTM(4),
            sw.Elman(3),
            sw.Dense(2, "softmax"),
        ],
    )
    model = sw.nn.Model(arch, dtype=dtype)
    with torch.no_grad():
        for name, value in model.weights().items():
            value.add_(0.1 * torch.randn_like(value), alpha=float(name != "inputs.E"))
    back = from_torch(to_torch(model))
    assert [type(cell) for cell in back.architecture.layers] == [type(c) for c in arch.layers]
    assert back.fingerprint() == model.fingerprint()


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_cells(kind):
    torch.manual_seed(0)
    cell = kind(3, 4)
    model = from_torch(cell)
    state, mine = None, None
    with torch.no_grad():
        for x in torch.randn(5, 2, 3):
            state = cell(x, state)
            y, mine = model.step(x, mine)
            h = state[0] if isinstance(state, tuple) else state
            np.testing.assert_allclose(y, h, atol=1e-6)


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 3)
        self.rnn = nn.LSTM(3, 4, num_layers=2, batch_first=True)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, tokens, state=None):
        y, state = self.rnn(self.table(tokens), state)
        return self.head(self.drop(y)), state


class LastOnly(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.rnn, self.head, self.how = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2), how

    def forward(self, x):
        y, h = self.rnn(x)
        return torch.tanh(self.head(y[:, -1] if self.how == "output" else h[-1]))


class Loops(nn.Module):
    """Cannot be traced: it loops over time."""

    def __init__(self, shift=0.0):
        super().__init__()
        self.cell, self.head, self.shift = nn.GRUCell(3, 4), nn.Linear(4, 2), shift

    def forward(self, x):
        h = x.new_zeros(x.shape[0], 4)
        outputs = []
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
            outputs.append(self.head(h) + self.shift)
        return torch.stack(outputs, 1)


def test_a_module_of_ones_own():
    torch.manual_seed(0)
    theirs = Tagger()
    model = from_torch(theirs)
    assert theirs.training, "the module is left as it was"
    tokens = torch.randint(11, (3, 6))
    with torch.no_grad():
        np.testing.assert_allclose(model(tokens)[0], theirs.eval()(tokens)[0], atol=1e-6)
    assert model.architecture.outputs == sw.Linear(2)


@pytest.mark.parametrize("how", ["output", "state"])
def test_a_module_that_gives_only_its_last_step(how):
    torch.manual_seed(0)
    theirs = LastOnly(how)
    x = torch.randn(3, 6, 3)
    with torch.no_grad():
        np.testing.assert_allclose(from_torch(theirs)(x)[0][:, -1], theirs(x), atol=1e-6)


def test_a_module_that_cannot_be_traced_is_taken_in_order_if_a_run_agrees():
    torch.manual_seed(0)
    theirs = Loops()
    x = torch.randn(3, 6, 3)
    with torch.no_grad():
        np.testing.assert_allclose(from_torch(theirs)(x)[0], theirs(x), atol=1e-6)
    with pytest.raises(sw.ConversionError, match="forward does more"):
        from_torch(Loops(shift=1.0))


def test_what_cannot_be_carried_over_is_named_all_at_once():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix, self.rnn, self.act = nn.Conv1d(5, 5, 1), nn.GRU(3, 4), nn.PReLU()

        def forward(self, x):
            return self.act(self.rnn(self.mix(x))[0])

    with pytest.raises(sw.ConversionError, match=r"mix \(Conv1d\).*; act \(PReLU\)"):
        from_torch(Mixed())
    with pytest.raises(sw.ConversionError, match="no recurrent layer"):
        from_torch(nn.Linear(3, 4))
    with pytest.raises(sw.ConversionError, match="takes a torch module, got a dict"):
        from_torch({})
    layers = [sw.GRU(3, reset="before"), sw.LSTM(3, peepholes=True), sw.Residual(sw.GRU(3))]
    model = sw.nn.Model(sw.Architecture(sw.Vector(3), layers))
    with pytest.raises(
        sw.ConversionError, match=r"layer 0 \(GRU\): .* layer 1 .*peepholes; layer 2 \(Residual"
    ):
        to_torch(model)
