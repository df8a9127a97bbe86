"""What statewise 0.1.0 wrote opens, holds the values it held, and goes on."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import statewise as sw
from statewise.serve import Engine
from statewise.serve.models import ServedModel
from statewise.serve.stores.sqlite import SqliteStore
from tests.golden.cells import Leaky
from tests.golden.write_0_1_0 import MODELS, frame, training

FOLDER = Path(__file__).parent / "0.1.0"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
TOLERANCE = {"float64": 1e-10, "float32": 2e-6, "float16": 2e-3, "bfloat16": 2e-2}


def assert_close(found: Any, expected: Any, tolerance: float) -> None:
    values = found.detach().double().numpy() if isinstance(found, torch.Tensor) else found
    np.testing.assert_allclose(values, expected, rtol=tolerance, atol=tolerance)


def assert_state(state: sw.State, expected: dict[str, Any], tolerance: float) -> None:
    assert [*state, "position"] == list(expected)
    assert state.position.tolist() == expected["position"]
    for name, array in state.items():
        assert_close(array, expected[name], tolerance)


def test_every_file_is_known() -> None:
    files = {f"{name}{kind}.safetensors" for name in MODELS for kind in ("", ".state")}
    files |= {"trace.safetensors", "checkpoint.safetensors", "store.db", "expected.json"}
    assert files == {path.name for path in FOLDER.iterdir() if path.is_file()}


@pytest.mark.parametrize("load", [sw.nn.load, sw.load], ids=["torch", "numpy"])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_opens_and_goes_on_from_its_state(name: str, load: Any) -> None:
    told = EXPECTED["models"][name]
    dtype, tolerance = told["dtype"], TOLERANCE[told["dtype"]]
    if load is sw.load and dtype == "bfloat16":
        with pytest.raises(sw.FileError, match=r"bfloat16 weights.*sw\.nn\.load"):
            load(FOLDER / f"{name}.safetensors")
        return
    model = load(FOLDER / f"{name}.safetensors", cells=[Leaky])
    assert model.architecture == MODELS[name][0]
    assert model.architecture.fingerprint == told["fingerprint"]
    assert model.fingerprint() == told["weights"]
    x = np.array(told["inputs"])
    tokens = x.dtype.kind == "i"
    if load is sw.nn.load:
        x = torch.from_numpy(x).to(torch.int64 if tokens else getattr(torch, dtype))
    elif not tokens:
        x = x.astype(dtype)
    y, state = model(x[:, :5], lengths=[5, 3])
    assert_close(y, told["outputs"], tolerance)
    assert_state(state, told["state"], tolerance)
    saved = sw.State.load(FOLDER / f"{name}.state.safetensors")
    assert_state(saved, told["state"], 0.0)
    assert saved.origin.architecture == told["fingerprint"]
    assert saved.origin.weights() == told["weights"]
    if name == "bidirectional":
        with pytest.raises(sw.CarryError):
            model(x[:, 5:], saved)
        return
    y, state = model(x[:, 5:], saved)
    assert_close(y, told["later_outputs"], tolerance)
    assert_state(state, told["later_state"], tolerance)
    y, _ = model.step(x[:, 5], saved)
    assert_close(y, np.array(told["later_outputs"])[:, 0], tolerance)


def test_a_trace_opens_and_gives_states_to_go_on_from() -> None:
    told = EXPECTED["trace"]
    trace = sw.inspect.Trace.load(FOLDER / "trace.safetensors")
    assert list(trace) == list(told["values"])
    for name, values in told["values"].items():
        assert_close(trace[name], values, 1e-6)
    assert list(trace.labels) == told["labels"]
    assert_state(trace.after, told["after"], 1e-6)
    state = trace.state_at(3, sw.load(FOLDER / "lstm.safetensors"))
    assert_state(state, told["state_at_3"], 2e-6)


def test_a_training_run_resumes_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    told = EXPECTED["checkpoint"]
    checkpoint = shutil.copy(FOLDER / "checkpoint.safetensors", tmp_path)
    history, model = training(Path(checkpoint), resume=True)
    assert len(history.seconds) == 5
    for name in ("loss", "validation", "learning_rate"):
        assert_close(getattr(history, name), told[name], 1e-5)
    for name, weight in model.weights().items():
        assert_close(weight, told["weights"][name], 1e-4)


def test_a_forecaster_opens_forecasts_and_is_updated(tmp_path: Path) -> None:
    told = EXPECTED["forecaster"]
    folder = shutil.copytree(FOLDER / "forecaster", tmp_path / "forecaster")
    forecaster = sw.Forecaster.load(folder)
    for name, new in (("forecast", None), ("forecast_after_update", frame(60, 63))):
        if new is not None:
            forecaster.update(new)
        forecast = forecaster.predict(4, level=[80])
        expected = pd.DataFrame(told[name]).assign(month=lambda f: pd.to_datetime(f["month"]))
        assert list(forecast) == list(expected)
        for column in ("shop", "month"):
            assert list(forecast[column]) == list(expected[column])
        for column in set(forecast) - {"shop", "month"}:
            assert_close(forecast[column].to_numpy(), expected[column].to_numpy(), 1e-6)
    forecaster.save(folder)
    again = sw.Forecaster.load(folder).predict(4)
    assert_close(again.iloc[:, 2].to_numpy(), forecast.iloc[:, 2].to_numpy(), 1e-12)


def test_a_store_opens_and_its_sessions_go_on(tmp_path: Path) -> None:
    told = EXPECTED["store"]
    x, y = told["inputs"], np.array(told["outputs"])
    store = shutil.copy(FOLDER / "store.db", tmp_path)
    served = ServedModel.read("lstm", FOLDER / "lstm.safetensors", 4)

    async def work() -> None:
        async with Engine([served], SqliteStore(store)) as engine:
            listed, _ = await engine.list("shop")
            assert [(info.id, info.step) for info in listed] == [("till", 4), ("what-if", 3)]
            again = await engine.step("shop", "till", x[3], request_id="monday")
            assert again.step == 4, "answered once already: nothing is stepped"
            assert_close(again.outputs, told["monday"], 0.0)
            rest = await engine.step("shop", "till", x[4:], step=4)
            assert_close(rest.outputs, y[4:], 2e-6)
            forked = await engine.step("shop", "what-if", x[3:])
            assert_close(forked.outputs, y[3:], 2e-6)
            await engine.rollback("shop", "till", told["snapshot"])
            back = await engine.step("shop", "till", x[3:], step=3)
            assert_close(back.outputs, y[3:], 2e-6)

    asyncio.run(work())
