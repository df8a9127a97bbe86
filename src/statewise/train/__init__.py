"""Training over streams: packing, truncated BPTT, checkpoints that go on bit for bit."""

from statewise import nn  # noqa: F401  (says which extra to install where torch is missing)
from statewise.train.evaluation import evaluate
from statewise.train.fit import fit
from statewise.train.history import History
from statewise.train.losses import Quantile
from statewise.train.streams import Batch, Streams

__all__ = ["Batch", "History", "Quantile", "Streams", "evaluate", "fit"]
