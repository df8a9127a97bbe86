"""States that several tests share, in NumPy and in torch."""

import numpy as np
import pytest
import torch

import statewise as sw

H = np.arange(12, dtype=np.float32).reshape(4, 3)
N = np.array([[1], [2], [3], [4]])
ARCH = sw.Architecture(sw.Vector(2), [sw.LSTM(3), sw.Dropout(0.3)], sw.Linear(1))


def numpy_state():
    return sw.State({"0.h": H.copy(), "1.n": N.copy()}, np.array([5, 6, 7, 8]))


def torch_state():
    return numpy_state().map(torch.tensor)


in_both = pytest.mark.parametrize("state", [numpy_state(), torch_state()], ids=["numpy", "torch"])
