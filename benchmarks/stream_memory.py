"""That streams take memory by the chunk: `python benchmarks/stream_memory.py`.

One pass over memory-mapped sequences of 100 thousand steps to a hundred times as many.
Peak memory is that of Python's allocations (tracemalloc) and the growth of what the process holds
for itself (RssAnon, Linux; pages of the mapped file belong to the page cache and can be dropped).
"""

from __future__ import annotations

import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np

import statewise as sw

FEATURES, LANES, CHUNK = 4, 16, 100
ALLOWED = 2**18
"""Bytes between the peaks; the sequences differ by six hundred times as much."""


def main() -> None:
    """Print the table, and fail if memory grows with the sequence."""
    print(f"{LANES} lanes, chunks of {CHUNK} steps, {FEATURES} features, float32")
    print(f"{'steps':>12}{'file':>12}{'traced peak':>14}{'RssAnon growth':>17}{'us a chunk':>13}")
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        one_pass(mapped(Path(folder) / "warm", 10_000))
        for steps in (100_000, 1_000_000, 10_000_000):
            series = mapped(Path(folder) / str(steps), steps)
            traced, anonymous, seconds = one_pass(series)
            peaks.append(traced)
            print(
                f"{steps:>12,}{series.nbytes / 2**20:>8.1f} MiB{traced / 2**10:>10.0f} KiB"
                f"{anonymous / 2**10:>13.0f} KiB{1e6 * seconds:>13.1f}"
            )
    grows = max(peaks) - min(peaks) > ALLOWED
    print("memory grows with the sequence" if grows else "memory does not grow with the sequence")
    raise SystemExit(grows)


def mapped(path: Path, steps: int) -> np.memmap:
    """A sequence on disk, written a piece at a time."""
    series = np.memmap(path, np.float32, "w+", shape=(steps, FEATURES))
    for start in range(0, steps, 100_000):
        series[start : start + 100_000] = 1.0
    series.flush()
    return np.memmap(path, np.float32, "r", shape=(steps, FEATURES))


def one_pass(series: np.memmap) -> tuple[int, int, float]:
    """Peak bytes traced, growth of RssAnon in bytes, and seconds a chunk."""
    tracemalloc.start()
    before = highest = rss_anon()
    start = time.perf_counter()
    streams = sw.Streams(series, lanes=LANES, chunk=CHUNK)
    for index, _ in enumerate(streams):
        if index % 16 == 0:
            highest = max(highest, rss_anon())
    seconds = (time.perf_counter() - start) / len(streams)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak, highest - before, seconds


def rss_anon() -> int:
    """Bytes of memory the process holds that no file backs; 0 where the system does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return 1024 * int(lines["RssAnon"].split()[0])


if __name__ == "__main__":
    main()
