"""Facts 13 and 15: executors agree, on the carry as on the output, in the dtypes declared."""

from itertools import product

import numpy as np
import pytest
import torch

import statewise as sw

from .executors import EXECUTORS, Torch
from .facts import (
    DTYPES,
    STEPS,
    TOLERANCE,
    close,
    close_state,
    incoming,
    over,
    resets,
    x_of,
)
from .zoo import CAUSAL, PAIRS, ZOO, weights

LENGTHS = np.array([STEPS, 3, 0, 5])
GRADIENTS = ("reference", "fused", "native")
OTHERS = [name for name in EXECUTORS if name != "reference"]
HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


@over([*ZOO, *PAIRS], OTHERS)
def test_executors_agree(subject, opened):
    name = subject.name
    reference = opened(name, "reference", subject.dtype)
    x, reset = x_of(subject), resets()
    for masks in ({}, {"reset": reset}, {"reset": reset, "lengths": LENGTHS}):
        for state in (None, incoming(reference)):
            y, end = subject(x, state, **masks)
            expected, last = reference(x, state, **masks)
            close(subject, y, expected)
            close_state(subject, end, last)
            _, _, seen = subject.trace(x, state, **masks)
            _, _, expected = reference.trace(x, state, **masks)
            assert list(seen) == list(expected)
            for key, value in seen.items():
                close(subject, np.asarray(value), expected[key])
    if name in CAUSAL | PAIRS.keys():
        y, end = subject.step(x[:, 0], incoming(reference))
        expected, last = reference.step(x[:, 0], incoming(reference))
        close(subject, y, expected)
        close_state(subject, end, last)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name, arch in (ZOO | PAIRS).items() if arch.parameters])
def test_gradients_agree(opened, name, dtype):
    found = {}
    for executor in GRADIENTS:
        subject = opened(name, executor, dtype)
        model = subject.model
        x = torch.from_numpy(x_of(subject))
        state = incoming(opened(name, "reference", dtype)).map(
            lambda a: a.detach().clone().requires_grad_(a.is_floating_point())
        )
        if x.is_floating_point():
            x.requires_grad_()
        y, end = model(x, state, reset=resets(), lengths=LENGTHS)
        finals = [value.square().sum() for value in end.values() if value.requires_grad]
        loss = y.square().sum() + sum(finals)
        wanted = {"x": x, **state, **model.weights()}
        wanted = {key: value for key, value in wanted.items() if value.requires_grad}
        grads = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
        found[executor] = dict(zip(wanted, grads, strict=True))
        unused = {key for key in model.weights() if found[executor][key] is None}
        assert not unused, "a weight without a gradient is one that is not used"
    for executor, key in product(GRADIENTS[1:], found["reference"]):
        expected, got = found["reference"][key], found[executor][key]
        assert (got is None) == (expected is None)
        if got is not None:
            close(subject, got.numpy(), expected.numpy(), 10 * TOLERANCE[dtype])


@pytest.mark.parametrize("executor", ["reference", "fused", "auto"])
@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("name", ZOO)
def test_state_keeps_its_declared_dtypes_in_half_precision(name, half, executor):
    arch = ZOO[name]
    model = sw.nn.Model(arch, executor=executor, dtype=HALVES[half])
    model.load_weights(weights(arch))
    subject = Torch(model)
    subject.name, subject.dtype = name, "float32"
    x = torch.from_numpy(x_of(subject))
    x = x.to(HALVES[half]) if x.is_floating_point() else x
    state = None
    for _ in range(2):
        y, state = model(x, state if name in CAUSAL else None, reset=resets(), lengths=LENGTHS)
        assert y.dtype == HALVES[half]
        for key, field in arch.fields.items():
            assert str(state[key].dtype) == f"torch.{field.dtype(half)}", key
    if name in CAUSAL:
        y, stepped = model.step(x[:, 0], state)
        assert y.dtype == HALVES[half]
        assert {k: v.dtype for k, v in stepped.items()} == {k: v.dtype for k, v in state.items()}


def test_what_accumulates_stays_float32():
    arch = sw.Architecture(
        sw.Vector(2),
        [sw.Difference(), sw.RunningScale(), sw.Zoneout(sw.LSTM(3)), sw.GRU(3)],
        sw.Linear(2, inverse=True),
    )
    for half in HALVES.values():
        state = sw.nn.Model(arch, dtype=half).initial_state(1)
        kept = {name for name, value in state.items() if value.dtype == torch.float32}
        assert kept == {"0.last", "1.mean", "1.square", "1.weight", "2.c"}
        assert state["2.h"].dtype == state["3.h"].dtype == half
        assert state["0.known"].dtype == state["2.noise"].dtype == torch.int64


def test_float32_memory_adds_what_half_precision_would_lose():
    arch = sw.Architecture(sw.Vector(1), [sw.LSTM(1)])
    model = sw.nn.Model(arch, dtype=torch.bfloat16)
    wide = sw.nn.Model(arch, dtype=torch.float64)
    for each in (model, wide):  # i = f = 1 and g = 1/256: c counts in steps of 1/256
        each.load_weights(
            {
                "0.W": np.array([[0.0], [0.0], [0.00390625], [0.0]]),
                "0.R": np.zeros((4, 1)),
                "0.b": np.array([40.0, 40.0, 0.0, 40.0]),
            }
        )
    with torch.no_grad():
        _, state = model(torch.ones(1, 1000, 1, dtype=torch.bfloat16))
        _, expected = wide(torch.ones(1, 1000, 1, dtype=torch.float64))
    assert abs(state["0.c"].item() - expected["0.c"].item()) < 0.01
    assert torch.ones(1, dtype=torch.bfloat16) + 0.00390625 == 1.0  # what bfloat16 would do


@pytest.mark.parametrize("name", ["lstm", "gru before", "inverse", "tokens", "bidirectional stack"])
def test_half_precision_without_torch_agrees_too(name, tmp_path):
    model = sw.nn.Model(ZOO[name], dtype=torch.float16)
    model.load_weights(weights(ZOO[name]))
    path = tmp_path / "m.safetensors"
    model.save(path)
    subject = Torch(model)
    subject.name, subject.dtype = name, "float16"
    x = x_of(subject)
    y, state = subject(x)
    z, other = sw.load(path)(x)
    close(subject, z, y, 0.05)
    close_state(subject, other, state, 0.05)


def test_autocast_leaves_the_state_as_declared():
    model = sw.nn.Model(ZOO["tokens"])
    x = torch.tensor([[1, 2, 3]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, state = model(x)
        _, state = model(x, state)
        _, state = model.step(x[:, 0], state)
    model(x, state)
