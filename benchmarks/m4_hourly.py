"""Forecasts of the 414 hourly series of the M4 competition against the seasonal naive.

``STATEWISE_DATA=... python benchmarks/m4_hourly.py``, where the folder holds ``m4_hourly.parquet``
(series_id, timestamp, value). The last 48 hours of each series are forecast from one origin.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from utilsforecast.losses import mase

import statewise as sw

HORIZON, SEASON = 48, 24


def main() -> None:
    path = Path(os.environ.get("STATEWISE_DATA", "")) / "m4_hourly.parquet"
    names = {"series_id": "unique_id", "timestamp": "ds", "value": "y"}
    frame = pd.read_parquet(path).rename(columns=names)[["unique_id", "ds", "y"]]
    test = frame.groupby("unique_id").tail(HORIZON)
    train = frame.drop(test.index)

    transforms = [sw.Difference(SEASON), sw.Standardize()]
    forecaster = sw.Forecaster([sw.LSTM(64)], transforms=transforms, season=SEASON, epochs=15)
    start = time.perf_counter()
    forecaster.fit(train)
    fitted = time.perf_counter()
    forecast = forecaster.predict(HORIZON)
    done = time.perf_counter()

    last = train.groupby("unique_id").tail(SEASON)
    naive = last.groupby("unique_id").y.apply(lambda own: np.tile(own, HORIZON // SEASON))
    merged = test.merge(forecast, on=["unique_id", "ds"])
    merged["seasonal naive"] = np.concatenate([naive[key] for key in merged.unique_id.unique()])
    errors = mase(merged, ["statewise", "seasonal naive"], seasonality=SEASON, train_df=train)
    print(errors[["statewise", "seasonal naive"]].mean().round(3).to_string())
    print(f"fit {fitted - start:.1f} s, predict {done - fitted:.2f} s, 414 series")


if __name__ == "__main__":
    main()
