"""Small training runs that several tests share."""

import numpy as np
import torch

import statewise as sw


def waves(steps=400, count=3, seed=0):
    """Sines of different phase and pace, lightly noisy."""
    rng = np.random.default_rng(seed)
    t = np.arange(steps)
    return [
        (np.sin(t * (0.2 + 0.05 * index) + index) + 0.05 * rng.normal(size=steps))[:, None]
        for index in range(count)
    ]


def model(*layers, seed=0, outputs=1, **options):
    """A small model of one feature, its weights the same for a seed."""
    layers = layers or (sw.LSTM(4),)
    arch = sw.Architecture(sw.Vector(1), layers, sw.Linear(outputs))
    return sw.nn.Model(arch, seed=seed, **options)


def weights(model):
    """A copy of the weights."""
    return {name: own.detach().clone() for name, own in model.weights().items()}


def same(one, other):
    """Whether two mappings of tensors are equal bit for bit."""
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


class CrashError(Exception):
    """A crash in the middle of training."""


class Interrupting:
    """The squared error, until something happens in its nth call."""

    def __init__(self, at=None, happens=None):
        self.calls, self.at, self.happens = 0, at, happens

    def __call__(self, prediction, target):
        if self.calls == self.at:
            self.happens()
        self.calls += 1
        return (prediction - target) ** 2
