"""What `fit` costs beside a loop around torch.nn.LSTM: `python benchmarks/training.py`.

Both train the same model on the same numbers with the same optimiser: one LSTM layer and a linear
output, 16 rows, chunks of 100 steps, Adam (fused), clipping at norm 1, the state detached between
chunks. Their epochs alternate in one process, and medians over the epochs are compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import statewise as sw

ROWS, STEPS, CHUNKS = 16, 100, 50
LIMIT = 1.10


def main() -> None:
    """Print the table."""
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, B={ROWS}, T={STEPS}")
    print(f"{'':24}{'by hand':>12}{'fit':>12}{'ratio':>9}")
    for units in (32, 128):
        for executor, epochs in (("auto", 30), ("reference", 3)):
            hand, fit = compared(units, executor, epochs)
            ratio = fit / hand
            judged = "" if executor != "auto" else "  ok" if ratio <= LIMIT else f"  above {LIMIT}"
            print(
                f"LSTM H={units:<4} {executor:<12}{1e3 * hand:>9.3f} ms{1e3 * fit:>9.3f} ms"
                f"{ratio:>9.3f}{judged}"
            )


def compared(units: int, executor: str, epochs: int) -> tuple[float, float]:
    """Median seconds a chunk takes by hand and in `fit`, epochs alternating."""
    rng = np.random.default_rng(0)
    series = np.cumsum(rng.normal(size=(ROWS * STEPS * CHUNKS + 1, 1)), axis=0).astype(np.float32)
    series = (series - series.mean()) / series.std()
    streams = sw.Streams(series, lanes=ROWS, chunk=STEPS)
    architecture = sw.Architecture(sw.Vector(1), [sw.LSTM(units)], sw.Linear(1))
    model = sw.nn.Model(architecture, executor=executor)
    epoch_by_hand = by_hand(units, series)
    hand: list[float] = []

    def in_between(_: sw.train.History) -> None:
        start = time.perf_counter()
        epoch_by_hand()
        hand.append(time.perf_counter() - start)

    history = sw.fit(model, streams, epochs=epochs, on_epoch=in_between, progress=False)
    warm = 1
    return median(hand[warm:]) / CHUNKS, median(history.seconds[warm:]) / CHUNKS


def by_hand(units: int, series: np.ndarray) -> Callable[[], float]:
    """The usual loop: one epoch of it as a function that returns the mean loss."""
    inputs = torch.from_numpy(series[:-1]).reshape(ROWS, -1, 1)
    targets = torch.from_numpy(series[1:]).reshape(ROWS, -1, 1)
    lstm, linear = nn.LSTM(1, units, batch_first=True), nn.Linear(units, 1)
    weights = [*lstm.parameters(), *linear.parameters()]
    optimizer = torch.optim.Adam(weights, lr=1e-3, fused=True)

    def epoch() -> float:
        state, total = None, 0.0
        for start in range(0, inputs.shape[1], STEPS):
            x, y = inputs[:, start : start + STEPS], targets[:, start : start + STEPS]
            hidden, state = lstm(x, state)
            loss = functional.mse_loss(linear(hidden), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            state = tuple(part.detach() for part in state)
            total += loss.item()
        return total / CHUNKS

    return epoch


if __name__ == "__main__":
    main()
