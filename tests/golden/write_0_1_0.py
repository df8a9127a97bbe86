"""How the files in ``0.1.0`` were written: ``python -m tests.golden.write_0_1_0 FOLDER``, with
statewise 0.1.0. It stays for the record; those files are never written again.
"""

import asyncio
import json
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import statewise as sw
from statewise.serve import Engine
from statewise.serve.stores.sqlite import SqliteStore
from statewise.train.run import Run
from tests.golden.cells import Leaky

VECTOR, TOKENS = sw.Vector(2), sw.Tokens(6, 3)
OPTIONS = sw.LSTM(
    4,
    projection=2,
    peepholes=True,
    coupled=True,
    layer_norm=True,
    forget_bias=sw.Chrono(10),
    learned_state=True,
)
TRANSFORMS = [
    sw.Difference(2),
    sw.RunningScale(),
    sw.Standardize(),
    sw.Lags((1, 3)),
    sw.LSTM(3),
]
MODELS = {
    "elman": (sw.Architecture(VECTOR, [sw.Elman(3, activation="relu")]), "float32"),
    "lstm": (sw.Architecture(VECTOR, [sw.LSTM(4)], sw.Linear(2)), "float32"),
    "lstm-float64": (sw.Architecture(VECTOR, [sw.LSTM(4)], sw.Linear(2)), "float64"),
    "lstm-float16": (sw.Architecture(VECTOR, [sw.LSTM(4)], sw.Linear(2)), "float16"),
    "lstm-bfloat16": (sw.Architecture(VECTOR, [sw.LSTM(4)], sw.Linear(2)), "bfloat16"),
    "lstm-options": (sw.Architecture(VECTOR, [OPTIONS], sw.Linear(1)), "float32"),
    "gru": (sw.Architecture(TOKENS, [sw.GRU(4)], sw.Linear(6)), "float32"),
    "gru-bfloat16": (sw.Architecture(TOKENS, [sw.GRU(4)], sw.Linear(6)), "bfloat16"),
    "gru-before": (
        sw.Architecture(VECTOR, [sw.GRU(4, reset="before", learned_state=True)]),
        "float64",
    ),
    "bidirectional": (
        sw.Architecture(VECTOR, [sw.Bidirectional(sw.GRU(2)), sw.Dense(2, "relu")]),
        "float32",
    ),
    "wrapped": (
        sw.Architecture(
            TOKENS,
            [
                sw.Zoneout(sw.LSTM(3), 0.2),
                sw.Dropout(0.3),
                sw.LayerNorm(),
                sw.Residual(sw.GRU(3)),
                sw.Dense(2, "tanh"),
            ],
            sw.Linear(2, remember=True),
        ),
        "float32",
    ),
    "transforms": (
        sw.Architecture(sw.Vector(1), TRANSFORMS, sw.Linear(1, inverse=True, remember=True)),
        "float64",
    ),
    "own": (sw.Architecture(VECTOR, [Leaky(3, leak=0.25)], sw.Linear(1)), "float32"),
}


def model_of(architecture: sw.Architecture, dtype: str, seed: int) -> sw.nn.Model:
    """A model whose every weight is drawn, biases and learned states too."""
    model = sw.nn.Model(architecture, seed=seed, dtype=getattr(torch, dtype))
    noise = np.random.default_rng(seed)
    with torch.no_grad():
        for weight in model.weights().values():
            weight += torch.from_numpy(0.2 * noise.normal(size=tuple(weight.shape)))
    return model.eval()


def inputs_of(architecture: sw.Architecture, rows: int, steps: int, seed: int) -> np.ndarray:
    """Inputs (rows, steps, features), or (rows, steps) tokens."""
    noise = np.random.default_rng(seed)
    if isinstance(architecture.inputs, sw.Tokens):
        return noise.integers(architecture.inputs.size, size=(rows, steps))
    return np.round(noise.normal(size=(rows, steps, architecture.inputs.features)), 2)


def as_lists(state: sw.State) -> dict[str, Any]:
    """The fields and the position of a state, for JSON."""
    fields = {name: array.tolist() for name, array in state.items()}
    return {**fields, "position": state.position.tolist()}


def write_models(folder: Path) -> dict[str, Any]:
    """Model files, each with the state after five steps of two rows, and what comes after."""
    expected = {}
    for seed, (name, (architecture, dtype)) in enumerate(MODELS.items()):
        model = model_of(architecture, dtype, seed)
        x = inputs_of(architecture, 2, 9, seed)
        given = torch.from_numpy(x)
        given = given.to(getattr(torch, dtype)) if given.is_floating_point() else given
        with torch.no_grad():
            y, state = model(given[:, :5], lengths=[5, 3])
            model.save(folder / f"{name}.safetensors")
            state.save(folder / f"{name}.state.safetensors")
            expected[name] = {
                "dtype": dtype,
                "fingerprint": model.architecture.fingerprint,
                "weights": model.fingerprint(),
                "inputs": x.tolist(),
                "outputs": y.tolist(),
                "state": as_lists(state),
            }
            if name != "bidirectional":
                y, state = model(given[:, 5:], state)
                expected[name] |= {"later_outputs": y.tolist(), "later_state": as_lists(state)}
    return expected


def write_trace(folder: Path) -> dict[str, Any]:
    """A trace of a run that goes on from a state, with padding and a reset."""
    architecture, dtype = MODELS["lstm"]
    model = model_of(architecture, dtype, 1)
    x = torch.from_numpy(inputs_of(architecture, 2, 9, 1)).float()
    _, state = model(x[:, :2])
    reset = torch.zeros(2, 7, dtype=torch.bool)
    reset[1, 2] = True
    trace = sw.inspect.record(model, x[:, 2:], state, "*", reset=reset, lengths=[7, 5])
    trace = trace.align(list("abcdefg"))
    trace.save(folder / "trace.safetensors")
    return {
        "values": {name: trace[name].tolist() for name in trace},
        "labels": list("abcdefg"),
        "state_at_3": as_lists(trace.state_at(3)),
        "after": as_lists(trace.after.detach()),
    }


SERIES = [np.sin(np.arange(40) / (3 + k))[:, None] for k in range(4)]


def training(checkpoint: Path | None = None, resume: bool = False) -> tuple[Any, sw.nn.Model]:
    """A run of five epochs."""
    architecture = sw.Architecture(sw.Vector(1), [sw.GRU(4), sw.Dropout(0.2)], sw.Linear(1))
    model = sw.nn.Model(architecture, seed=3)
    torch.manual_seed(5)
    history = sw.fit(
        model,
        sw.Streams(SERIES, lanes=2, chunk=13, carry="stream", shuffle=True, seed=1),
        epochs=5,
        optimizer="adam",
        learning_rate=0.02,
        schedule=lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5),
        validation=sw.Streams(SERIES[:1], lanes=1, chunk=13),
        patience=4,
        checkpoint=checkpoint,
        every=3,
        resume=resume,
        progress=False,
    )
    return history, model


def write_checkpoint(folder: Path) -> dict[str, Any]:
    """A checkpoint of a run in the middle of its third epoch, and how the run went on."""
    save, path, copied = Run.save, folder / "checkpoint.safetensors", folder / "written"

    def save_and_copy(run: Run, path: Path) -> None:
        save(run, path)
        if run.epoch == 2 and run.chunk:
            shutil.copy(path, folder / "middle")

    Run.save = save_and_copy
    history, model = training(copied)
    Run.save = save
    copied.unlink()
    (folder / "middle").rename(path)
    return {
        "loss": history.loss,
        "validation": history.validation,
        "learning_rate": history.learning_rate,
        "weights": {name: w.tolist() for name, w in model.weights().items()},
    }


def frame(start: int, stop: int) -> pd.DataFrame:
    """Two series of months."""
    t = np.arange(start, stop)
    months = pd.date_range("2015-01-01", periods=stop, freq="MS")[start:]
    values = np.r_[100 + 20 * np.sin(t / 2), 5 + 0.1 * t + np.cos(t)]
    ids = np.repeat(["beer", "bread"], len(t))
    return pd.DataFrame({"shop": ids, "month": np.tile(months, 2), "sold": values.round(3)})


def write_forecaster(folder: Path) -> dict[str, Any]:
    """A forecaster of two series, its forecasts, and those after an update."""
    forecaster = sw.Forecaster([sw.LSTM(4)], season=12, epochs=4, calibration=6, seed=2)
    columns = {"id_col": "shop", "time_col": "month", "target_col": "sold"}
    forecaster.fit(frame(0, 60), **columns, progress=False)
    forecaster.save(folder / "forecaster")
    told = {"forecast": forecaster.predict(4, level=[80]).to_dict("list")}
    forecaster.update(frame(60, 63))
    told["forecast_after_update"] = forecaster.predict(4, level=[80]).to_dict("list")
    for forecast in told.values():
        forecast["month"] = [str(month.date()) for month in forecast["month"]]
    return told


def write_store(folder: Path) -> dict[str, Any]:
    """An SQLite store with a session, a snapshot of it, and a fork."""
    socket.gethostname = lambda: "host"  # no name of a real machine in the file
    x = inputs_of(MODELS["lstm"][0], 1, 8, 7)[0]
    from statewise.serve.models import Served  # its name in that release

    served = Served.read("lstm", folder / "lstm.safetensors", 4)

    async def work() -> dict[str, Any]:
        async with Engine([served], SqliteStore(folder / "store.db")) as engine:
            await engine.create("shop", "lstm", id="till")
            await engine.step("shop", "till", x[:3].tolist())
            name = await engine.snapshot("shop", "till")
            await engine.fork("shop", "till", new_id="what-if")
            answer = await engine.step("shop", "till", x[3].tolist(), request_id="monday")
            return {"snapshot": name, "monday": answer.outputs.tolist()}

    told = asyncio.run(work())
    y = sw.load(folder / "lstm.safetensors")(x[None].astype(np.float32))[0][0]
    return {**told, "inputs": x.tolist(), "outputs": y.tolist()}


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir()
    assert sw.__version__ == "0.1.0"
    expected = {
        "models": write_models(folder),
        "trace": write_trace(folder),
        "checkpoint": write_checkpoint(folder),
        "forecaster": write_forecaster(folder),
        "store": write_store(folder),
    }
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
