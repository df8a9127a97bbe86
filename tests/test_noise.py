"""Counter-based noise against its formula in whole numbers of Python, in every array library."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from statewise.noise import draw_bits, draw_uniform, mix, seed_rows

WHOLE = st.integers(0, 2**63 - 1)


def plain_mix(x: int) -> int:
    x ^= x >> 16
    x = x * 0x21F0AAAD % 2**32
    x ^= x >> 15
    x = x * 0x735A2D97 % 2**32
    return x ^ (x >> 15)


def plain_bits(seed: int, count: int, place: int) -> int:
    start = plain_mix((seed + 0x9E3779B9) % 2**32)
    return plain_mix((plain_mix((start + count) % 2**32) + place * 0x1E3779B9) % 2**32)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_the_bits_are_those_of_the_formula(seed, count):
    bits = draw_bits(np.array([seed]), np.array([count]), 5)
    assert bits.dtype == np.int64
    assert bits.tolist() == [[plain_bits(seed, count, place) for place in range(5)]]


@given(st.lists(WHOLE, min_size=1, max_size=4), WHOLE)
def test_the_bits_are_the_same_in_torch(seeds, count):
    mine, its = np.array(seeds), torch.tensor(seeds)
    counts = np.arange(3)[:, None] + min(count, 2**63 - 4)
    bits = draw_bits(mine, counts, 7)  # (3, seeds, 7)
    assert bits.shape == (3, len(seeds), 7)
    np.testing.assert_array_equal(draw_bits(its, torch.from_numpy(counts), 7).numpy(), bits)
    np.testing.assert_array_equal(
        draw_uniform(its, torch.from_numpy(counts), 7).numpy(), draw_uniform(mine, counts, 7)
    )


def test_the_bits_are_the_same_in_jax():
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        seeds, counts = jax.numpy.arange(3) + 2**40, jax.numpy.arange(4)[:, None]
        bits, uniform = draw_bits(seeds, counts, 7), draw_uniform(seeds, counts, 7)
    own = np.arange(3) + 2**40, np.arange(4)[:, None]
    np.testing.assert_array_equal(bits, draw_bits(*own, 7))
    np.testing.assert_array_equal(uniform, draw_uniform(*own, 7))


def test_no_number_is_zero_or_one(monkeypatch):
    for extreme in (0, 2**32 - 1):
        monkeypatch.setattr(
            "statewise.noise._draw_words", lambda *_, extreme=extreme: np.array([extreme])
        )
        [number] = draw_uniform(np.array([0]), np.array([0]), 1)
        assert 0 < number < 1
        assert np.isfinite(np.log(-np.log(number)))


def test_the_hash_is_one_to_one_on_a_sample():
    sample = np.arange(0, 2**32, 4099, dtype=np.int64)
    assert len(np.unique(mix(sample))) == len(sample)


@pytest.mark.parametrize("axis", ["seed", "count", "place", "row"])
def test_numbers_are_even_and_unrelated_along_every_axis(axis):
    """Chi-square over 256 bins, whose deviation is 22.6, and correlation of neighbours."""
    many, none = np.arange(60_000), np.array([0])
    if axis == "seed":
        numbers = draw_uniform(many, none, 1)
    elif axis == "count":
        numbers = draw_uniform(none, many, 1)
    elif axis == "place":
        numbers = draw_uniform(none, none, len(many))
    else:
        numbers = draw_uniform(seed_rows(7, len(many)), none, 1)
    numbers = numbers.ravel()
    counted = np.bincount((numbers * 256).astype(int), minlength=256)
    expected = len(numbers) / 256
    assert 160 < ((counted - expected) ** 2 / expected).sum() < 360
    for lag in (1, 2, 7):
        assert abs(np.corrcoef(numbers[:-lag], numbers[lag:])[0, 1]) < 0.02


def test_rows_have_seeds_of_their_own_and_the_first_is_the_seed_itself():
    seeds = seed_rows(2**40 + 5, 1000)
    assert seeds[0] == 2**40 + 5
    assert len(set(seeds.tolist())) == 1000
    assert seed_rows(2**40 + 5, 3).tolist() == seeds[:3].tolist()
    assert not set(seeds[1:].tolist()) & set(seed_rows(2**40 + 6, 1000)[1:].tolist())
    assert (
        draw_bits(np.array([5]), np.array([0]), 4) != draw_bits(seeds[:1], np.array([0]), 4)
    ).all()
