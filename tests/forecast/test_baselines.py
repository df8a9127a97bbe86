import numpy as np

from statewise.forecast.baselines import autoregressive, persistence, seasonal_naive


def rmse(forecast: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(np.mean((forecast - truth) ** 2)))


def test_published_errors_on_shampoo_sales(shampoo) -> None:
    values = shampoo.y.to_numpy()
    truth = values[-12:]
    assert round(rmse(persistence(values, 12), truth), 2) == 136.76
    assert round(rmse(seasonal_naive(values, 12, 12), truth), 1) == 240.5
    assert round(rmse(autoregressive(values, 12), truth), 1) == 86.7


def test_a_season_longer_than_the_history_gives_no_forecast() -> None:
    assert np.isnan(seasonal_naive(np.arange(6.0), 3, 5)[:2]).all()


def test_an_exact_autoregression_is_found() -> None:
    changes = [1.0]
    for _ in range(30):
        changes.append(0.3 - 0.6 * changes[-1])
    values = np.cumsum(changes)
    np.testing.assert_allclose(autoregressive(values, 5), values[-5:])
