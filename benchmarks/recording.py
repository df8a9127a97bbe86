"""What recording costs beside a forward run: ``python benchmarks/recording.py [--threads 1]``.

Every value of one layer, or of all, beside the same run without recording: of the model as it is
loaded, and of the same model in torch. In turn, medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

import statewise as sw
from statewise import inspect, kernels

FEATURES, STEPS, TURNS = 32, 1000, 9


def seconds(work: Callable[[], object]) -> float:
    """Of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def costs(model: Any, x: Any) -> tuple[float, float, float]:
    """Seconds of a run, and how many times as long recording takes: one layer, all layers."""
    works: list[Callable[[], object]] = [partial(model, x)]
    works += [partial(inspect.record, model, x, names=names) for names in ("0.*", "*")]
    turns = [[seconds(work) for work in works] for _ in range(TURNS)]
    one, every = (statistics.median(turn[i] / turn[0] for turn in turns) for i in (1, 2))
    return statistics.median(turn[0] for turn in turns), one, every


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=0, help="0 for the default")
    threads = parser.parse_args().threads
    kernels.set_threads(threads)
    heads = ("run ms", "one layer", "all layers")
    print(f"{'':<26}" + "".join(f"{head:>12}" for head in (*heads, "in torch ms", *heads[1:])))
    for cell in (sw.LSTM, sw.GRU, sw.Elman):
        for units, rows in ((128, 1), (128, 16), (256, 1), (256, 16)):
            layers = [cell(units), cell(units)]
            drawn = sw.nn.Model(sw.Architecture(sw.Vector(FEATURES), layers), seed=0)
            arrays = {name: own.detach().numpy() for name, own in drawn.weights().items()}
            model = sw.runtime.Model(drawn.architecture, arrays)
            shape = (rows, STEPS, FEATURES)
            x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
            print(f"{cell.__name__ + f' 2x{units}, {rows} rows':<26}", end="")
            for runner, given in ((model, x), (drawn, torch.from_numpy(x))):
                run, one, every = costs(runner, given)
                print(f"{1e3 * run:>12.2f}{one:>11.2f}x{every:>11.2f}x", end="")
            print()


if __name__ == "__main__":
    main()
