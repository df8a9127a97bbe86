"""Learning and writing text beside torch by hand: `python benchmarks/text.py [--minutes N]`.

Both learn tinyshakespeare (in the folder STATEWISE_DATA) with the same model from the same weights:
vectors of 64, two LSTM layers of 256, a linear output; 32 lanes, chunks of 128 steps, Adam (fused)
at 2e-3, clipping at norm 1. Their turns alternate in one process: `fit` runs some chunks, then the
loop by hand runs for as many seconds. Both are measured on the last 5% of the text after each turn,
off the clock, and the curves are drawn in text.png in --out.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import statewise as sw
from statewise import kernels
from statewise.text import Vocabulary

WIDTH, UNITS, LANES, CHUNK, RATE = 64, 256, 32, 128, 2e-3
TURN = 24
"""Chunks of a turn of `fit`."""


class ByHand(nn.Module):
    """A text model with torch's own layers and the weights of a statewise model."""

    def __init__(self, model: sw.nn.Model) -> None:
        super().__init__()
        cells = model.architecture.layers
        kind = nn.LSTM if isinstance(cells[0], sw.LSTM) else nn.GRU
        size = model.architecture.width
        self.table = nn.Embedding(size, WIDTH)
        self.rnn = kind(WIDTH, UNITS, len(cells), batch_first=True)
        self.linear = nn.Linear(UNITS, size)
        arrays = model.weights()
        with torch.no_grad():
            self.table.weight.copy_(arrays["inputs.E"])
            for layer in range(len(cells)):
                getattr(self.rnn, f"weight_ih_l{layer}").copy_(arrays[f"{layer}.W"])
                getattr(self.rnn, f"weight_hh_l{layer}").copy_(arrays[f"{layer}.R"])
                getattr(self.rnn, f"bias_ih_l{layer}").copy_(arrays[f"{layer}.b"])
                second = getattr(self.rnn, f"bias_hh_l{layer}").zero_()
                if f"{layer}.m" in arrays:
                    second[2 * UNITS :] = arrays[f"{layer}.m"]
            self.linear.weight.copy_(arrays["outputs.W"])
            self.linear.bias.copy_(arrays["outputs.b"])

    def forward(self, x, state=None):  # type: ignore[no-untyped-def]
        h, state = self.rnn(self.table(x), state)
        return self.linear(h), state

    def learner(self, ids: np.ndarray) -> Callable[[float], int]:
        """A function that learns for so many seconds and returns the number of chunks."""
        steps = (len(ids) - 1) // LANES
        inputs = torch.from_numpy(ids[: LANES * steps]).reshape(LANES, steps)
        targets = torch.from_numpy(ids[1 : LANES * steps + 1]).reshape(LANES, steps)
        optimizer = torch.optim.Adam(self.parameters(), lr=RATE, fused=True)
        at, state = 0, None

        def learn(seconds: float) -> int:
            nonlocal at, state
            self.train()
            start, chunks = time.perf_counter(), 0
            while time.perf_counter() - start < seconds:
                if at >= steps:
                    at, state = 0, None
                span = slice(at, at + CHUNK)
                y, state = self(inputs[:, span], state)
                state = tuple(own.detach() for own in state)
                loss = functional.cross_entropy(y.flatten(0, 1), targets[:, span].flatten())
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.parameters(), 1.0)
                optimizer.step()
                at, chunks = at + CHUNK, chunks + 1
            return chunks

        return learn


def bits(run: Callable[[torch.Tensor], torch.Tensor], ids: np.ndarray) -> float:
    """Bits per character of a text, cut into lanes."""
    steps = (len(ids) - 1) // LANES
    inputs = torch.from_numpy(ids[: LANES * steps]).reshape(LANES, steps)
    targets = torch.from_numpy(ids[1 : LANES * steps + 1]).reshape(LANES, steps)
    with torch.no_grad():
        y = run(inputs)
    return float(functional.cross_entropy(y.flatten(0, 1), targets.flatten())) / math.log(2)


def learning(
    ids: np.ndarray, held_out: np.ndarray, size: int, minutes: float
) -> list[tuple[float, float, float]]:
    """Both learn in turns; (seconds, bits of fit, bits by hand) after each."""
    arch = sw.Architecture(
        sw.Tokens(size, WIDTH), [sw.LSTM(UNITS), sw.LSTM(UNITS)], sw.Linear(size, remember=True)
    )
    model = sw.nn.Model(arch, seed=0)
    hand = ByHand(model)
    learn = hand.learner(ids)
    curve: list[tuple[float, float, float]] = []
    chunks = [0, 0]
    print(f"{'seconds':>8}{'chunks':>8}{'bits':>8}   {'by hand':>8}{'bits':>8}")

    def turn(history: sw.train.History) -> None:
        chunks[0] += TURN
        chunks[1] += learn(history.seconds[-1])
        model.eval(), hand.eval()
        ours = bits(lambda x: model(x)[0], held_out)
        theirs = bits(lambda x: hand(x)[0], held_out)
        model.train()
        curve.append((sum(history.seconds), ours, theirs))
        print(
            f"{curve[-1][0]:8.1f}{chunks[0]:8}{ours:8.3f}   {chunks[1]:8}{theirs:8.3f}", flush=True
        )

    streams = sw.Streams(ids, lanes=LANES, chunk=CHUNK, per_epoch=TURN)
    sw.fit(
        model,
        streams,
        epochs=10**6,
        minutes=minutes,
        loss="cross_entropy",
        learning_rate=RATE,
        on_epoch=turn,
        progress=False,
    )
    print(f"chunks in the same time: {chunks[0] / chunks[1]:.2f} times those by hand")
    return curve


def draw(curve: list[tuple[float, float, float]], path: Path) -> None:
    """Both curves as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    seconds, ours, theirs = zip(*curve, strict=True)
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(seconds, theirs, color="#9a6700", linestyle="--", label="torch, by hand")
    axes.plot(seconds, ours, color="#0b62a8", label="statewise fit")
    axes.set(xlabel="seconds of training", ylabel="bits per character, held out")
    axes.set_title("tinyshakespeare: two LSTM layers of 256, the same model and time", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def main() -> None:
    """Print the table and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="of training, for each")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("build"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    kernels.set_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    text = (Path(os.environ["STATEWISE_DATA"]) / "tinyshakespeare.txt").read_text()
    vocabulary = Vocabulary.of([text])
    ids = vocabulary.encode(text)
    cut = int(0.95 * len(ids))
    print(f"torch {torch.__version__}, {options.threads} threads, {kernels.get_isa()}")
    curve = learning(ids[:cut], ids[cut:], len(vocabulary), options.minutes)
    draw(curve, options.out / "text.png")


if __name__ == "__main__":
    main()
