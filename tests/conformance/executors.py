"""The executors that every state fact is stated over, all spoken to in NumPy.

An executor opens a model file. To prove another one, add its line to `EXECUTORS`.
"""

import numpy as np
import torch

import statewise as sw


class Subject:
    """A model under test: NumPy in, NumPy out; states stay as the executor makes them."""

    def __init__(self, model):
        self.model = model
        self.architecture = model.architecture

    def into(self, x):
        return x

    def out(self, y):
        return y

    def __call__(self, x, state=None, **masks):
        y, state = self.model(self.into(x), state, **masks)
        return self.out(y), state

    def step(self, x, state=None):
        y, state = self.model.step(self.into(x), state)
        return self.out(y), state

    def trace(self, x, state=None, **masks):
        y, state, seen = self.model.trace(self.into(x), state, **masks)
        return self.out(y), state, {name: self.out(value) for name, value in seen.items()}

    def initial_state(self, rows):
        return self.model.initial_state(rows)


class Torch(Subject):
    def into(self, x):
        return torch.from_numpy(np.array(x))

    def out(self, y):
        return y.detach().numpy()


def _reference(path):
    return Torch(sw.nn.load(path, executor="reference"))


def _fused(path):
    return Torch(sw.nn.load(path, executor="fused"))


def _native(path):
    return Torch(sw.nn.load(path))


def _runtime(path):
    return Subject(sw.load(path))


EXECUTORS = {
    "reference": _reference,
    "fused": _fused,
    "native": _native,
    "runtime": _runtime,
}
