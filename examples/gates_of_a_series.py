"""The gates of one unit of an LSTM below the series that it reads: air passengers, month by month.

Run with ``python examples/gates_of_a_series.py``; writes gates-of-a-series.png and
units-of-a-series.png.
"""

import numpy as np

import statewise as sw
from statewise import inspect
from statewise.forecast.sources import load

months, passengers = load("air-passengers").to_numpy().T
level = np.log(passengers.astype(np.float32))
series = (level - level.mean()) / level.std()

model = sw.nn.Model(sw.Architecture(sw.Vector(1), [sw.LSTM(12)], sw.Linear(1)), seed=0)
streams = sw.Streams([series[:, None]], lanes=1, chunk=len(series) - 1)
history = sw.fit(model, streams, epochs=200, learning_rate=1e-2)
model.eval()
print(f"loss {history.loss[0]:.3f} to {history.loss[-1]:.4f}")

trace = inspect.record(model, series, names="*").align(months)
print(trace)

change = np.abs(np.diff(trace["0.h"][0], axis=0)).mean(axis=0)
unit = int(change.argmax())  # the one that moves most from month to month
f, i, g, c = (trace.unit(f"0.{name}", unit) for name in "figc")
print(f"unit {unit} keeps {f.mean():.0%} of its memory from one month to the next")
print("c is f c + i g:", np.allclose(c[1:], f[1:] * c[:-1] + i[1:] * g[1:], atol=1e-5))

trace.plot("gates", "0.c", unit, path="gates-of-a-series.png")
trace.plot("heat", "0.h", path="units-of-a-series.png")
