"""Writing text beside torch by hand and onnxruntime: `python benchmarks/writing.py [--threads N]`.

Models of 65 characters, vectors of 64, one or two layers of 256, with the same weights everywhere;
how well they write does not matter here. Each draws one character after the other, in turns:
characters a second, medians.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import torch
from torch.nn import functional

import onnx_peer
import statewise as sw
from statewise import kernels
from statewise.text import Generation, Sampling
from text import UNITS, WIDTH, ByHand

SIZE, LENGTH, TURNS = 65, 1000, 9


def ours(model: sw.runtime.Model) -> None:
    """What `TextModel.generate` goes over."""
    for _ in Generation(model, model.initial_state(1), LENGTH, Sampling(seed=0)):
        pass


def steps_alone(model: sw.runtime.Model) -> None:
    """The model's steps one by one, without drawing."""
    state, token = model.initial_state(1), np.array([1])
    for _ in range(LENGTH):
        _, state = model.step(token, state)


@torch.inference_mode()
def by_hand(hand: ByHand) -> None:
    """The usual loop: one step, softmax, multinomial."""
    token, state = torch.tensor([[1]]), None
    for _ in range(LENGTH):
        y, state = hand(token, state)
        token = torch.multinomial(functional.softmax(y[:, -1], dim=-1), 1)


def onnx(hand: ByHand) -> Callable[[], None]:
    """The whole model as one ONNX graph, stepped with NumPy's draws."""
    step = onnx_peer.text_step(hand)
    fields = hand.rnn.num_layers * (2 if hand.rnn.mode == "LSTM" else 1)
    rng = np.random.default_rng(0)

    def run() -> None:
        token = np.array([[1]])
        state = [np.zeros((1, 1, UNITS), np.float32) for _ in range(fields)]
        for _ in range(LENGTH):
            y, *state = step(token, state)
            noise = rng.standard_exponential(y.shape[-1], dtype=np.float32)
            token = np.array([[(y.ravel() - np.log(noise)).argmax()]])

    return run


def runs(cell: sw.Cell, layers: int) -> dict[str, Callable[[], None]]:
    """Everything that is measured of one model, by name."""
    arch = sw.Architecture(sw.Tokens(SIZE, WIDTH), [cell] * layers, sw.Linear(SIZE, remember=True))
    drawn = sw.nn.Model(arch, seed=0)
    arrays = {name: own.detach().numpy().copy() for name, own in drawn.weights().items()}
    half, full = (
        sw.runtime.Model(arch, arrays, weights=weights) for weights in ("bfloat16", "float32")
    )
    hand = ByHand(drawn).eval()
    made = {
        "bfloat16": partial(ours, half),
        "float32": partial(ours, full),
        "its steps alone": partial(steps_alone, full),
    }
    if onnx_peer.version() != "not installed":
        made[f"onnxruntime {onnx_peer.version()}"] = onnx(hand)
    return {**made, f"torch {torch.__version__}": partial(by_hand, hand)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    kernels.set_threads(threads)
    print(f"characters a second, one row, {threads} threads, {kernels.get_isa()}")
    models = {
        f"{layers} x {type(cell).__name__} {UNITS}": runs(cell, layers)
        for layers in (1, 2)
        for cell in (sw.LSTM(UNITS), sw.GRU(UNITS))
    }
    taken: dict[tuple[str, str], list[float]] = {}
    for _ in range(TURNS):
        for model, named in models.items():
            for name, run in named.items():
                start = time.perf_counter()
                run()
                taken.setdefault((name, model), []).append(time.perf_counter() - start)
    print(f"{'':20}" + "".join(f"{model:>14}" for model in models))
    for name in next(iter(models.values())):
        row = "".join(f"{LENGTH / median(taken[name, model]):14,.0f}" for model in models)
        print(f"{name:20}{row}")


if __name__ == "__main__":
    main()
