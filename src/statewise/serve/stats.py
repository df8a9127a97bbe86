"""`Stats`: counters and histograms of a server since its start."""

from __future__ import annotations

import time
from bisect import bisect_left
from dataclasses import dataclass, field

BATCHES = tuple(float(2**power) for power in range(13))
SECONDS = tuple(round(scale * 10.0**power, 9) for power in range(-5, 2) for scale in (1, 2, 5))


class Histogram:
    """Counts by upper bound; the last counts what lies above all of them."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds, self.counts = bounds, [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times


@dataclass
class Stats:
    """Counters of one server.

    Arguments:
        steps: time steps consumed; requests: steps requested, of one time step or a chunk.
        replays: repeated answers. refused: requests answered by an error.
        spills, loads: sessions moved from memory to the store, and back.
        created, expired, deleted: sessions.
        writes: sessions written to the store before an answer was sent.
        batches: how many sessions were stepped together.
        latency: seconds from a request's arrival in the engine to its answer.
    """

    steps: int = 0
    requests: int = 0
    replays: int = 0
    refused: int = 0
    spills: int = 0
    loads: int = 0
    created: int = 0
    expired: int = 0
    deleted: int = 0
    writes: int = 0
    batches: Histogram = field(default_factory=lambda: Histogram(BATCHES))
    latency: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    started: float = field(default_factory=time.time)
