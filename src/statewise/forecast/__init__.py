"""Forecasts of series, with everything that is remembered of each in its state."""

# ruff: noqa: E402 - a missing module is named before anything needs it

from statewise.extras import require

for _module in ("joblib", "narwhals", "utilsforecast"):
    require(_module, "forecast", "statewise.forecast")

from statewise.forecast.comparison import Comparison
from statewise.forecast.forecaster import Forecaster
from statewise.forecast.policies import compare_state_policies
from statewise.forecast.table import StateTable

__all__ = ["Comparison", "Forecaster", "StateTable", "compare_state_policies"]
