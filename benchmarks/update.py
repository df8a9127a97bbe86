"""What `Forecaster.update` costs after short and long histories: ``python benchmarks/update.py``.

One observation advances the state of a series; the history is not read again. The times of two
forecasters, seeded with 100 and with 100,000 steps, are taken in turn.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import pandas as pd

import statewise as sw

STEPS = (100, 100_000)
RUNS = 200


def seeded(steps: int) -> sw.Forecaster:
    """A forecaster of one series that has consumed this many steps."""
    values = np.random.default_rng(0).normal(size=steps).cumsum()
    frame = pd.DataFrame({"ds": np.arange(steps), "y": values})
    return sw.Forecaster([sw.LSTM(32)], epochs=1).fit(frame, id_col=None)


def main() -> None:
    forecasters = {steps: seeded(steps) for steps in STEPS}
    times: dict[int, list[float]] = {steps: [] for steps in STEPS}
    for run in range(RUNS):
        for steps, forecaster in forecasters.items():
            row = pd.DataFrame({"ds": [steps + run], "y": [float(run % 7)]})
            start = time.perf_counter()
            forecaster.update(row)
            times[steps].append(time.perf_counter() - start)
    medians = {steps: statistics.median(found) for steps, found in times.items()}
    for steps, median in medians.items():
        print(f"update of one observation after {steps:>7,} steps: {median * 1e6:8.1f} us")
    print(f"ratio: {medians[STEPS[1]] / medians[STEPS[0]]:.2f}")


if __name__ == "__main__":
    main()
