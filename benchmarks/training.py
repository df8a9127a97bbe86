"""What `fit` costs beside a loop around torch.nn.LSTM: `python benchmarks/training.py`.

Both train the same model on the same numbers with the same optimiser: one LSTM layer and a linear
output, 16 rows, chunks of 100 steps, Adam (fused), clipping at norm 1, the state detached between
chunks. Their epochs of 40 chunks alternate in one process; the ratio is the median over pairs of
neighbouring epochs, so that whatever else the machine does falls on both. One thread is shown too:
with more than one, what waits for a busy core is measured as well.
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
from statewise import kernels

ROWS, STEPS, CHUNKS = 16, 100, 40
WARM = 2
LIMIT = 1.10


def main() -> None:
    """Print the table."""
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, B={ROWS}, T={STEPS}, times of one chunk")
    print(f"{'executor':12}{'H':>5}{'threads':>9}{'by hand':>12}{'fit':>12}{'ratio':>8}")
    for executor, epochs in (("auto", 40), ("fused", 40), ("reference", 2)):
        for units in (32, 128):
            for count in sorted({1, threads}):
                torch.set_num_threads(count)
                kernels.set_threads(count)
                hand, fit, ratio = compared(units, executor, epochs)
                judged = "ok" if ratio <= LIMIT else f"above {LIMIT}"
                print(
                    f"{executor:12}{units:>5}{count:>9}{1e3 * hand:>9.3f} ms{1e3 * fit:>9.3f} ms"
                    f"{ratio:>8.3f}  {judged if executor != 'reference' else '(for information)'}"
                )


def compared(units: int, executor: str, epochs: int) -> tuple[float, float, float]:
    """Median seconds of a chunk by hand and in `fit`, and the median ratio of the pairs."""
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

    history = sw.fit(model, streams, epochs=epochs + WARM, on_epoch=in_between, progress=False)
    pairs = list(zip(hand[WARM:], history.seconds[WARM:], strict=True))
    return (
        median(one for one, _ in pairs) / CHUNKS,
        median(other for _, other in pairs) / CHUNKS,
        median(other / one for one, other in pairs),
    )


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
