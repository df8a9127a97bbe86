"""Recurrences, one a file, written once against the array API standard."""

from statewise.cells.bidirectional import Bidirectional
from statewise.cells.dense import Dense
from statewise.cells.dropout import Dropout
from statewise.cells.elman import Elman
from statewise.cells.gru import GRU
from statewise.cells.layer_norm import LayerNorm
from statewise.cells.lstm import LSTM
from statewise.cells.residual import Residual
from statewise.cells.zoneout import Zoneout

__all__ = [
    "GRU",
    "LSTM",
    "Bidirectional",
    "Dense",
    "Dropout",
    "Elman",
    "LayerNorm",
    "Residual",
    "Zoneout",
]
