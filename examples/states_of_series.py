"""Forecasts that go on from states: update, snapshot, roll back, fork.

Run with ``python examples/states_of_series.py``.
"""

import pandas as pd

import statewise as sw
from statewise.forecast.sources import load

series = load("air-passengers").rename(columns={"Month": "ds", "#Passengers": "y"})
history, news = series[:132], series[132:]

forecaster = sw.Forecaster([sw.LSTM(32)], seed=0).fit(history, id_col=None)
errors = []
for month in range(12):  # one observation at a time; nothing is read twice
    said = forecaster.predict(1)["statewise"].iloc[0]
    row = news.iloc[[month]]
    errors.append(abs(said - row["y"].iloc[0]))
    forecaster.update(row)
print(f"mean absolute error of a year of one-step forecasts: {sum(errors) / 12:.1f} passengers")

now = forecaster.states["series"]  # a snapshot
forecaster.states.fork("series", "strike")  # what if next month fell by a third?
fallen = pd.DataFrame({"ds": ["1961-01"], "y": [280.0]})
forecaster.update(fallen)
print("after the fall:", forecaster.predict(2, ids=["series"])["statewise"].round(0).tolist())
forecaster.states["series"] = now  # rolled back
print("as it was:     ", forecaster.predict(2, ids=["series"])["statewise"].round(0).tolist())
