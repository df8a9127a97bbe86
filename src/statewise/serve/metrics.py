"""The metrics at ``/metrics``, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from statewise.serve.engine import Engine

_COUNTERS = {
    "steps": "time steps consumed",
    "requests": "steps requested, of one time step or a chunk",
    "replays": "repeated answers",
    "refused": "steps answered by an error",
    "spills": "sessions moved from memory to the store",
    "loads": "sessions moved from the store to memory",
    "created": "sessions created",
    "expired": "sessions expired",
    "deleted": "sessions deleted",
    "writes": "sessions written before an answer was sent",
}
_HISTOGRAMS = {
    "batches": ("batch_sessions", "sessions stepped together"),
    "latency": ("step_seconds", "seconds from a step's arrival in the engine to its answer"),
}


class _Collector:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def collect(self) -> Iterator[Metric]:
        stats = self.engine.stats
        for name, words in _COUNTERS.items():
            yield CounterMetricFamily(f"statewise_{name}", words, value=getattr(stats, name))
        for name, (called, words) in _HISTOGRAMS.items():
            histogram = getattr(stats, name)
            bounds = [*map(str, histogram.bounds), "+Inf"]
            counts = accumulate(histogram.counts)
            buckets = list(zip(bounds, counts, strict=True))
            yield HistogramMetricFamily(
                f"statewise_{called}", words, buckets=buckets, sum_value=histogram.total
            )
        waiting = self.engine.waiting
        yield GaugeMetricFamily("statewise_waiting_steps", "steps that are waiting", value=waiting)
        resident = GaugeMetricFamily(
            "statewise_resident_sessions", "sessions in memory", labels=["model", "version"]
        )
        for info in self.engine.models():
            resident.add_metric([info.name, info.version], info.sessions)
        yield resident


def render_metrics(engine: Engine) -> tuple[bytes, str]:
    """Render the metrics as text; and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(engine))
    return generate_latest(registry), CONTENT_TYPE_LATEST
