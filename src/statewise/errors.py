"""Every error and warning of statewise.

StatewiseError
├── ArchitectureError   an architecture that cannot be built or read
│   └── CellError       a cell that breaks the cell contract
├── InputError          inputs, masks or lengths of a wrong shape, dtype or value
├── StateError          a state that cannot be built or does not fit the model
│   ├── CarryError      a carry given to a layer that reads the whole sequence
│   └── SlotError       a slot that is not open, or a table that is full
├── FileError           a model, state or checkpoint file that cannot be read
├── ConversionError     a model of another framework that cannot be carried over
├── DataError           a series or data frame that cannot be used as it is
├── TrainingError       a training run that cannot start or go on
│   └── DivergenceError a loss or gradient that is no longer finite
└── MissingExtraError   an optional dependency that is not installed

StatewiseWarning
├── WeightsChangedWarning  a state goes on under other weights than it was made with
├── ConversionWarning      a model was carried over, with a part left out that only training uses
├── DataWarning            a series was read, with a part of it left out or altered
├── SequenceCutWarning     sequences are cut into pieces, and no state is carried over the cuts
└── FigureWarning          a picture was drawn, with characters that no font has
"""

from __future__ import annotations


class StatewiseError(Exception):
    """The root of every error that statewise raises on purpose."""


class ArchitectureError(StatewiseError, ValueError):
    """An architecture that cannot be built or read."""


class CellError(ArchitectureError):
    """A cell that breaks the cell contract."""


class InputError(StatewiseError, ValueError):
    """Inputs, masks or lengths of a wrong shape, dtype or value."""


class StateError(StatewiseError, ValueError):
    """A state that cannot be built or does not fit the model."""


class CarryError(StateError):
    """A carry given to a layer that reads the whole sequence."""


class SlotError(StateError):
    """A slot that is not open, is listed twice or in use, or a table that is full."""


class FileError(StatewiseError, ValueError):
    """A model, state or checkpoint file that cannot be read."""


class ConversionError(StatewiseError, ValueError):
    """A model of another framework, or for one, that cannot be carried over."""


class DataError(StatewiseError, ValueError):
    """A series or data frame that cannot be used as it is."""


class TrainingError(StatewiseError, RuntimeError):
    """A training run that cannot start or go on."""


class DivergenceError(TrainingError):
    """A loss or gradient that is no longer finite."""


class MissingExtraError(StatewiseError, ImportError):
    """An optional dependency that is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(package, extra, purpose)

    def __str__(self) -> str:
        package, extra, purpose = self.args
        return (
            f"{purpose} needs {package}, which is not installed; "
            f"install it with: pip install 'statewise[{extra}]'"
        )


class StatewiseWarning(UserWarning):
    """The root of every warning that statewise gives."""


class WeightsChangedWarning(StatewiseWarning):
    """A state goes on under other weights than it was made with.

    Make it an error with ``warnings.simplefilter("error", sw.WeightsChangedWarning)``.
    """


class ConversionWarning(StatewiseWarning):
    """A model was carried over, with a part left out that only training uses."""


class DataWarning(StatewiseWarning):
    """A series was read, with a part of it left out or altered."""


class SequenceCutWarning(StatewiseWarning):
    """Sequences are cut into pieces, and no state is carried over the cuts."""


class FigureWarning(StatewiseWarning):
    """A picture was drawn, with characters that no installed font has."""
