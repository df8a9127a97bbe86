"""The equations against torch's own modules: another implementation, and its gradients."""

import pytest
import torch

import statewise as sw

INPUTS, UNITS, ROWS, STEPS = 3, 4, 2, 5


def two_biases(theirs, rows):
    """torch's second bias is added into the first."""
    return theirs["bias_ih_l0"][rows] + theirs["bias_hh_l0"][rows]


def plain(theirs):
    return {
        "0.W": theirs["weight_ih_l0"],
        "0.R": theirs["weight_hh_l0"],
        "0.b": two_biases(theirs, slice(None)),
    }


def projected(theirs):
    return {**plain(theirs), "0.P": theirs["weight_hr_l0"]}


def gru(theirs):
    gates, candidate = slice(0, 2 * UNITS), slice(2 * UNITS, None)
    b = torch.cat([two_biases(theirs, gates), theirs["bias_ih_l0"][candidate]])
    return {**plain(theirs), "0.b": b, "0.m": theirs["bias_hh_l0"][candidate]}


TWINS = {
    "lstm": (sw.LSTM(UNITS), torch.nn.LSTM, {}, plain),
    "lstm projection": (sw.LSTM(UNITS, projection=2), torch.nn.LSTM, {"proj_size": 2}, projected),
    "gru": (sw.GRU(UNITS), torch.nn.GRU, {}, gru),
    "elman tanh": (sw.Elman(UNITS), torch.nn.RNN, {}, plain),
    "elman relu": (
        sw.Elman(UNITS, activation="relu"),
        torch.nn.RNN,
        {"nonlinearity": "relu"},
        plain,
    ),
}


@pytest.mark.parametrize("executor", ["reference", "fused", "auto"])
@pytest.mark.parametrize("name", TWINS)
def test_outputs_states_and_gradients(name, executor):
    cell, kind, options, mapping = TWINS[name]
    torch.manual_seed(0)
    theirs = kind(INPUTS, UNITS, batch_first=True, dtype=torch.float64, **options)
    arch = sw.Architecture(sw.Vector(INPUTS), [cell])
    model = sw.nn.Model(arch, executor=executor, dtype=torch.float64)
    model.load_weights(mapping(dict(theirs.named_parameters())))

    x = torch.randn(ROWS, STEPS, INPUTS, dtype=torch.float64, requires_grad=True)
    start = {
        key: torch.randn(ROWS, *field.shape, dtype=torch.float64, requires_grad=True)
        for key, field in arch.fields.items()
    }
    hx = tuple(value[None] for value in start.values())
    expected, last = theirs(x, hx if kind is torch.nn.LSTM else hx[0])
    last = last if isinstance(last, tuple) else (last,)
    y, state = model(x, sw.State(start))
    assert torch.allclose(y, expected, rtol=1e-12, atol=1e-12)
    for mine, its in zip(state.values(), last, strict=True):
        assert torch.allclose(mine, its[0], rtol=1e-12, atol=1e-12)

    wanted = [x, *start.values()]
    loss = (y**2).sum() + sum((value**3).sum() for value in state.values())
    their_loss = (expected**2).sum() + sum((value**3).sum() for value in last)
    names = list(model.weights())
    mine = torch.autograd.grad(loss, [*wanted, *model.weights().values()])
    its = torch.autograd.grad(their_loss, [*wanted, *theirs.parameters()])
    count = len(wanted)
    for got, expected in zip(mine[:count], its[:count], strict=True):
        assert torch.allclose(got, expected, rtol=1e-10, atol=1e-12)
    their_grads = dict(zip(dict(theirs.named_parameters()), its[count:], strict=True))
    for key, got in zip(names, mine[count:], strict=True):
        if key == "0.b":  # the gradient of a sum's part is the sum's
            expected = their_grads["bias_ih_l0"]
        elif key == "0.m":
            expected = their_grads["bias_hh_l0"][2 * UNITS :]
        else:
            expected = mapping({**their_grads})[key]
        assert torch.allclose(got, expected, rtol=1e-10, atol=1e-12), key


def test_a_bidirectional_lstm():
    torch.manual_seed(0)
    theirs = torch.nn.LSTM(INPUTS, UNITS, batch_first=True, bidirectional=True)
    model = sw.nn.Model(sw.Architecture(sw.Vector(INPUTS), [sw.Bidirectional(sw.LSTM(UNITS))]))
    named = dict(theirs.named_parameters())
    arrays = {}
    for way, suffix in (("forward", ""), ("backward", "_reverse")):
        own = {key: named[key + suffix] for key in ("weight_ih_l0", "weight_hh_l0")}
        own |= {key: named[key + suffix] for key in ("bias_ih_l0", "bias_hh_l0")}
        arrays |= {key.replace("0.", f"0.{way}."): value for key, value in plain(own).items()}
    model.load_weights(arrays)
    x, lengths = torch.randn(3, 6, INPUTS), torch.tensor([6, 2, 4])
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        x, lengths, batch_first=True, enforce_sorted=False
    )
    expected, (h, c) = theirs(packed)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(expected, batch_first=True)
    y, state = model(x, lengths=lengths)
    assert torch.allclose(y, expected, atol=1e-6)
    for index, way in enumerate(("forward", "backward")):
        assert torch.allclose(state[f"0.{way}.h"], h[index], atol=1e-6)
        assert torch.allclose(state[f"0.{way}.c"], c[index], atol=1e-6)


def test_layer_norm():
    x = torch.randn(4, 5)
    model = sw.nn.Model(sw.Architecture(sw.Vector(5), [sw.LayerNorm()]))
    model.load_weights({"0.scale": torch.arange(5.0), "0.shift": torch.ones(5)})
    expected = torch.nn.functional.layer_norm(x, (5,), torch.arange(5.0), torch.ones(5))
    assert torch.allclose(model.step(x)[0], expected, atol=1e-6)


GRADCHECKED = {
    "elman": sw.Elman(2, activation="softsign"),
    "gru after": sw.GRU(2),
    "gru before": sw.GRU(2, reset="before"),
    "lstm": sw.LSTM(2, recurrent_activation="hard_sigmoid"),
    "lstm options": sw.LSTM(3, projection=2, peepholes=True, coupled=True, layer_norm=True),
    "zoneout": sw.Zoneout(sw.LSTM(2), 0.3, mixed=True),
    "residual": sw.Residual(sw.GRU(2)),
    "layer norm": sw.LayerNorm(),
    "running scale": sw.RunningScale(memory=3.0),
    "difference": sw.Difference(2),
    "lags": sw.Lags((1, 2)),
}


@pytest.mark.parametrize("name", GRADCHECKED)
def test_gradients_against_finite_differences(name):
    torch.manual_seed(1)
    arch = sw.Architecture(sw.Vector(2), [GRADCHECKED[name]])
    model = sw.nn.Model(arch, executor="reference", dtype=torch.float64)
    start = {}
    for key, field in arch.fields.items():
        value = torch.rand(2, *field.shape, dtype=torch.float64) + 0.5
        start[key] = value if field.kind != "integer" else torch.ones(2, *field.shape).long()
    names = [key for key, value in start.items() if value.is_floating_point()]
    values = [start[key].requires_grad_() for key in names]
    parameters = [torch.randn_like(p).requires_grad_() for p in model.parameters()]
    attributes = [key for key, _ in model.named_parameters()]

    def call(x, *given):
        state = sw.State({**start, **dict(zip(names, given, strict=False))}, [0, 0])
        weights = dict(zip(attributes, given[len(names) :], strict=True))
        y, end = torch.func.functional_call(model, weights, (x, state))
        return y, *(end[key] for key in names)

    x = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(call, (x, *values, *parameters))
