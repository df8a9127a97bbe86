"""The input of ``statewise inspect``: a model, and a part of a text or series, from files"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from statewise import checkpoint
from statewise.architecture import Tokens
from statewise.errors import DataError, FileError, InputError
from statewise.extras import require
from statewise.inspect.recording import executor_of
from statewise.inspect.subject import suggest
from statewise.loading import find_model_file, load_statewise
from statewise.state import State
from statewise.weights import KIND

if TYPE_CHECKING:
    from statewise.forecast import Forecaster
    from statewise.text import TextModel

EXACT = 200_000
"""How many steps before the window are read at most, so that its first state is exact."""
SEED = 5_000
"""How many steps before the window are read where there are more than that."""
_MODELS = (
    "give the folder that text train --out or forecast --out wrote, or the .safetensors file of a "
    "model"
)
_EXACT_NOTE = "The state before step {:,} is exact: everything before it was read."


@dataclass(frozen=True)
class Window:
    """The part of a text or a series that is shown, and the model that reads it.

    Arguments:
        model: a model of text, or one of numbers.
        data: what it reads: a text, or (1, T, features).
        before: the state before the first step; None for the initial one.
        first, steps, total: the first step, how many steps, and how many the whole input has.
        labels: of the steps of a series.
        curves: names of the features of a series.
        notes: sentences on how the state before the first step was computed.
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
class WindowOptions:
    """Which part of the input is shown, and how the input is read.

    Arguments:
        first: the first step.
        steps: how many steps.
        unknown: what to do with characters that the vocabulary lacks.
        time, value, id: columns of a series.
        series: which of several series.
        missing: what to do with missing values of a series.
    """

    first: int = 0
    steps: int = 2000
    unknown: str = "error"
    time: str | None = None
    value: str | None = None
    id: str | None = None
    series: str | None = None
    missing: str = "error"


def read_window(model: str, source: str, options: WindowOptions) -> Window:
    """Open a model, and read the part of an input that is shown.

    Raises:
        FileError: no model. DataError: no input that the model can read. InputError: no such steps.
    """
    if options.first < 0:
        raise InputError(f"--from must be at least 0, got {options.first}")
    if options.steps < 1:
        raise InputError(f"--steps must be at least 1, got {options.steps}")
    if Path(source).is_dir():
        raise DataError(f"{source} is a folder; give a file as INPUT, which the model is to read")
    opened, kind = _open_model(model)
    if kind == "text":
        return _read_text_window(opened, source, options)
    if isinstance(opened.architecture.inputs, Tokens):
        raise FileError(
            f"{model} reads tokens, but has no vocabulary to turn a text into tokens; give a model "
            "that statewise text train wrote"
        )
    return _read_series_window(opened, source, options)


def _open_model(name: str) -> tuple[Any, str]:
    path, file = Path(name), find_model_file(name)
    if file.suffix != ".safetensors":
        raise FileError(f"{name} is not a model; {_MODELS}")
    written = checkpoint.read_metadata(file, KIND)
    if "text" in written:
        from statewise.text import TextModel

        return TextModel.load(path), "text"
    if "forecaster" in written and path.is_dir():
        _require_pandas(name)
        from statewise.forecast import Forecaster

        return Forecaster.load(path), "forecaster"
    return load_statewise(file), "plain"


def _bounds(source: str, total: int, options: WindowOptions) -> tuple[int, int]:
    if options.first >= total:
        raise InputError(
            f"{source} has {total:,} steps, so --from is at most {total - 1}, got {options.first}"
        )
    return options.first, min(total, options.first + options.steps)


# Texts


def _read_text_window(model: TextModel, source: str, options: WindowOptions) -> Window:
    from statewise.text.corpus import read_text

    text = model.vocabulary.normalize(read_text(source))
    if not text:
        raise DataError(f"{source} is empty; give a file with some text in it")
    if model.level == "byte":
        return _read_byte_window(model, text, source, options)
    start, stop = _bounds(source, len(text), options)
    read = text[max(0, start - _count_read(start)) : start]
    before, notes = _read_before(model, read, start, options)
    return Window(model, text[start:stop], before, start, stop - start, len(text), notes=notes)


def _read_byte_window(model: TextModel, text: str, source: str, options: WindowOptions) -> Window:
    """The window of a model of bytes, moved so that it begins and ends with whole characters."""
    data = text.encode()
    start, stop = (_next_character(data, end) for end in _bounds(source, len(data), options))
    stop = stop if stop > start else len(data)
    read = data[_next_character(data, max(0, start - _count_read(start))) : start].decode()
    before, notes = _read_before(model, read, start, options)
    return Window(
        model, data[start:stop].decode(), before, start, stop - start, len(data), notes=notes
    )


def _next_character(data: bytes, place: int) -> int:
    """The first place from here on at which a character begins."""
    while place < len(data) and data[place] & 0xC0 == 0x80:
        place += 1
    return place


def _count_read(start: int) -> int:
    return start if start <= EXACT else SEED


def _read_before(
    model: TextModel, text: str, start: int, options: WindowOptions
) -> tuple[State | None, list[str]]:
    if not text:
        return None, []
    state = model.read(text, unknown=cast("Any", options.unknown))
    if start <= EXACT:
        return state, [_EXACT_NOTE.format(start)]
    note = (
        f"The state before step {start:,} comes from the {SEED:,} steps before it, read from the "
        "initial state; it holds nothing of older steps."
    )
    return state, [note]


# Series


def _read_series_window(model: Any, source: str, options: WindowOptions) -> Window:
    _require_pandas(source)
    from statewise.forecast.sources import load

    frame = load(source)
    features = model.architecture.inputs.features
    if features > 1:
        labels, curves, values = _read_columns(frame, source, features, options)
        start: State | None = None
    else:
        labels, curves, values, start = _read_one_series(model, frame, options)
    runner = getattr(model, "model", model)  # a forecaster has one
    first, stop = _bounds(source, len(values), options)
    x = values[None].astype(executor_of(runner).dtype)  # (1, T, features)
    notes = []
    if first:
        state = runner.initial_state(1) if start is None else start
        _, start = runner(x[:, :first], state)
        notes = [_EXACT_NOTE.format(first)]
    return Window(
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


def _read_one_series(
    model: Any, frame: Any, options: WindowOptions
) -> tuple[list[str], list[str], np.ndarray, State | None]:
    """Labels, its name, values (T, 1), and the state before it where a forecaster has one."""
    from statewise.forecast.calendar import format_time
    from statewise.forecast.frames import read
    from statewise.forecast.sources import guess

    own = getattr(model, "columns", None)
    given = [options.id, options.time, options.value]
    if own is not None:
        known = [own.id, own.time, own.target]
        given = [
            one or (k if k in frame.columns else None) for one, k in zip(given, known, strict=True)
        ]
    columns = guess(frame, *given)
    panel = read(frame, columns, cast("Any", options.missing))
    ids = {str(one.id): one for one in panel.series}
    name = next(iter(ids)) if options.series is None else options.series
    if name not in ids:
        hint = suggest(name, ids) or "."
        some = ", ".join(list(ids)[:10]) + (", ..." if len(ids) > 10 else "")
        raise DataError(f"there is no series {name!r}{hint} The file has {some}")
    chosen = ids[name]
    labels = [format_time(time) for time in chosen.times]
    called = columns.target if len(ids) == 1 else f"{columns.target} of {name}"
    start = None if own is None else _initial_state(model, chosen.id, chosen.values)
    return labels, [called], chosen.values[:, None], start


def _initial_state(forecaster: Forecaster, key: Any, values: np.ndarray) -> State:
    """The state before a series, with the mean and scale of training if it was in training."""
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


def _read_columns(
    frame: Any, source: str, count: int, options: WindowOptions
) -> tuple[list[str], list[str], np.ndarray]:
    """Labels, the columns of numbers, and their values (T, count)."""
    numbers = [
        str(name)
        for name in frame.columns
        if np.asarray(frame[name]).dtype.kind in "iuf" and name not in (options.time, options.id)
    ]
    if len(numbers) != count:
        listed = f"{len(numbers)}: {', '.join(numbers)}" if numbers else "none"
        raise DataError(
            f"the model reads {count} columns of numbers, and {source} has {listed}; remove "
            "columns that are not inputs, and name columns of times and ids by --time and --id"
        )
    values = frame[numbers].to_numpy(float)
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise DataError(
            f"{source} has no number in column {numbers[column]!r} of row {row}; fill it in "
            "(--missing is for series of one value a step)"
        )
    others = [name for name in frame.columns if str(name) not in numbers]
    times = options.time or (others[0] if others else None)
    labels = [str(row) for row in range(len(values))] if times is None else map(str, frame[times])
    return list(labels), numbers, values


def _require_pandas(source: str) -> None:
    for module in ("narwhals", "pandas"):
        require(module, "forecast", f"reading {source}")
