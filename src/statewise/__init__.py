"""Recurrent sequence models whose state you own: state goes in, state comes out."""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from statewise.architecture import Architecture, Linear, Tokens, Vector
from statewise.capture import Capture
from statewise.cell import Cell, Transform
from statewise.cells import (
    GRU,
    LSTM,
    Bidirectional,
    Dense,
    Dropout,
    Elman,
    LayerNorm,
    Residual,
    Zoneout,
)
from statewise.declarations import Field, Parameter
from statewise.errors import (
    ArchitectureError,
    CarryError,
    CellError,
    ConversionError,
    ConversionWarning,
    DataError,
    DataWarning,
    DivergenceError,
    FigureWarning,
    FileError,
    InputError,
    MissingExtraError,
    SequenceCutWarning,
    SlotError,
    StateError,
    StatewiseError,
    StatewiseWarning,
    TrainingError,
    WeightsChangedWarning,
)
from statewise.initializers import Chrono, Constant, Glorot, Normal, Orthogonal, Uniform, Zeros
from statewise.runtime import SlotTable, load
from statewise.state import State
from statewise.transforms import Difference, Lags, RunningScale, Standardize

if TYPE_CHECKING:
    from statewise import check, forecast, inspect, interop, nn, serve, text, train
    from statewise.forecast import Forecaster
    from statewise.text import TextModel
    from statewise.train.fit import fit
    from statewise.train.streams import Streams

    __version__: str

_LAZY = {
    "nn": "statewise.nn",
    "train": "statewise.train",
    "check": "statewise.check",
    "inspect": "statewise.inspect",
    "interop": "statewise.interop",
    "forecast": "statewise.forecast",
    "serve": "statewise.serve",
    "text": "statewise.text",
    "Streams": "statewise.train:Streams",
    "fit": "statewise.train:fit",
    "Forecaster": "statewise.forecast:Forecaster",
    "TextModel": "statewise.text:TextModel",
}


def __getattr__(name: str) -> Any:
    """Import on first use what needs torch, or is not needed by everyone; look up the version."""
    if name == "__version__":
        return _find_version()
    target = _LAZY.get(name)
    if target is None:
        raise AttributeError(f"module 'statewise' has no attribute {name!r}")
    module, _, attribute = target.partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


@cache
def _find_version() -> str:
    """The version of the installed package; pyproject.toml states it."""
    from importlib.metadata import version  # slow to import

    return version("statewise")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "GRU",
    "LSTM",
    "Architecture",
    "ArchitectureError",
    "Bidirectional",
    "Capture",
    "CarryError",
    "Cell",
    "CellError",
    "Chrono",
    "Constant",
    "ConversionError",
    "ConversionWarning",
    "DataError",
    "DataWarning",
    "Dense",
    "Difference",
    "DivergenceError",
    "Dropout",
    "Elman",
    "Field",
    "FigureWarning",
    "FileError",
    "Forecaster",
    "Glorot",
    "InputError",
    "Lags",
    "LayerNorm",
    "Linear",
    "MissingExtraError",
    "Normal",
    "Orthogonal",
    "Parameter",
    "Residual",
    "RunningScale",
    "SequenceCutWarning",
    "SlotError",
    "SlotTable",
    "Standardize",
    "State",
    "StateError",
    "StatewiseError",
    "StatewiseWarning",
    "Streams",
    "TextModel",
    "Tokens",
    "TrainingError",
    "Transform",
    "Uniform",
    "Vector",
    "WeightsChangedWarning",
    "Zeros",
    "Zoneout",
    "check",
    "fit",
    "forecast",
    "inspect",
    "interop",
    "load",
    "nn",
    "serve",
    "text",
    "train",
]
