from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import statewise as sw
from statewise.forecast.sources import guess, load


@pytest.fixture(scope="session")
def shampoo() -> pd.DataFrame:
    frame = load("shampoo")
    columns = guess(frame)
    return frame.rename(columns={columns.time: "ds", columns.target: "y"}).assign(unique_id="s")


@pytest.fixture(scope="session")
def panel() -> pd.DataFrame:
    """Three series of different lengths and scales, daily."""
    rng = np.random.default_rng(0)
    parts = []
    for name, length, scale in (("a", 60, 1.0), ("b", 45, 1000.0), ("c", 52, 0.01)):
        wave = np.sin(np.arange(length) / 3) + 0.1 * rng.normal(size=length)
        times = pd.date_range("2024-01-01", periods=length)
        parts.append(pd.DataFrame({"unique_id": name, "ds": times, "y": scale * (5 + wave)}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="session")
def fitted(panel: pd.DataFrame) -> sw.Forecaster:
    """Do not change it: take a copy through save and load, or snapshots."""
    return sw.Forecaster([sw.LSTM(6)], epochs=15).fit(panel)
