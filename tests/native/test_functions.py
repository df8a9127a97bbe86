"""exp, sigmoid and tanh on every instruction set: within 1e-6 of libm, and right at the edges."""

import numpy as np
import pytest

from statewise import kernels

RNG = np.random.default_rng(0)
VALUES = np.concatenate(
    [
        RNG.uniform(-110, 110, 20000),
        RNG.uniform(-1, 1, 20000),
        10 ** RNG.uniform(-40, 2, 20000) * RNG.choice([-1, 1], 20000),
    ]
).astype(np.float32)
EXACT = {
    "exp": np.exp,
    "sigmoid": lambda x: np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x))),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("name", EXACT)
def test_within_a_millionth_of_libm(isa, name):
    with np.errstate(over="ignore"):
        exact = EXACT[name](VALUES.astype(np.float64))
        expected = exact.astype(np.float32)
    found = kernels.native.apply_function(name, VALUES)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(found[~finite], expected[~finite])
    np.testing.assert_allclose(found[finite], exact[finite], rtol=1e-6, atol=3e-45)


@pytest.mark.parametrize("name", EXACT)
def test_nan_infinity_and_zero(isa, name):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, 200.0, -200.0] * 7, np.float32)
    with np.errstate(over="ignore"):
        expected = EXACT[name](x)
    np.testing.assert_array_equal(kernels.native.apply_function(name, x), expected)


def test_tanh_is_odd_and_never_beyond_one(isa):
    x = np.linspace(0, 20, 100001, dtype=np.float32)
    y = kernels.native.apply_function("tanh", x)
    np.testing.assert_array_equal(kernels.native.apply_function("tanh", -x), -y)
    assert y.max() == 1.0


def test_tanh_is_at_most_one_at_every_number_near_where_it_is_held(isa):
    low, high = np.array([7.5, 8.1], np.float32).view(np.int32)
    y = kernels.native.apply_function("tanh", np.arange(low, high, dtype=np.int32).view(np.float32))
    assert y.max() == 1.0
    assert y.min() > 1 - 1e-6
    assert y[-1] == 1.0
