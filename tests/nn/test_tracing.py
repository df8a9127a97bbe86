"""`torch.compile` and `torch.export`: what a traced call gives is what the call gives."""


import numpy as np
import pytest
import torch

import statewise as sw

EXECUTORS = ("auto", "fused", "reference")
ROWS, STEPS = 3, 4

torch._dynamo.config.cache_size_limit = 64


@pytest.fixture(autouse=True)
def fresh():
    torch.compiler.reset()
    torch.manual_seed(0)


def build(executor, *layers, inputs=None, outputs=2, **options):
    layers = layers or (sw.LSTM(4, learned_state=True), sw.Residual(sw.GRU(4)))
    arch = sw.Architecture(inputs or sw.Vector(3), layers, sw.Linear(outputs, remember=True))
    return sw.nn.Model(arch, executor=executor, **options)


def compile_whole(function):
    return torch.compile(function, backend="aot_eager", fullgraph=True)


def run_and_differentiate(model, call):
    """Outputs and state of a call, and the gradients of both."""
    model.zero_grad()
    y, state = call()
    (y.square().sum() + sum(a.sum() for a in state.values() if a.requires_grad)).backward()
    gradients = [weight.grad for weight in model.parameters()]
    return [y.detach(), *state.detach().values(), state.position, *gradients]


def assert_same(model, traced, eager):
    torch.testing.assert_close(
        run_and_differentiate(model, traced),
        run_and_differentiate(model, eager),
        rtol=1e-5,
        atol=1e-6,
    )


MASKS = {
    "plain": {},
    "reset": {"reset": torch.tensor([[1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]]).bool()},
    "lengths": {"lengths": torch.tensor([4, 0, 2])},
    "both": {
        "reset": np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]], bool),
        "lengths": [4, 0, 3],
    },
}


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_compiled_call_gives_outputs_states_and_gradients_of_the_call(executor, masks):
    model = build(executor)
    x, more = torch.randn(2, ROWS, STEPS, 3)
    _, state = model(x)
    state = state.detach()
    compiled = compile_whole(model)
    for before in (None, state):
        assert_same(
            model,
            lambda before=before: compiled(more, before, **MASKS[masks]),
            lambda before=before: model(more, before, **MASKS[masks]),
        )
