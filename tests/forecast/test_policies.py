import numpy as np
import pytest

import statewise as sw
from statewise.forecast import compare_state_policies
from statewise.forecast.core import reset_core_state
from statewise.forecast.rollout import consume


@pytest.fixture(scope="module")
def comparison(panel):
    return compare_state_policies(
        panel,
        test=6,
        repeats=2,
        window=4,
        season=7,
        n_jobs=1,
        forecaster=sw.Forecaster([sw.LSTM(4)], epochs=8, seed=3),
    )


def test_every_policy_forecasts_every_step_of_every_repeat(comparison) -> None:
    assert set(comparison.forecasts) == {"reset", "window", "seed", "carry"}
    for forecast in comparison.forecasts.values():
        assert forecast.shape == (2, 3, 6)
        assert np.isfinite(forecast).all()
    reset, window, seed, carry = (
        comparison.forecasts[n] for n in ("reset", "window", "seed", "carry")
    )
    for a, b in ((reset, window), (window, seed), (seed, carry)):
        assert not np.allclose(a, b)


def test_policies_do_what_they_say(comparison, panel) -> None:
    """The forecasts again, the slow way: one origin after the other, from first principles."""
    trained = sw.Forecaster([sw.LSTM(4)], epochs=8, seed=3, lanes=3)
    head = panel.drop(panel.groupby("unique_id").tail(6).index)
    trained.fit(head)
    model = trained.model
    for row, (name, own) in enumerate(panel.groupby("unique_id")):
        values = own.y.to_numpy()
        after = trained.states[name]
        changes = np.r_[0.0, np.diff(values[:-7])]
        start = model.initial_state(1).replace(
            {"1.mean": np.array([[changes.mean()]]), "1.scale": np.array([[changes.std()]])}
        )
        for origin in range(6):
            known = values[: len(values) - 6 + origin]
            seeded, _ = consume(model, [known], start)
            _, before = consume(model, [known[:-1]], start)
            _, earlier = consume(model, [known[:-4]], start)
            reset, _ = consume(
                model, [known[-1:]], reset_core_state(model.architecture, before, start)
            )
            window, _ = consume(
                model, [known[-4:]], reset_core_state(model.architecture, earlier, start)
            )
            for policy, slow in (("reset", reset), ("window", window), ("seed", seeded)):
                mine = comparison.forecasts[policy][0, row, origin]
                np.testing.assert_allclose(mine, slow[0][-1], rtol=1e-6)
        assert after.position[0] == len(values) - 6


def test_carry_goes_on_from_what_training_left(comparison, panel) -> None:
    trained = sw.Forecaster([sw.LSTM(4)], epochs=8, seed=3, lanes=3)
    head = panel.drop(panel.groupby("unique_id").tail(6).index)
    trained.fit(head)
    left = trained.history.state
    assert left.position.tolist() == [len(own) - 1 for _, own in head.groupby("unique_id")]
    first = comparison.forecasts["carry"][0, :, 0]
    seeded = comparison.forecasts["seed"][0, :, 0]
    assert not np.allclose(first, seeded, rtol=1e-12)
    np.testing.assert_allclose(first, seeded, rtol=0.2)


def test_repeats_are_paired_and_repeatable(panel, comparison) -> None:
    again = compare_state_policies(
        panel,
        test=6,
        repeats=1,
        window=4,
        policies=("seed",),
        n_jobs=1,
        forecaster=sw.Forecaster([sw.LSTM(4)], epochs=8, seed=4),
    )
    np.testing.assert_allclose(
        again.forecasts["seed"][0], comparison.forecasts["seed"][1], rtol=1e-6
    )


def test_baselines_and_truth_are_beside_them(comparison, panel) -> None:
    frame = comparison.frame()
    merged = frame.merge(panel, on=["unique_id", "ds"], suffixes=("", "_true"))
    np.testing.assert_array_equal(merged.y, merged.y_true)
    for name in ("persistence", "seasonal naive", "AR(1) on differences"):
        assert name in frame.columns
    errors = comparison.errors("rmse")
    assert errors["seed"].shape == (2,)
    slow = np.sqrt(((comparison.forecasts["seed"][0] - comparison.truth) ** 2).mean(axis=1)).mean()
    np.testing.assert_allclose(errors["seed"][0], slow)


def test_the_verdict_weighs_the_gap_against_the_spread(comparison) -> None:
    said = comparison.verdict()
    assert said.startswith("Best policy: ")
    assert len(said.splitlines()) == 5
    assert "spread over repeats" in said
    assert "best baseline" in said


def test_published_split_of_shampoo_sales(shampoo) -> None:
    comparison = compare_state_policies(
        shampoo,
        test=12,
        repeats=1,
        policies="seed",
        n_jobs=1,
        forecaster=sw.Forecaster([sw.LSTM(2)], epochs=2),
    )
    errors = comparison.errors()
    assert round(float(errors["AR(1) on differences"][0]), 1) == 86.7
    assert round(float(errors["persistence"][0]), 1) == 136.8


def test_what_cannot_be_compared(shampoo) -> None:
    for options, message in (
        ({"test": 33}, "36 steps; a test part of 33 leaves 3"),
        ({"test": 40}, "leaves 0"),
        ({"test": 0}, "test must be"),
        ({"test": 4, "repeats": 0}, "repeats must be"),
        ({"test": 4, "policies": ("hold",)}, "policies are reset, window, seed, carry; got hold"),
    ):
        with pytest.raises(sw.DataError, match=message):
            compare_state_policies(shampoo, **options)
