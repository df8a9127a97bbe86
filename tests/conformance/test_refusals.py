"""Facts 17, 18 and 21: a state that does not fit is refused, and the error says why."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

import statewise as sw

from .executors import EXECUTORS
from .facts import ROWS, close, incoming, over, same, same_state, x_of
from .zoo import ZOO

BOTH_WAYS = [name for name in ZOO if name.startswith("bidirectional")]


@over(BOTH_WAYS)
def test_a_bidirectional_layer_refuses_a_carry(subject):
    x = x_of(subject)
    y, state = subject(x)
    with pytest.raises(sw.CarryError, match=r"rows \[0, 1, 2, 3\] come with a carry.*Call the mod"):
        subject(x, state)
    with pytest.raises(sw.CarryError, match=r"rows \[2\]"):
        subject(x, state, reset=np.eye(ROWS, x.shape[1], dtype=bool)[[0, 0, 1, 0]])
    with pytest.raises(sw.CarryError, match="cannot be stepped"):
        subject.step(x[:, 0])
    reset = np.zeros(x.shape[:2], dtype=bool)
    reset[:, 0] = True
    again, end = subject(x, state, reset=reset)
    same(again, y)
    same_state(end, state)
    _, kept = subject(x, state, lengths=np.zeros(ROWS, dtype=int))
    same_state(kept, state)


@over(BOTH_WAYS)
def test_a_bidirectional_layer_takes_a_state_without_history(subject):
    x, start = x_of(subject), incoming(subject)
    y, _ = subject(x)
    again, _ = subject(x, start)
    same(again, y)
    seeded = start.map(lambda a: a + 1 if "float" in str(a.dtype) else a)
    y, _ = subject(x, seeded)
    reset = np.zeros(x.shape[:2], dtype=bool)
    reset[:, 4] = True
    cut, _ = subject(x, seeded, reset=reset)
    first, _ = subject(x[:, :4], seeded)
    second, _ = subject(x[:, 4:])
    close(subject, cut, np.concatenate([first, second], axis=1))


def layouts(rows):
    """A torch user's states for `rows` rows of LSTM(4) and what is wrong with each."""
    stacked = np.zeros((2, rows, 4), dtype=np.float32)
    h = np.zeros((rows, 4), dtype=np.float32)
    return {
        "expected a statewise State, got tuple": (stacked, stacked),
        "expected a statewise State, got ndarray": stacked,
        "expected a statewise State, got list": [h, h],
        "expected a statewise State, got dict": {"0.h": h, "0.c": h},
    }


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("rows", [2, 4])
def test_a_state_in_another_layout_raises(opened, executor, rows):
    subject = opened("lstm", executor, "float32")
    x = x_of(subject, rows=rows)
    for message, state in layouts(rows).items():
        for call in (subject, lambda x, s: subject.step(x[:, 0], s)):
            with pytest.raises(sw.StateError, match=message + r".*batch, hidden"):
                call(x, state)
    layers_first = np.zeros((2, rows, 4), dtype=np.float32)  # fits where layers equal batch
    with pytest.raises(sw.StateError, match=r"rows|must have shape"):
        subject(x, sw.State({"0.h": layers_first, "0.c": layers_first}))


def test_a_state_with_features_first_raises(opened):
    subject = opened("lstm", "runtime", "float32")
    swapped = np.zeros((4, 2), dtype=np.float32)
    with pytest.raises(sw.StateError, match="the state has 4 rows and the inputs have 2"):
        subject(x_of(subject, rows=2), sw.State({"0.h": swapped, "0.c": swapped}))


def reshaped(name, array):
    return lambda state: sw.State({**state, name: array})


F32 = {"dtype": np.float32}
WRONG = {
    r"'0.h' must have shape \(4, 4\), got \(4, 3\)": reshaped("0.h", np.zeros((4, 3), **F32)),
    r"'0.c' must have shape \(4, 4\), got \(4, 1, 4\)": reshaped("0.c", np.zeros((4, 1, 4), **F32)),
    r"'0.h' must be float32 in a model that computes in float32, got float64; convert": reshaped(
        "0.h", np.zeros((4, 4))
    ),
    r"'0.z' is not among its fields.*remembers 0.h, 0.c": reshaped("0.z", np.zeros((4, 4), **F32)),
    r"'0.c' is missing": lambda state: sw.State({"0.h": state["0.h"]}, state.position),
    r"the state has 3 rows and the inputs have 4; choose rows": lambda state: sw.State(
        dict(state.rows([0, 1, 2])), [0, 0, 0]
    ),
}


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("message", WRONG)
def test_a_state_that_does_not_fit_says_what_and_why(opened, executor, message):
    subject = opened("lstm", executor, "float32")
    x = x_of(subject)
    state = WRONG[message](subject(x)[1].numpy())
    for call in (
        lambda: subject(x, state),
        lambda: subject.step(x[:, 0], state),
        lambda: subject(x, initial=state),
        lambda: subject.trace(x, state),
    ):
        with pytest.raises(sw.StateError, match=message):
            call()


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_state_of_another_architecture_is_refused(opened, executor, tmp_path):
    subject = opened("gru after", executor, "float32")
    other = opened("gru before", executor, "float32")  # the same fields, and other equations
    x = x_of(subject)
    _, state = other(x)
    state.save(tmp_path / "s.safetensors")
    theirs, mine = other.architecture.fingerprint, subject.architecture.fingerprint
    for wrong in (state, sw.State.load(tmp_path / "s.safetensors")):
        with pytest.raises(sw.StateError, match=f"expected fingerprint {mine}, got {theirs}"):
            subject(x, wrong)
        subject(x, sw.State(dict(wrong), wrong.position))  # the way out that the error names


def with_other_weights(path, name, executor):
    from .zoo import weights

    sw.runtime.Model(ZOO[name], weights(ZOO[name], seed=9)).save(path)
    return EXECUTORS[executor](path)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("origin", EXECUTORS)
def test_a_state_of_other_weights_is_flagged(opened, executor, origin, tmp_path):
    subject = opened("lstm", executor, "float32")
    path = tmp_path / "other.safetensors"
    other = with_other_weights(path, "lstm", origin)
    x = x_of(subject)
    _, state = other(x)
    state.save(tmp_path / "s.safetensors")
    for wrong in (state, sw.State.load(tmp_path / "s.safetensors")):
        with pytest.warns(sw.WeightsChangedWarning, match="other weights") as caught:
            subject(x, wrong)
        assert caught[0].filename.endswith("executors.py"), "the warning points at the call"
        with warnings.catch_warnings():
            warnings.simplefilter("error", sw.WeightsChangedWarning)
            with pytest.raises(sw.WeightsChangedWarning):
                subject.step(x[:, 0], wrong)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("origin", EXECUTORS)
def test_the_same_weights_go_without_a_warning(opened, executor, origin, tmp_path):
    subject, other = opened("lstm", executor, "float32"), opened("lstm", origin, "float32")
    x = x_of(subject)
    _, state = other(x)
    state.save(tmp_path / "s.safetensors")
    subject(x, state)
    subject(x, sw.State.load(tmp_path / "s.safetensors"))
    again = EXECUTORS[executor](subject.path)
    again(x, state)


def test_training_on_does_not_flag_ones_own_state(tmp_path):
    model, x = sw.nn.Model(ZOO["lstm"]), torch.randn(2, 3, 2)
    _, state = model(x)
    state.save(tmp_path / "s.safetensors")
    with torch.no_grad():
        model.weights()["0.W"].add_(1.0)
    model(x, state.detach())  # a training loop carries its states over updates
    with pytest.warns(sw.WeightsChangedWarning):
        model(x, sw.State.load(tmp_path / "s.safetensors"))


def test_a_state_whose_weights_have_changed_since_claims_none(tmp_path):
    model, x = sw.nn.Model(ZOO["lstm"]), torch.randn(2, 3, 2)
    _, state = model(x)
    with torch.no_grad():
        model.weights()["0.W"].add_(1.0)
    state.save(tmp_path / "s.safetensors")
    loaded = sw.State.load(tmp_path / "s.safetensors")
    assert loaded.origin.weights() is None
    model(x, loaded)


def test_warnings_come_once_by_default():
    code = (
        "import numpy as np, statewise as sw, sys\n"
        "arch = sw.Architecture(sw.Vector(1), [sw.Elman(1)])\n"
        "a, b = (sw.runtime.Model(arch, arch.draw(seed)) for seed in (0, 1))\n"
        "x = np.zeros((1, 2, 1))\n"
        "_, state = a(x)\n"
        "for _ in range(3):\n"
        "    b(x, state)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("WeightsChangedWarning") == 1
    assert "<string>:7:" in done.stderr
