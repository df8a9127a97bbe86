"""Series from files and from the package: what the command line reads."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd

from statewise.errors import DataError
from statewise.forecast.frames import Columns

BUNDLED = ("shampoo", "air-passengers")
_TIMES = ("ds", "date", "time", "timestamp", "datetime", "month", "day", "week", "quarter", "year")
_VALUES = ("y", "value", "target")
_IDS = ("unique_id", "series_id", "id", "series")


def load(source: str | Path) -> pd.DataFrame:
    """A bundled series by name, or the frame of a .csv or .parquet file.

    Raises:
        DataError: no such file, another kind of file, or one that cannot be read.
    """
    if str(source) in BUNDLED:
        with resources.as_file(resources.files("statewise.forecast") / "data") as folder:
            return pd.read_csv(folder / f"{source}.csv")
    path = Path(source)
    if not path.is_file():
        raise DataError(
            f"there is no file {str(source)!r}, and the bundled series are {', '.join(BUNDLED)}"
        )
    readers: dict[str, Any] = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} is not a .csv or .parquet file")
    try:
        frame: pd.DataFrame = reader(path)
    except Exception as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if frame.empty:
        raise DataError(f"{path} has no rows")
    return frame


def guess(
    frame: pd.DataFrame, key: str | None = None, time: str | None = None, value: str | None = None
) -> Columns:
    """Which columns hold what, where they are not named.

    The time is a column of a usual name, or the first; the value one of a usual name, or the only
    other column of numbers; the id one of a usual name, if there is one.

    Raises:
        DataError: a named column that is not there, or no way to tell.
    """
    names = [str(name) for name in frame.columns]
    for given in (key, time, value):
        if given is not None and given not in names:
            raise DataError(f"there is no column {given!r} among {', '.join(names)}")
    if key is None:
        key = _usual([name for name in names if name not in (time, value)], _IDS)
    if time is None:
        left = [name for name in names if name not in (key, value)]
        time = _usual(left, _TIMES) or (left[0] if left else None)
    if value is None:
        left = [name for name in names if name not in (key, time)]
        numbers = [name for name in left if pd.api.types.is_numeric_dtype(frame[name])]
        value = _usual(left, _VALUES) or (numbers[0] if len(numbers) == 1 else None)
        if value is None and len(left) == 1:
            value = left[0]
    if time is None or value is None:
        raise DataError(
            f"cannot tell which of the columns {', '.join(names)} is the "
            f"{'time' if time is None else 'value'}; name it with "
            f"{'--time' if time is None else '--value'}"
        )
    return Columns(key, time, value)


def _usual(names: Sequence[str], usual: Sequence[str]) -> str | None:
    by_name = {name.lower(): name for name in reversed(names)}
    return next((by_name[name] for name in usual if name in by_name), None)
