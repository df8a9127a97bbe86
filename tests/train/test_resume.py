"""A run that was interrupted and goes on ends, bit for bit, where one that was not ends."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.optim import lr_scheduler

import statewise as sw
from statewise import checkpoint
from statewise.train.nested import join, split

from .runs import CrashError, Interrupting, model, same, waves, weights

NOISY = (sw.LSTM(4), sw.Dropout(0.3), sw.Zoneout(sw.GRU(3), 0.2))
LONG = {"lanes": 2, "chunk": 16}

VARIANTS = {
    "adam": {},
    "dropout": {"layers": NOISY},
    "reference": {"layers": NOISY, "executor": "reference"},
    "never": {"streams": {"carry": "never"}},
    "epoch": {"layers": NOISY, "streams": {"carry": "epoch"}},
    "shuffle": {"streams": {"shuffle": True, "seed": 3, "lanes": 2, "burn_in": 2}},
    "momentum": {"optimizer": functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9)},
    "rmsprop": {"optimizer": "rmsprop", "clip": None},
    "cosine": {"schedule": lambda own: lr_scheduler.CosineAnnealingLR(own, 3)},
    "steps": {"schedule": lambda own: lr_scheduler.MultiStepLR(own, [1, 1, 2])},
    "lambda": {"schedule": lambda own: lr_scheduler.LambdaLR(own, lambda epoch: 0.9**epoch)},
    "sequence": {
        "schedule": lambda own: lr_scheduler.SequentialLR(
            own, [lr_scheduler.ConstantLR(own), lr_scheduler.ExponentialLR(own, 0.5)], [2]
        )
    },
    "plateau": {
        "schedule": lambda own: lr_scheduler.ReduceLROnPlateau(own, patience=0),
        "validation": True,
        "learning_rate": 0.3,
    },
    "patience": {
        "layers": NOISY,
        "validation": True,
        "epochs": 9,
        "patience": 3,
        "min_delta": 10.0,  # no epoch but the first falls by as much
        "learning_rate": 0.5,
    },
    "float64": {"dtype": torch.float64},
    "bfloat16": {"dtype": torch.bfloat16},
}


def run(layers=(), executor="auto", dtype=torch.float32, streams=None, validation=False, **options):
    """Train from the same start, and give everything that training touches."""
    resumed = options.get("resume", False) and options["checkpoint"].exists()
    torch.manual_seed(99 if resumed else 7)
    net = model(*layers, executor=executor, dtype=dtype, seed=5 if resumed else 0)
    packed = sw.Streams(waves(61, 3), **{**LONG, **(streams or {})}, dtype=dtype)
    held_out = sw.Streams(waves(40, 2, seed=1), dtype=dtype) if validation else None
    options = {"epochs": 4, "learning_rate": 0.02, "loss": Interrupting(), **options}
    history = sw.fit(net, packed, validation=held_out, **options)
    return history, weights(net), torch.get_rng_state()


def assert_equal(one, other):
    (history, own, rng), (its_history, its, its_rng) = one, other
    for name in ("epoch", "loss", "validation", "learning_rate", "gradient_norm", "stopped"):
        assert getattr(history, name) == getattr(its_history, name)
    assert history.best_epoch == its_history.best_epoch
    assert history.state == its_history.state
    assert same(own, its)
    assert torch.equal(rng, its_rng)


def crash():
    raise CrashError


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("at", [6, 14])
def test_a_crash_between_two_chunks_changes_nothing(name, at, tmp_path):
    options = {**VARIANTS[name], "checkpoint": tmp_path / "run.safetensors", "every": 3}
    whole = run(**VARIANTS[name])
    with pytest.raises(CrashError):
        run(**options, loss=Interrupting(at, crash))
    assert_equal(run(**options, resume=True), whole)


def test_a_crash_in_every_chunk_changes_nothing(tmp_path):
    options = {"layers": NOISY, "streams": {"lanes": 1, "chunk": 80}}
    whole = run(**options, epochs=3)
    options |= {"epochs": 3, "checkpoint": tmp_path / "run.safetensors", "every": 1}
    for _ in range(8):
        with pytest.raises(CrashError):
            run(**options, loss=Interrupting(1, crash), resume=True)
    assert_equal(run(**options, resume=True), whole)


def test_what_came_after_the_checkpoint_is_done_again(tmp_path):
    """Written every fourth chunk only: the crash comes three chunks later."""
    options = {"layers": NOISY, "checkpoint": tmp_path / "run.safetensors", "every": 4}
    whole = run(layers=NOISY)
    with pytest.raises(CrashError):
        run(**options, loss=Interrupting(7, crash))
    assert_equal(run(**options, resume=True), whole)


def test_a_run_that_is_done_is_done(tmp_path):
    options = {**VARIANTS["patience"], "checkpoint": tmp_path / "run.safetensors"}
    whole = run(**options)
    assert whole[0].stopped == "patience"
    again = run(**options, resume=True, loss=Interrupting(0, crash))
    assert_equal(again, whole)


def test_more_epochs_go_on_from_the_last_weights_not_the_best(tmp_path):
    options = {"validation": True, "learning_rate": 0.3, "checkpoint": tmp_path / "run.safetensors"}
    run(**options, epochs=2, patience=9)
    longer = run(**options, epochs=5, patience=9, resume=True)
    assert_equal(longer, run(**{**options, "checkpoint": None}, epochs=5, patience=9))


def test_without_a_file_the_run_starts_anew(tmp_path):
    path = tmp_path / "run.safetensors"
    torch.manual_seed(7)
    net, other = model(), model()
    streams = sw.Streams(waves(81, 3), **LONG)
    history = sw.fit(net, streams, epochs=2, checkpoint=path, resume=True)
    assert history.loss == sw.fit(other, streams, epochs=2).loss
    assert path.exists()
    assert sw.fit(model(), streams, epochs=2, checkpoint=path).loss == history.loss


# Ctrl-C


@pytest.mark.parametrize(
    ("at", "place"), [(5, "epoch 0, chunk 6"), (7, "epoch 0, chunk 8"), (10, "epoch 1, chunk 3")]
)
def test_ctrl_c_lets_the_chunk_finish_and_keeps_the_run(at, place, tmp_path):
    options = {"layers": NOISY, "checkpoint": tmp_path / "run.safetensors"}
    before = signal.getsignal(signal.SIGINT)
    interrupted = Interrupting(at, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match=rf"{place} .*go on with resume=True"):
        run(**options, loss=interrupted)
    assert interrupted.calls == at + 1
    assert signal.getsignal(signal.SIGINT) is before
    assert_equal(run(**options, resume=True), run(layers=NOISY))


def test_ctrl_c_in_validation_keeps_the_run(tmp_path):
    options = {**VARIANTS["cosine"], "layers": NOISY, "validation": True}
    kept = {"checkpoint": tmp_path / "run.safetensors"}
    interrupted = Interrupting(8, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match="epoch 0, chunk 8 "):
        run(**options, **kept, loss=interrupted)
    assert_equal(run(**options, **kept, resume=True), run(**options))


def test_a_second_ctrl_c_interrupts_at_once(tmp_path):
    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    path = tmp_path / "run.safetensors"
    interrupted = Interrupting(2, twice)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint=path, loss=interrupted)
    assert interrupted.calls == 2
    assert not path.exists()


def test_ctrl_c_without_a_checkpoint_says_that_nothing_is_saved():
    with pytest.raises(KeyboardInterrupt, match="the run is not saved"):
        run(loss=Interrupting(2, lambda: signal.raise_signal(signal.SIGINT)))


def test_ctrl_c_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run(epochs=1, loss=Interrupting(1, lambda: signal.raise_signal(signal.SIGINT)))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_in_another_thread_leaves_signals_alone():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        history, _, _ = pool.submit(run, epochs=1).result()
    assert history.stopped == "epochs"


SCRIPT = """
import pathlib, sys, time, torch
torch.set_num_threads(1)
from tests.train.runs import Interrupting
from tests.train.test_resume import NOISY, run
run(layers=NOISY, checkpoint=pathlib.Path(sys.argv[1]), every=1,
    loss=Interrupting(13, lambda: (print("there", flush=True), time.sleep(60))))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are sent to another process")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_is_killed_goes_on_in_another(sent, tmp_path):
    path = tmp_path / "run.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "there\n", process.stderr.read()
        process.send_signal(sent)
        if sent == signal.SIGINT:  # the first lets the chunk finish, and its sleep with it
            time.sleep(0.2)
            process.send_signal(sent)
        _, said = process.communicate(timeout=60)
    assert process.returncode == -sent, said
    assert ("KeyboardInterrupt" in said) == (sent == signal.SIGINT)
    resumed = run(layers=NOISY, checkpoint=path, every=1, resume=True)
    assert_equal(resumed, run(layers=NOISY))


# The file


def test_a_run_of_another_setup_is_refused_with_what_differs(tmp_path):
    path = tmp_path / "run.safetensors"
    options = {"checkpoint": path, "epochs": 1}
    run(**options)
    for other, message in (
        ({"layers": (sw.LSTM(5),)}, r"architecture.layers.0 was .*\"units\": 4.* is .*5"),
        ({"layers": NOISY}, r"architecture.layers.1 was None"),
        ({"streams": {"lanes": 3}}, "streams.lanes was 2 and is 3"),
        ({"streams": {"chunk": 5}}, "streams.chunk was 16 and is 5"),
        ({"streams": {"shuffle": True}}, "streams.shuffle was False and is True"),
        ({"streams": {"carry": "never"}}, "streams.carry was 'stream' and is 'never'"),
        ({"loss": "mse"}, "loss was 'Interrupting' and is 'mse'"),
        ({"optimizer": "sgd"}, "optimizer was 'Adam' and is 'SGD'"),
        ({"schedule": lr_scheduler.ReduceLROnPlateau}, "schedule was None"),
        ({"validation": True}, "validation.sequences was None and is 2; .*and 7 more"),
        ({"dtype": torch.float64}, "dtype was 'torch.float32' and is 'torch.float64'"),
    ):
        with pytest.raises(sw.TrainingError, match=message):
            run(**{**options, **other}, resume=True)


def test_a_schedule_keeps_the_learning_rate_it_started_from(tmp_path):
    options = {"checkpoint": tmp_path / "run.safetensors", "epochs": 1}
    options["schedule"] = functools.partial(lr_scheduler.StepLR, step_size=1)
    run(**options)
    with pytest.raises(sw.TrainingError, match=r"started with learning_rate=0.02, got 0.1"):
        run(**options, resume=True, learning_rate=0.1)


def test_the_file_holds_tensors_and_json_and_nothing_else(tmp_path):
    path = tmp_path / "run.safetensors"
    run(checkpoint=path, epochs=2, layers=NOISY)
    arrays, metadata = checkpoint.read(path, "statewise.training")
    groups = {name.partition(".")[0] for name in arrays}
    assert groups == {"weights", "best", "optimizer", "state", "random"}
    assert json.loads(metadata["run"])["epoch"] == 2
    assert json.loads(metadata["setup"])["streams.lanes"] == 2


def test_other_files_and_damaged_ones_are_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    model().save(path)
    with pytest.raises(sw.FileError, match=r"expected a statewise.training file"):
        run(checkpoint=path, resume=True)
    run(checkpoint=path, epochs=1)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(sw.FileError, match="truncated"):
        run(checkpoint=path, resume=True)
    checkpoint.write(path, "statewise.training", {}, {"setup": "{}"})
    with pytest.raises(sw.FileError, match="not a checkpoint of this run"):
        run(checkpoint=path, resume=True)


def test_a_schedule_that_only_code_could_restore_is_refused(tmp_path):
    class Grows(lr_scheduler.LRScheduler):
        def __init__(self, optimizer):
            self.by = object()
            super().__init__(optimizer)

        def get_lr(self):
            return [group["lr"] for group in self.optimizer.param_groups]

    with pytest.raises(sw.TrainingError, match=r"schedule.by holds a object"):
        run(checkpoint=tmp_path / "run.safetensors", epochs=1, schedule=Grows)
    run(epochs=1, schedule=Grows)


def test_nested_state_comes_back_as_it_was():
    import collections

    import numpy as np

    nested = {
        "a": [1, 2.5, None, True, "x", float("inf")],
        3: (torch.arange(3), {"b": torch.tensor(2.0)}),
        "counted": collections.Counter({5: 2}),
        "numpy": np.float64(0.1),
    }
    arrays = {}
    written = json.loads(json.dumps(split(nested, "state", arrays)))
    assert set(arrays) == {"state.3.0", "state.3.1.b"}
    back = join(written, {name: array.numpy() for name, array in arrays.items()})
    assert back["a"] == nested["a"]
    assert isinstance(back[3], tuple)
    assert torch.equal(back[3][0], nested[3][0])
    assert back[3][1]["b"].shape == ()
    assert back["counted"] == nested["counted"]
    assert isinstance(back["counted"], collections.Counter)
    assert back["numpy"] == 0.1
