"""What ``statewise inspect`` looks at: a model with a stretch of a text or a series, from files"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from statewise import checkpoint
from statewise.architecture import Tokens
from statewise.errors import DataError, FileError, InputError, MissingExtraError
from statewise.inspect.recording import executor_of
from statewise.inspect.subject import suggestion
from statewise.loading import find_model_file, load_statewise
from statewise.state import State
from statewise.weights import KIND

if TYPE_CHECKING:
    from statewise.forecast import Forecaster
    from statewise.text import TextModel

EXACT = 200_000
"""So many steps before the stretch are read to know the state there; some seconds at most."""
SEED = 5_000
"""Of more steps than that, so many last ones are."""


@dataclass(frozen=True)
class Stretch:
    """What is looked at.

    Arguments:
        model: what runs, a model of text or one of numbers.
        data: what it reads: a text, or (1, T, features).
        before: the state before the first step; None for the initial one.
        first, steps, total: where it begins, how many steps it has, and of how many.
        labels: of the steps of a series.
        curves: what the features of a series are called.
        notes: sentences about how the state before was come by.
    """

    model: Any
    data: Any
    before: State | None
    first: int
    steps: int
    total: int
    labels: list[str] | None = None
    curves: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Reading:
    """Which stretch of the input is meant, and how it is read.

    Arguments:
        first: the step to begin with.
        steps: how many.
        unknown: what to do with characters that the vocabulary lacks.
        time, value, id: columns of a series.
        series: which of several series.
        missing: what to do about gaps in a series.
    """

    first: int = 0
    steps: int = 2000
    unknown: str = "error"
    time: str | None = None
    value: str | None = None
    id: str | None = None
    series: str | None = None
    missing: str = "error"


def stretch(model: str, source: str, reading: Reading) -> Stretch:
    """The model and the part of its input that are meant.

    Raises:
        FileError: no model there. DataError: no input that it reads. InputError: no such steps.
    """
    if reading.first < 0 or reading.steps < 1:
        raise InputError(
            f"--from is at least 0 and --steps at least 1, got {reading.first} and {reading.steps}"
        )
    opened, kind = _opened(model)
    if kind == "text":
        return _of_text(opened, source, reading)
    if isinstance(opened.architecture.inputs, Tokens):
        raise FileError(
            f"{model} reads tokens and does not say which text they stand for; only a model of "
            "text, as text train makes it, can be looked into with a file"
        )
    return _of_series(opened, source, reading)


def _opened(name: str) -> tuple[Any, str]:
    path, file = Path(name), find_model_file(name)
    written = checkpoint.read_metadata(file, KIND)
    if "text" in written:
        from statewise.text import TextModel

        return TextModel.load(path), "text"
    if "forecaster" in written and path.is_dir():
        _need_pandas(name)
        from statewise.forecast import Forecaster

        return Forecaster.load(path), "forecaster"
    return load_statewise(file), "plain"


def _window(source: str, total: int, reading: Reading) -> tuple[int, int]:
    if reading.first >= total:
        raise InputError(
            f"{source} has {total:,} steps, so --from is at most {total - 1}, got {reading.first}"
        )
    return reading.first, min(total, reading.first + reading.steps)


# Texts


def _of_text(model: TextModel, source: str, reading: Reading) -> Stretch:
    from statewise.text.corpus import read_text

    text = read_text(source)
    if not text:
        raise DataError(f"{source} is empty; give a file that holds some text")
    if model.level == "byte":
        return _of_bytes(model, text, source, reading)
    start, stop = _window(source, len(text), reading)
    before, notes = _read_before(model, text[max(0, start - _reach(start)) : start], start, reading)
    return Stretch(model, text[start:stop], before, start, stop - start, len(text), notes=notes)


def _of_bytes(model: TextModel, text: str, source: str, reading: Reading) -> Stretch:
    """As of characters, except that a stretch begins and ends with whole ones."""
    data = text.encode()
    start, stop = (_whole(data, end) for end in _window(source, len(data), reading))
    stop = stop if stop > start else len(data)
    read = data[_whole(data, max(0, start - _reach(start))) : start].decode()
    before, notes = _read_before(model, read, start, reading)
    return Stretch(
        model, data[start:stop].decode(), before, start, stop - start, len(data), notes=notes
    )


def _whole(data: bytes, place: int) -> int:
    """The first place from here on at which a character begins."""
    while place < len(data) and data[place] & 0xC0 == 0x80:
        place += 1
    return place


def _reach(start: int) -> int:
    return start if start <= EXACT else SEED


def _read_before(
    model: TextModel, text: str, start: int, reading: Reading
) -> tuple[State | None, list[str]]:
    if not text:
        return None, []
    state = model.read(text, unknown=cast("Any", reading.unknown))
    return state, [_said(start)]


def _said(start: int) -> str:
    if start <= EXACT:
        return f"The state before step {start:,} is exact: all that precedes was read."
    return (
        f"The state before step {start:,} comes of the {SEED:,} steps before it, read from the "
        "initial state; what is older is not in it."
    )


# Series


def _of_series(model: Any, source: str, reading: Reading) -> Stretch:
    _need_pandas(source)
    from statewise.forecast.sources import load

    frame = load(source)
    features = model.architecture.inputs.features
    if features > 1:
        labels, curves, values = _features(frame, source, features, reading)
        start: State | None = None
    else:
        labels, curves, values, start = _one_series(model, frame, reading)
    runner = getattr(model, "model", model)  # a forecaster has one
    first, stop = _window(source, len(values), reading)
    x = values[None].astype(executor_of(runner).dtype)  # (1, T, features)
    notes = []
    if first:
        state = runner.initial_state(1) if start is None else start
        _, start = runner(x[:, :first], state)
        notes = [f"The state before step {first:,} is exact: all that precedes was read."]
    return Stretch(
        runner,
        x[:, first:stop],
        start,
        first,
        stop - first,
        len(values),
        labels[first:stop],
        curves,
        notes,
    )


def _one_series(
    model: Any, frame: Any, reading: Reading
) -> tuple[list[str], list[str], np.ndarray, State | None]:
    """Labels, what it is called, values (T, 1), and the state before it where it is known."""
    from statewise.forecast.calendar import format_time
    from statewise.forecast.frames import read
    from statewise.forecast.sources import guess

    own = getattr(model, "columns", None)
    given = [reading.id, reading.time, reading.value]
    if own is not None:
        known = [own.id, own.time, own.target]
        given = [
            one or (k if k in frame.columns else None) for one, k in zip(given, known, strict=True)
        ]
    columns = guess(frame, *given)
    panel = read(frame, columns, cast("Any", reading.missing))
    ids = {str(one.id): one for one in panel.series}
    name = next(iter(ids)) if reading.series is None else reading.series
    if name not in ids:
        hint = suggestion(name, ids) or "."
        raise DataError(f"there is no series {name!r} among {len(ids)}{hint}")
    chosen = ids[name]
    labels = [format_time(time) for time in chosen.times]
    called = columns.target if len(ids) == 1 else f"{columns.target} of {name}"
    start = None if own is None else _start(model, chosen.id, chosen.values)
    return labels, [called], chosen.values[:, None], start


def _start(forecaster: Forecaster, key: Any, values: np.ndarray) -> State:
    """The state before a series: with its own mean and scale, those learned where it is known."""
    from statewise.forecast.core import prepare
    from statewise.transforms import Standardize

    assert forecaster.model is not None
    start = prepare(forecaster.model, values).start
    tracks = forecaster.states.tracks
    alone = key == "series" and len(tracks) == 1
    track = next(iter(tracks.values())) if alone else tracks.get(key)
    if track is None:
        return start
    scaling = [
        f"{index}.{name}"
        for index, transform in enumerate(forecaster.architecture.transforms)
        if isinstance(transform, Standardize)
        for name in ("mean", "scale")
    ]
    return start.replace({name: track.state[name] for name in scaling})


def _features(
    frame: Any, source: str, count: int, reading: Reading
) -> tuple[list[str], list[str], np.ndarray]:
    """Labels, the columns of numbers, and their values (T, count)."""
    numbers = [
        str(name)
        for name in frame.columns
        if np.asarray(frame[name]).dtype.kind in "iuf" and name not in (reading.time, reading.id)
    ]
    if len(numbers) != count:
        raise DataError(
            f"the model reads {count} numbers a step, and {source} has {len(numbers)} columns of "
            f"numbers: {', '.join(numbers) or 'none'}"
        )
    values = frame[numbers].to_numpy(float)
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise DataError(f"{source} has no number in column {numbers[column]!r} of row {row}")
    others = [name for name in frame.columns if str(name) not in numbers]
    times = reading.time or (others[0] if others else None)
    labels = [str(row) for row in range(len(values))] if times is None else map(str, frame[times])
    return list(labels), numbers, values


def _need_pandas(source: str) -> None:
    try:
        import narwhals  # noqa: F401
        import pandas  # noqa: F401
    except ImportError:
        raise MissingExtraError("pandas", "forecast", f"reading {source}") from None
