"""What the native kernels cost beside torch and onnxruntime: `python benchmarks/kernels.py`.

Peers run interleaved in one process and medians are compared; a ratio above 1 is ours being
quicker. `limit` is what the machine allows, measured here: multiply-adds at the measured peak, or
weights read once a step at the measured bandwidth of the cache that holds them, whichever is
longer. onnxruntime is left out where it is not installed.

    python benchmarks/kernels.py --threads 1 2 --only step sequence training peepholes slots process
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

import onnx_peer
import statewise as sw
from statewise import kernels
from statewise.runtime import Model

CELLS = {"LSTM": sw.LSTM, "GRU": sw.GRU, "RNN": sw.Elman}
UNITS = (32, 128, 512)
STEPS = 100
FASTEST = 0.2  # seconds that each peer runs at least
TURN = 0.02  # seconds of calls one after the other


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", default=list(SECTIONS), choices=list(SECTIONS))
    options = parser.parse_args()
    print(f"{kernels.describe()}\ntorch {torch.__version__}, onnxruntime {onnx_peer.version()}")
    for threads in options.threads:
        # the default where it is that many, as a user has it
        kernels.set_threads(0)
        if kernels.get_threads() != threads:
            kernels.set_threads(threads)
        torch.set_num_threads(threads)
        print(f"\n{threads} thread{'s' if threads > 1 else ''}")
        for name in options.only:
            SECTIONS[name](threads)


# Measuring


def times(*calls: Callable[[], Any]) -> list[float]:
    """The median seconds of each call. All take turns, and each turn is as if the peer ran alone:
    its weights are in the cache, and all cores are free when it begins.
    """
    taken: list[list[float]] = [[] for _ in calls]
    begin = time.perf_counter()
    while len(taken[0]) < 7 or time.perf_counter() - begin < FASTEST * len(calls):
        for call, own in zip(calls, taken, strict=True):
            settle()
            call()
            turn = time.perf_counter()
            while True:
                start = time.perf_counter()
                call()
                end = time.perf_counter()
                own.append(end - start)
                if end - turn > TURN:
                    break
    return [median(own) for own in taken]


def settle() -> None:
    """Wait for threads that look for more work without leaving their cores, as onnxruntime's do for
    50 ms after a call.
    """
    for _ in range(100):
        used = time.process_time()
        time.sleep(0.02)  # several ticks of a clock that counts in these
        if time.process_time() - used < 0.002:
            return


def peak() -> float:
    """Multiply-adds a second on one core, in operations (two each)."""
    rounds = 200_000
    (seconds,) = times(lambda: kernels.native.multiply_add(rounds))
    return 2 * 12 * kernels.native.get_vector_width() * rounds / seconds


def bandwidth(size: int) -> float:
    """Bytes a second that one core reads from a buffer of this size, again and again."""
    # written once: memory that nobody has written is one page of zeros, over and over
    buffer = np.ones(size // 4, np.float32)
    repeats = max(1, (1 << 22) // size)

    def read() -> None:
        for _ in range(repeats):
            kernels.native.sum_buffer(buffer)

    (seconds,) = times(read)
    return size * repeats / seconds


class Limits:
    """The machine's peak, and its bandwidth for weights of a size."""

    def __init__(self) -> None:
        self.peak = peak()
        self.known: dict[int, float] = {}

    def seconds(self, operations: float, weights: int, steps: int) -> float:
        """The least that one core takes."""
        rate = self.known.setdefault(weights, bandwidth(max(weights, 1 << 14)))
        return max(operations / self.peak, steps * weights / rate)


def layer(cell: str, units: int) -> tuple[sw.Architecture, dict[str, np.ndarray]]:
    architecture = sw.Architecture(sw.Vector(units), [CELLS[cell](units)])
    arrays = {name: value.astype(np.float32) for name, value in architecture.draw(0).items()}
    return architecture, arrays


def size(arrays: dict[str, np.ndarray]) -> int:
    return arrays["0.W"].nbytes + arrays["0.R"].nbytes


def row(what: str, seconds: list[float], names: list[str], limit: float | None = None) -> None:
    shown = [f"{what:<26}{1e6 * seconds[0]:>11.1f} us"]
    shown += [
        f"{name} {1e6 * value:>10.1f} us {value / seconds[0]:>6.2f}x"
        for name, value in zip(names, seconds[1:], strict=True)
    ]
    if limit is not None:
        shown.append(f"limit {1e6 * limit:>9.1f} us {limit / seconds[0]:>5.0%}")
    print("  ".join(shown), flush=True)


# Sections


def limits(_: int) -> None:
    print(f"multiply-add peak of a core {peak() / 1e9:.0f} GFLOP/s")
    for kilobytes in (32, 256, 512, 4096, 8192):
        print(f"read from {kilobytes:>5} KB {bandwidth(kilobytes << 10) / 1e9:>7.1f} GB/s")


def step(_: int) -> None:
    """One step of one row, from Python."""
    print("one step, batch 1")
    allowed = Limits()
    for cell in CELLS:
        for units in UNITS:
            architecture, arrays = layer(cell, units)
            model = Model(architecture, arrays)
            x = np.random.default_rng(0).standard_normal((1, units)).astype(np.float32)
            _, state = model.step(x)
            other = torch_layer(cell, units)
            now = torch.from_numpy(x)[:, None]
            calls = [lambda m=model, x=x, s=state: m.step(x, s), lambda o=other, n=now: o(n)]
            names = ["torch"]
            session = onnx_peer.session(cell, units, 1, 1, arrays)
            if session is not None:
                calls.append(lambda s=session, x=x: s(x[None]))
                names.append("onnxruntime")
            bf16 = Model(architecture, arrays, weights="bfloat16")
            _, other_state = bf16.step(x)
            calls.append(lambda m=bf16, x=x, s=other_state: m.step(x, s))
            with torch.no_grad():
                taken = times(*calls)
            limit = allowed.seconds(size(arrays) / 2, size(arrays), 1)
            row(f"{cell} H={units}", taken, [*names, "our bfloat16"], limit)


def sequence(_: int) -> None:
    """A whole sequence forward, from Python."""
    print(f"forward, T={STEPS}")
    allowed = Limits()
    for cell in CELLS:
        for units in UNITS:
            for rows in (1, 16, 256):
                architecture, arrays = layer(cell, units)
                model = Model(architecture, arrays)
                rng = np.random.default_rng(0)
                x = rng.standard_normal((rows, STEPS, units)).astype(np.float32)
                other, given = torch_layer(cell, units), torch.from_numpy(x)
                calls = [lambda m=model, x=x: m(x), lambda o=other, g=given: o(g)]
                names = ["torch"]
                session = onnx_peer.session(cell, units, rows, STEPS, arrays)
                if session is not None:
                    turned = np.ascontiguousarray(x.transpose(1, 0, 2))
                    calls.append(lambda s=session, x=turned: s(x))
                    names.append("onnxruntime")
                with torch.no_grad():
                    taken = times(*calls)
                limit = allowed.seconds(rows * STEPS * size(arrays) / 2, size(arrays) // 2, STEPS)
                row(f"{cell} H={units} B={rows}", taken, names, limit)


def training(_: int) -> None:
    """Forward and backward through a sum of the outputs, without gradients of the inputs. The limit
    is two and a half times the multiply-adds of a forward run, and R read twice a step.
    """
    print(f"training, forward and backward, T={STEPS}")
    allowed = Limits()
    for cell in CELLS:
        for units in UNITS:
            for rows in (1, 16) if units == UNITS[-1] else (1, 16, 256):
                architecture, arrays = layer(cell, units)
                model, other = sw.nn.Model(architecture), torch_layer(cell, units)
                x = torch.randn(rows, STEPS, units)

                def ours(m: Any = model, x: Any = x) -> None:
                    m(x)[0].sum().backward()

                def theirs(o: Any = other, x: Any = x) -> None:
                    o(x)[0].sum().backward()

                taken = times(ours, theirs)
                operations = 2.5 * rows * STEPS * size(arrays) / 2
                limit = allowed.seconds(operations, size(arrays) // 2, 2 * STEPS)
                row(f"{cell} H={units} B={rows}", taken, ["torch"], limit)


def peepholes(_: int) -> None:
    """LSTM with peepholes beside the plain one, and beside its equations in torch."""
    print(f"LSTM with peepholes: step, forward and training, T={STEPS}")
    names = ["plain", "equations"]
    for units in UNITS:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((16, STEPS, units)).astype(np.float32)
        given = torch.from_numpy(x)
        cells = [sw.LSTM(units, peepholes=True), sw.LSTM(units)]
        trained = [sw.nn.Model(sw.Architecture(sw.Vector(units), [cell])) for cell in cells]
        loaded = [
            Model(m.architecture, {n: w.detach().numpy() for n, w in m.weights().items()})
            for m in trained
        ]
        equations = sw.nn.Model(trained[0].architecture, executor="reference")
        with torch.no_grad():
            calls = [lambda m=m, x=x[:1, 0]: m.step(x) for m in loaded]
            calls.append(lambda m=equations, x=given[:1, 0]: m.step(x))
            row(f"step H={units}", times(*calls), names)
            calls = [lambda m=m, x=x: m(x) for m in loaded]
            calls.append(lambda m=equations, x=given: m(x))
            row(f"forward H={units} B=16", times(*calls), names)
        calls = [lambda m=m, x=given: m(x)[0].sum().backward() for m in (*trained, equations)]
        row(f"training H={units} B=16", times(*calls), names)


def slots(_: int) -> None:
    """256 of 100,000 sessions, chosen at random, beside a batch of 256 rows in one piece."""
    print("slot table, 256 of 100,000 at random")
    for cell in ("LSTM", "GRU"):
        architecture, arrays = layer(cell, 128)
        model = Model(architecture, arrays)
        table = sw.SlotTable(model, 100_000)
        handles = np.array([table.open() for _ in range(100_000)])
        rng = np.random.default_rng(0)
        x = rng.standard_normal((256, 128)).astype(np.float32)
        _, state = model.step(x)
        chosen = [rng.choice(handles, 256, replace=False) for _ in range(200)]
        turns = itertools.cycle(chosen)
        taken = times(
            lambda c=turns, x=x, t=table: t.step(next(c), x),
            lambda m=model, x=x, s=state: m.step(x, s),
        )
        row(f"{cell} H=128", taken, ["contiguous"])


def process(_: int) -> None:
    """A process that loads a model and takes one step."""
    print("a process: import, load, one step")
    architecture, arrays = layer("LSTM", 128)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "m.safetensors")
        Model(architecture, arrays).save(path)
        for name, code in (
            ("statewise", f"m = sw.load({path!r}); m.step(np.zeros((1, 128), np.float32))"),
            ("torch", f"import torch; m = sw.nn.load({path!r}); m.step(torch.zeros(1, 128))"),
        ):
            measure = (
                "import time; start = time.perf_counter()\n"
                f"import numpy as np, statewise as sw; {code}\n"
                "print(time.perf_counter() - start, open('/proc/self/status').read()"
                ".split('VmHWM:')[1].split()[0])"
            )
            runs = [
                subprocess.run(
                    [sys.executable, "-c", measure], capture_output=True, text=True, check=True
                ).stdout.split()
                for _ in range(5)
            ]
            seconds = median(float(run[0]) for run in runs)
            megabytes = median(float(run[1]) for run in runs) / 1024
            print(f"{name:<26}{seconds:>8.3f} s  {megabytes:.0f} MB")


def torch_layer(cell: str, units: int) -> torch.nn.Module:
    return getattr(torch.nn, cell)(units, units, batch_first=True)  # type: ignore[no-any-return]


SECTIONS: dict[str, Callable[[int], None]] = {
    section.__name__: section
    for section in (limits, step, sequence, training, peepholes, slots, process)
}

if __name__ == "__main__":
    main()
