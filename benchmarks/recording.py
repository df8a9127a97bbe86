"""What recording costs beside a forward run: ``python benchmarks/recording.py``.

Every gate of one layer, or of all, from the outputs of the same fast run; in turn, medians.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

import statewise as sw
from statewise import inspect

FEATURES, STEPS, TURNS = 32, 1000, 9


def seconds(work: Callable[[], object]) -> float:
    """Of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    print(f"{'':<26}{'forward ms':>12}{'one layer':>11}{'all layers':>12}")
    for cell in (sw.LSTM, sw.GRU, sw.Elman):
        for units, rows in ((128, 1), (128, 16), (256, 1)):
            layers = [cell(units), cell(units)]
            drawn = sw.nn.Model(sw.Architecture(sw.Vector(FEATURES), layers), seed=0)
            arrays = {name: own.detach().numpy() for name, own in drawn.weights().items()}
            model = sw.runtime.Model(drawn.architecture, arrays)
            shape = (rows, STEPS, FEATURES)
            x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
            works: list[Callable[[], object]] = [
                lambda model=model, x=x: model(x),
                lambda model=model, x=x: inspect.record(model, x, names="0.*"),
                lambda model=model, x=x: inspect.record(model, x, names="*"),
            ]
            turns = [[seconds(work) for work in works] for _ in range(TURNS)]
            forward = statistics.median(turn[0] for turn in turns)
            ratios = [statistics.median(turn[i] / turn[0] for turn in turns) for i in (1, 2)]
            print(
                f"{cell.__name__ + f' 2x{units}, {rows} rows':<26}{1e3 * forward:>12.2f}"
                f"{ratios[0]:>10.1f}x{ratios[1]:>11.1f}x"
            )


if __name__ == "__main__":
    main()
