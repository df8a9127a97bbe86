import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import statewise as sw
from statewise import kernels
from statewise.cli import doctor

FAST = ["--epochs", "3", "--repeats", "2", "--units", "2"]


def call(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command as a user runs it, in a process of its own."""
    code = "from statewise.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100"},
        check=False,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "run"
    done = call("forecast", "--out", folder, "--horizon", "5", "--level", "80", *FAST)
    assert done.returncode == 0, done.stderr
    assert "shampoo: 1 series of 36 steps, one every month, 0001-01-01 to 0003-12-01" in done.stdout
    for word in ("reset", "window", "seed", "carry", "persistence", "86.7", "136.8", "Best policy"):
        assert word in done.stdout
    return folder


def test_forecast_leaves_its_files(run: Path) -> None:
    names = {
        "model.safetensors",
        "state.safetensors",
        "forecast.csv",
        "forecast.png",
        "report.json",
    }
    assert {path.name for path in run.iterdir()} == names
    assert (run / "forecast.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((run / "report.json").read_text())
    assert len(report["policies"]["seed"]["rmse"]["repeats"]) == 2
    written = pd.read_csv(run / "forecast.csv")
    assert list(written.columns) == ["Month", "statewise", "statewise-lo-80", "statewise-hi-80"]
    assert written.Month.iloc[0].startswith("0004-01-01")
    np.testing.assert_allclose(written.statewise, [row["statewise"] for row in report["forecast"]])


def test_state_shows_what_is_held(run: Path) -> None:
    for target in (run, run / "state.safetensors"):
        done = call("state", target)
        assert done.returncode == 0, done.stderr
        for word in ("2.h", "2.c", "float64", "architecture", "weights", "series", "36"):
            assert word in done.stdout
    summary = json.loads(call("state", run, "--json").stdout)
    assert summary["positions"] == [36]
    assert summary["series"] == ["series"]


def test_update_goes_on_without_retraining(run: Path, tmp_path: Path) -> None:
    rows = tmp_path / "new.csv"
    rows.write_text("Month,Sales\n4-01,650\n4-02,600.5\n")
    before = (run / "model.safetensors").read_bytes()
    done = call("update", run, rows)
    assert done.returncode == 0, done.stderr
    assert "2 new rows consumed; weights unchanged" in done.stdout
    assert len(pd.read_csv(run / "forecast.csv")) == 5
    assert pd.read_csv(run / "forecast.csv").Month.iloc[0].startswith("0004-03-01")
    assert (run / "model.safetensors").read_bytes() == before
    state = (run / "state.safetensors").read_bytes()
    again = call("update", run, rows)
    assert again.returncode == 2
    assert "already been read up to 0004-02-01" in again.stderr
    assert (run / "state.safetensors").read_bytes() == state


def test_json_is_all_there_is_on_standard_output(tmp_path: Path) -> None:
    done = call("forecast", "air-passengers", "--json", "--test", "6", *FAST)
    report = json.loads(done.stdout)
    assert report["baselines"]["persistence"]["rmse"]["mean"] > 0
    assert len(report["forecast"]) == 12


def test_several_series_from_a_parquet_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pd.DataFrame(
        {
            "shop": np.repeat(["x", "y"], 30),
            "day": list(pd.date_range("2024-01-01", periods=30)) * 2,
            "sold": rng.normal(size=60).cumsum(),
            "price": 1.0,
        }
    ).to_parquet(tmp_path / "s.parquet")
    words = ["forecast", tmp_path / "s.parquet", "--id", "shop", "--test", "5", *FAST]
    assert "name it with --value" in call(*words).stderr
    done = call(*words, "--value", "sold", "--out", tmp_path / "o")
    assert done.returncode == 0, done.stderr
    assert "2 series of 30 steps, one every day" in done.stdout
    assert len(pd.read_csv(tmp_path / "o" / "forecast.csv")) == 24


BAD = {
    "no file": (["forecast", "nowhere.csv"], "no file 'nowhere.csv'"),
    "horizon": (["forecast", "--horizon", "0"], "error: --horizon must be"),
    "test": (["forecast", "--test", "36"], "leaves 0 to learn from"),
    "no test": (["forecast", "--test", "0"], "error: --test must be"),
    "level": (["forecast", "--level", "eighty"], "--level takes percentages"),
    "level 100": (["forecast", "--level", "100"], "between 0 and 100"),
    "cell": (["forecast", "--cell", "qrnn"], "lstm, gru, elman"),
    "units": (["forecast", "--units", "0"], "--units must be a whole number of at least 1"),
    "column": (["forecast", "--value", "Profit"], "no column 'Profit' among Month, Sales"),
    "missing": (["forecast", "--missing", "drop"], "--missing must be one of error, skip"),
    "seed": (["forecast", "--seed", "-1"], "error: --seed must be a whole number of at least 0"),
    "epochs": (["forecast", "--epochs", "0"], "error: --epochs must be"),
    "repeats": (["forecast", "--repeats", "0"], "error: --repeats must be"),
    "season": (["forecast", "--season", "0"], "error: --season must be"),
    "plot": (["forecast", "--plot", "beer"], "there is no series 'beer'; there are 'series'"),
    "state": (["state", "nowhere.safetensors"], "does not exist"),
    "update": (["update", "nowhere", "rows.csv"], "no folder nowhere"),
    "option": (["forecast", "--horizons", "3"], "No such option"),
    "number": (["forecast", "--horizon", "many"], "--horizon"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_status_2(name: str, tmp_path: Path) -> None:
    words, message = BAD[name]
    done = call(*words, "--out", "o", cwd=tmp_path) if words[0] == "forecast" else call(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def write_shops(path: Path) -> Path:
    rng = np.random.default_rng(0)
    names = ["店一", "店二", "shop [b]"]
    pd.DataFrame(
        {
            "id": np.repeat(names, 20),
            "day": list(pd.date_range("2024-01-01", periods=20)) * 3,
            "sold": rng.normal(size=60).cumsum(),
        }
    ).to_csv(path / "shops.csv", index=False)
    return path / "shops.csv"


def test_chosen_series_are_drawn(tmp_path: Path) -> None:
    shops = write_shops(tmp_path)
    words = ["forecast", shops, "--test", "4", "--epochs", "1", "--repeats", "1", "--units", "1"]
    unknown = call(*words, "--plot", "店", "--out", tmp_path / "o")
    assert unknown.returncode == 2
    assert "there is no series '店'; did you mean '店二' or '店一'?" in unknown.stderr
    homeless = call(*words, "--plot", "店一")
    assert "--plot needs --out" in homeless.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"shops.csv"}
    done = call(*words, "--plot", "店一", "--plot", "shop [b]", "--out", tmp_path / "o")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "o" / "forecast.png").read_bytes().startswith(b"\x89PNG")
    assert "shop [b]" in done.stdout
    assert "1 epoch, 1 repeat; the last 4 steps are" in done.stdout


def test_missing_values_are_told_once_and_in_options(tmp_path: Path) -> None:
    holes = tmp_path / "holes.csv"
    rows = [f"{step},{'' if step == 7 else step % 5}" for step in range(20) if step != 11]
    holes.write_text("ds,y\n" + "\n".join(rows))
    words = ["forecast", holes, "--test", "1", "--epochs", "1", "--repeats", "1"]
    told = call(*words).stderr
    assert "the series has 1 value that is NaN or infinite, the first nan at 7; fix" in told
    assert "fix them, or pass --missing skip or --missing interpolate" in told
    done = call(*words, "--missing", "interpolate", "--out", tmp_path / "o")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: the series: interpolated 2 steps") == 1
    assert "the last step is forecast" in done.stdout
    new = tmp_path / "new.csv"
    new.write_text("ds,y\n22,1\n")
    gap = call("update", tmp_path / "o", new).stderr
    assert "the series has 2 missing times (one every step), the first after 19" in gap
    assert gap.strip().endswith("or pass --missing skip")
    assert "1 new row consumed" in call("update", tmp_path / "o", new, "--missing", "skip").stdout
    new.write_text("day,y\n23,1\n")
    assert "name the columns as the history does" in call("update", tmp_path / "o", new).stderr


def test_a_constant_series_and_a_damaged_state(tmp_path: Path, run: Path) -> None:
    flat = tmp_path / "flat.csv"
    flat.write_text("ds,y\n" + "".join(f"{2000 + i},7\n" for i in range(30)))
    assert "constant: every value is 7" in call("forecast", flat, *FAST).stderr
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes((run / "state.safetensors").read_bytes()[:200])
    assert "truncated" in call("state", torn).stderr
    assert "expected a statewise.state file" in call("state", run / "model.safetensors").stderr


def test_version_and_help() -> None:
    assert call("--version").stdout.strip() == sw.__version__
    for command in ("forecast", "update", "state", "doctor"):
        assert command in call("--help").stdout


def test_the_package_runs_as_a_module() -> None:
    words = [sys.executable, "-m", "statewise"]
    done = subprocess.run([*words, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == sw.__version__
    done = subprocess.run([*words, "forcast"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: No such command 'forcast'")


@pytest.mark.parametrize(
    ("words", "completed"),
    [("statewise fo", "forecast"), ("statewise serve --dur", "--durability")],
)
def test_a_shell_completes_commands_and_options_without_torch(words: str, completed: str) -> None:
    code = (
        "import sys\nfrom statewise.cli import main\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules)"
    )
    env = {"_STATEWISE_COMPLETE": "complete_bash", "COMP_WORDS": words}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **env, "COMP_CWORD": str(len(words.split()) - 1)},
        check=False,
    )
    assert done.stdout.splitlines() == [completed, "False"]


def test_completion_can_be_shown_and_installed(tmp_path: Path) -> None:
    script = f"{sys.executable} -m statewise --show-completion"
    env = {**os.environ, "HOME": str(tmp_path)}
    shown = subprocess.run(
        ["bash", "-c", f"{script}; true"], capture_output=True, text=True, env=env, check=True
    )
    assert "complete -o default -F _statewise_completion statewise" in shown.stdout
    script = script.replace("--show", "--install")
    subprocess.run(["bash", "-c", f"{script}; true"], capture_output=True, env=env, check=True)
    assert "statewise" in (tmp_path / ".bashrc").read_text()


def list_extras() -> dict[str, set[str]]:
    """The packages of every extra that users install, as pyproject.toml names them."""
    path = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(path.read_text())["project"]["optional-dependencies"]
    return {
        extra: {re.split(r"[^\w-]", one)[0] for one in needed if "statewise[" not in one}
        for extra, needed in extras.items()
        if extra not in {"all", "dev"}
    }


def test_doctor_lists_every_optional_package_and_what_installs_it() -> None:
    found = json.loads(call("doctor", "--json").stdout)
    extras = list_extras()
    for extra, needed in extras.items():
        for name in needed:
            assert name in found["packages"]
            assert name in extras[found["extras"][name]], f"{extra} installs {name}"
    for name in ("h5py", "polars"):
        assert name in found["packages"]


def test_doctor_says_how_to_install_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_find_version", lambda name: None)
    doctor.run(False)
    shown = {
        line.split()[0]: line.split(None, 1)[1] for line in capsys.readouterr().out.splitlines()
    }
    assert shown["keras"].strip() == "not installed: pip install 'statewise[keras]'"
    assert shown["h5py"].strip() == "not installed: pip install 'statewise[keras]'"
    assert shown["polars"].strip() == "not installed: pip install 'polars'"


def test_doctor_says_what_runs() -> None:
    found = json.loads(call("doctor", "--json").stdout)
    assert found["statewise"] == sw.__version__
    assert found["kernels"]["available"] == kernels.is_available()
    assert found["packages"]["numpy"] == np.__version__
    said = call("doctor").stdout
    assert ("native" if kernels.is_available() else "reference equations") in said
