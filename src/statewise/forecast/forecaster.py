"""`Forecaster`: one model over one or many series, with the memory of each in its state."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from statewise.architecture import Architecture
from statewise.cell import Cell, Transform
from statewise.cells import LSTM
from statewise.errors import DataError, StateError
from statewise.forecast import store
from statewise.forecast.backtest import cross_validate
from statewise.forecast.calendar import Calendar
from statewise.forecast.core import build_architecture
from statewise.forecast.frames import Columns, Missing, Panel, build, read
from statewise.forecast.learning import Settings, calibrate_intervals, learn
from statewise.forecast.rollout import advance, build_columns
from statewise.forecast.table import StateTable
from statewise.runtime import Model
from statewise.spec import format_spec
from statewise.transforms import Difference, Lags, Standardize
from statewise.validation import check_whole_number
from statewise.wording import format_count

if TYPE_CHECKING:
    from statewise.train.history import History
    from statewise.train.streams import Carry


class Forecaster:
    """One model over one or many series, with one `State` for each series.

    The state holds what differencing, scaling and the network remember, in float64. `fit` trains
    the network and seeds the state of every series with its history. `update` advances the states
    by new observations without reading the history again. `predict` forecasts from the states.

    Arguments:
        layers: the network between the transforms and the linear output; ``[LSTM(32)]`` if None.
        transforms: what leads the network, with inverses that bring forecasts back;
            ``[Difference(), Standardize()]`` if None.
        season: steps in a season; adds the value one season before the next step as a feature.
        epochs, learning_rate, loss, clip: of the training, see `statewise.train.fit`.
        chunk: steps of truncated backpropagation through time.
        lanes: series trained side by side; all, up to 64, if None. Of more series than lanes, long
            ones are cut for training, and the state is not carried over the cuts.
        carry: the scope of the carried state in training, see `statewise.train.Streams`.
        calibration: steps at the end of each series from which prediction intervals take their
            width: a first training leaves them out, and past errors are widened to the errors made
            there. 0 trusts the errors on the history learned from, which are too small wherever the
            network fits it too closely.
        seed: of the first weights, of dropout and of the sampled paths.

    Example::

        forecaster = sw.Forecaster(layers=[sw.LSTM(32)], season=12).fit(df)
        forecaster.predict(12, level=[80, 95])
        forecaster.update(new_rows).predict(12)
    """

    def __init__(
        self,
        layers: Iterable[Cell] | None = None,
        *,
        transforms: Iterable[Transform] | None = None,
        season: int | None = None,
        epochs: int = 50,
        learning_rate: float = 0.01,
        loss: str = "mse",
        clip: float | None = 1.0,
        chunk: int = 100,
        lanes: int | None = None,
        carry: Carry = "stream",
        calibration: int = 0,
        seed: int = 0,
    ) -> None:
        first = list(transforms) if transforms is not None else [Difference(), Standardize()]
        if season is not None:
            season = check_whole_number("season", season, 2, DataError)
            first.append(Lags((season - 1,)))
        calibration = check_whole_number("calibration", calibration, 0, DataError)
        seed = check_whole_number("seed", seed, 0, DataError)
        architecture = build_architecture(first, [LSTM(32)] if layers is None else list(layers))
        self.settings = Settings(
            architecture, epochs, learning_rate, loss, clip, chunk, lanes, carry, calibration, seed
        )
        self.columns = Columns()
        self.calendar: Calendar | None = None
        self.backend: Any = "pandas"
        self.model: Model | None = None
        self.history: History | None = None
        self._table = StateTable({})
        self._panel: Panel | None = None

    @property
    def architecture(self) -> Architecture:
        """Transforms, network and output, in the units of the series."""
        return self.settings.architecture

    # Fitting and updating

    def fit(
        self,
        df: Any,
        *,
        id_col: str | None = "unique_id",
        time_col: str = "ds",
        target_col: str = "y",
        missing: Missing = "error",
        progress: bool | None = None,
    ) -> Forecaster:
        """Train on the series of a long frame and seed each one's state with its history.

        Arguments:
            df: one row for each series and time; pandas, polars or pyarrow.
            id_col, time_col, target_col: its columns; ``id_col=None`` for a single series.
            missing: what to do about NaN, infinite values and gaps: ``"error"``, ``"skip"`` (the
                state does not see those steps) or ``"interpolate"``.
            progress: show the epochs; only in a terminal if None.

        Raises:
            DataError: a frame or series that cannot be used as it is.
        """
        names = Columns(id_col, time_col, target_col)
        panel = read(df, names, missing)
        interval_scales = calibrate_intervals(self.settings, panel.series, progress)
        result = learn(self.settings, panel.series, progress)
        self.columns, self.calendar, self.backend = names, panel.calendar, panel.backend
        self.model, self.history, self._panel = result.model, result.history, panel
        tracks = zip(result.tracks.items(), interval_scales, strict=True)
        self._table = StateTable(
            {
                key: replace(track, residuals=scale * track.residuals)
                for (key, track), scale in tracks
            }
        )
        return self

    def update(self, df: Any, *, missing: Missing = "error") -> Forecaster:
        """Advance the states by new observations; weights stay as they are.

        The cost is that of the new rows alone, however long the history is. All series in the frame
        must be known and go on where they stand; nothing changes if one cannot.

        Arguments:
            df: rows after those already read, in the columns that `fit` was given.
            missing: as for `fit`; a gap before the first new row can be skipped, not interpolated.

        Raises:
            DataError: an unknown series, or rows that do not follow the last time.
        """
        model, table = self._fitted(), self._table
        known = {key: track.last for key, track in table.tracks.items()}
        panel = read(df, self.columns, missing, self.calendar, known)
        tracks = [table.get_track(one.id) for one in panel.series]
        after = advance(model, tracks, panel.series)
        table.tracks |= {one.id: track for one, track in zip(panel.series, after, strict=True)}
        return self

    # Forecasting

    def predict(
        self,
        h: int,
        level: Sequence[float] | None = None,
        ids: Iterable[Hashable] | None = None,
    ) -> Any:
        """Forecast the next `h` steps of every series from its state.

        Arguments:
            h: how many steps.
            level: coverage of prediction intervals in percent, ``[80, 95]``: quantiles of sampled
                paths to which past one-step errors are added.
            ids: which series; all if None.

        Returns:
            a frame of the library that `fit` was given: id, time, ``statewise``, and
            ``statewise-lo-80``, ``statewise-hi-80`` for each level.
        """
        check_whole_number("h", h, error=DataError)
        levels = check_levels(level)
        table, calendar = self._table, self._calendar()
        keys = list(table) if ids is None else list(ids)
        tracks = [table.get_track(key) for key in keys]
        named: dict[str, Any] = {}
        if self.columns.id is not None:
            named[self.columns.id] = np.repeat(np.asarray(keys), h)
        times = [calendar.next_times(track.last, h) for track in tracks]
        named[self.columns.time] = np.concatenate(times)
        named |= build_columns(self._fitted(), tracks, h, levels, self.settings.seed)
        return build(self.backend, named)

    def cross_validation(
        self,
        h: int,
        n_windows: int = 1,
        step_size: int | None = None,
        *,
        df: Any = None,
        level: Sequence[float] | None = None,
        missing: Missing = "error",
    ) -> Any:
        """Forecasts from several cutoffs, after one training on what lies before the first.

        One pass over the series: at each cutoff a fork of the states forecasts the horizon, then
        the states read on to the next cutoff. This forecaster itself does not change.

        Arguments:
            h: steps of each forecast.
            n_windows: how many cutoffs; the last leaves exactly `h` steps.
            step_size: steps from one cutoff to the next; `h` if None.
            df: the series; those given to `fit` if None.
            level, missing: as for `predict` and `fit`.

        Returns:
            a frame: id, time, ``cutoff``, the true value, and the columns of `predict`.
        """
        panel = self._panel if df is None else read(df, self.columns, missing)
        if panel is None:
            raise DataError("cross_validation needs series; fit first, or give df=")
        levels = check_levels(level)
        return cross_validate(self.settings, panel, self.columns, h, n_windows, step_size, levels)

    # What is remembered

    @property
    def states(self) -> StateTable:
        """The state of every series by id: get, set, fork, delete."""
        return self._table

    def save(self, folder: str | Path) -> None:
        """Write ``model.safetensors`` and ``state.safetensors`` into a folder."""
        saved = store.SavedForecaster(
            self._fitted(),
            self.settings,
            self.columns,
            self._calendar(),
            self.backend,
            self._table.tracks,
        )
        store.save(saved, folder)

    @classmethod
    def load(cls, folder: str | Path, *, cells: Iterable[type[Cell]] = ()) -> Forecaster:
        """The forecaster that `save` wrote, ready to predict and update.

        Arguments:
            folder: where to.
            cells: classes of a user's own cells, see `statewise.load`.
        """
        saved = store.load(folder, cells)
        forecaster = object.__new__(cls)
        forecaster.settings, forecaster.columns = saved.settings, saved.columns
        forecaster.calendar, forecaster.backend = saved.calendar, saved.backend
        forecaster.model, forecaster.history, forecaster._panel = saved.model, None, None
        forecaster._table = StateTable(saved.tracks)
        return forecaster

    def __repr__(self) -> str:
        count = len(self.architecture.transforms)
        cells = [format_spec(cell) for cell in self.architecture.layers]
        last = self.architecture.transforms[-1] if count else None
        season = isinstance(last, Lags) and len(last.lags) == 1 and last.lags[0] + 1
        options = f"transforms=[{', '.join(cells[:count])}], layers=[{', '.join(cells[count:])}]"
        options += f", season={season}" if season else ""
        if self.model is None:
            return f"Forecaster({options}; not fitted)"
        steps = sum(int(state.position[0]) for state in self._table.values())
        series = format_count(len(self._table), "series", "series")
        return f"Forecaster({options}; {series}, {format_count(steps, 'step')} read)"

    def _fitted(self) -> Model:
        if self.model is None:
            raise StateError("this forecaster has no weights yet; call fit(df) first")
        return self.model

    def _calendar(self) -> Calendar:
        self._fitted()
        assert self.calendar is not None
        return self.calendar


def check_levels(level: Sequence[float] | None) -> list[float]:
    """The levels as numbers, each above 0 and below 100."""
    levels = [] if level is None else [float(one) for one in np.atleast_1d(np.asarray(level))]
    for one in levels:
        if not 0 < one < 100:
            raise DataError(f"level must hold percentages between 0 and 100, got {one:g}")
    return levels
