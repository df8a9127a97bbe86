"""Forecasts of series, with everything that is remembered of each in its state."""

try:
    import joblib  # noqa: F401
    import narwhals  # noqa: F401
    import utilsforecast  # noqa: F401
except ImportError as error:
    from statewise.errors import MissingExtraError

    raise MissingExtraError(str(error.name), "forecast", "statewise.forecast") from None

from statewise.forecast.comparison import Comparison
from statewise.forecast.forecaster import Forecaster
from statewise.forecast.policies import compare_state_policies
from statewise.forecast.table import StateTable

__all__ = ["Comparison", "Forecaster", "StateTable", "compare_state_policies"]
