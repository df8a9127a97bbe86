"""The slot table: steps in place, and handles that never reach another's state."""

import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import statewise as sw
from statewise.runtime import Model

ARCHITECTURE = sw.Architecture(
    sw.Vector(3),
    [
        sw.LSTM(10, learned_state=True),
        sw.Dropout(0.1),
        sw.Residual(sw.GRU(10)),
        sw.LSTM(7, peepholes=True),
        sw.Elman(5),
    ],
    sw.Linear(2, remember=True),
)
FALLBACK = sw.Architecture(sw.Vector(3), [sw.LSTM(10, coupled=True), sw.Dropout(0.2)])


def model(architecture=ARCHITECTURE, dtype=np.float32):
    rng = np.random.default_rng(0)
    arrays = {
        name: (value + 0.1 * rng.standard_normal(value.shape)).astype(dtype)
        for name, value in architecture.draw(0).items()
    }
    return Model(architecture, arrays)


@pytest.fixture(params=["native", "fallback"])
def table(request):
    return sw.SlotTable(model(ARCHITECTURE if request.param == "native" else FALLBACK), 8)


X = np.random.default_rng(5).standard_normal((20, 8, 3)).astype(np.float32)


def test_steps_equal_those_of_the_model(table, threads):
    program = table.model
    slots = [table.open() for _ in range(6)]
    states = {slot: program.initial_state(1) for slot in slots}
    rng = np.random.default_rng(0)
    for t in range(20):
        chosen = rng.permutation(slots)[: rng.integers(0, 7)]
        y = table.step(chosen, X[t, : len(chosen)])
        for i, slot in enumerate(chosen.tolist()):
            expected, states[slot] = program.step(X[t, i : i + 1], states[slot])
            np.testing.assert_allclose(y[i], expected[0], atol=1e-6)
    for slot in slots:
        assert table.read(slot).allclose(states[slot], atol=1e-6)


def test_a_large_table_on_every_instruction_set(isa, threads):
    program = model(sw.Architecture(sw.Vector(40), [sw.GRU(130, reset="before"), sw.LSTM(130)]))
    table = sw.SlotTable(program, 300)
    slots = np.array([table.open() for _ in range(300)])
    x = np.random.default_rng(0).standard_normal((300, 40)).astype(np.float32)
    order = np.random.default_rng(1).permutation(300)
    y = table.step(slots[order], x[order])
    expected, _ = program.step(x)
    np.testing.assert_allclose(y, expected[order], atol=1e-5)


def test_open_with_a_state_write_and_fork(table):
    a = table.open()
    table.step([a], X[0, :1])
    b, c = table.fork(a), table.open(table.read(a))
    table.step([b], X[1, :1])
    assert table.read(a) == table.read(c)
    assert table.read(a) != table.read(b)
    table.write(a, table.read(b))
    assert table.read(a) == table.read(b)
    assert table.read(a).position.tolist() == [2]


def test_a_closed_handle_is_stale_even_when_its_slot_is_open_again(table):
    a = table.open()
    table.close(a)
    b = table.open()
    assert a != b
    for use in (
        lambda: table.read(a),
        lambda: table.close(a),
        lambda: table.fork(a),
        lambda: table.write(a, table.read(b)),
        lambda: table.step([b, a], X[0, :2]),
    ):
        with pytest.raises(sw.SlotError, match="not open"):
            use()
    assert table.read(b).position.tolist() == [0], "a refused step moved another session"


@pytest.mark.parametrize("bad", [0, -1, 7, 2**40, 2**62, -(2**40), 1 << 32 | 8, 2 << 32])
def test_handles_never_given_out(table, bad):
    table.open()
    for use in (lambda: table.read(bad), lambda: table.step([bad], X[0, :1])):
        with pytest.raises(sw.SlotError):
            use()


def test_a_slot_listed_twice(table):
    a, b = table.open(), table.open()
    with pytest.raises(sw.SlotError, match="twice"):
        table.step([a, b, a], X[0, :3])
    assert table.read(b).position.tolist() == [0]
    table.step([a, b], X[0, :2])


def test_inputs_and_handles_that_do_not_fit(table):
    a = table.open()
    for slots, x in (
        ([a], X[0, :2]),
        ([a], X[0, :1].astype(np.float64)),
        ([a], X[0, :1, :2]),
        ([a], X[0, 0]),
    ):
        with pytest.raises(sw.InputError):
            table.step(slots, x)
    for slots in ([[a]], [float(a)], ["a"], [True]):
        with pytest.raises(sw.SlotError):
            table.step(slots, X[0, :1])
    with pytest.raises(sw.SlotError):
        table.read("a")
    with pytest.raises(sw.StateError):
        table.open(table.model.initial_state(2))
    np.testing.assert_allclose(
        table.step([a], X[0, :4][::4]), table.model.step(X[0, :1])[0], atol=1e-6
    )


def test_a_full_table(table):
    slots = [table.open() for _ in range(8)]
    assert len(table) == 8
    with pytest.raises(sw.SlotError, match="8 slots are open"):
        table.open()
    table.close(slots[3])
    table.open()


def test_a_reused_slot_begins_anew(table):
    a = table.open()
    table.step([a], X[0, :1])
    table.close(a)
    b = table.open()
    assert table.read(b) == table.model.initial_state(1)


@pytest.mark.parametrize("capacity", [0, -1, 1.5, True, 2**40])
def test_capacities(capacity):
    with pytest.raises(sw.InputError):
        sw.SlotTable(model(), capacity)


def test_a_program_is_a_loaded_model():
    with pytest.raises(sw.InputError, match=r"sw\.load"):
        sw.SlotTable(ARCHITECTURE, 4)


def test_threads_step_their_own_sessions(table):
    slots = [table.open() for _ in range(8)]

    def work(mine):
        for t in range(20):
            table.step(mine, X[t, : len(mine)])

    workers = [threading.Thread(target=work, args=(slots[i : i + 2],)) for i in range(0, 8, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    _, expected = table.model(X[:, :2].transpose(1, 0, 2).copy())
    for i, slot in enumerate(slots):
        assert table.read(slot).allclose(expected.rows(i % 2), rtol=1e-4, atol=1e-5)


class Sessions(RuleBasedStateMachine):
    """A table beside a dictionary of states: whatever is done, they agree."""

    def __init__(self):
        super().__init__()
        self.table = sw.SlotTable(model(), 4)
        self.states = {}
        self.stale = []

    @precondition(lambda self: len(self.states) < 4)
    @rule()
    def open(self):
        self.states[self.table.open()] = self.table.model.initial_state(1)

    @precondition(lambda self: 0 < len(self.states) < 4)
    @rule(data=st.data())
    def fork(self, data):
        slot = data.draw(st.sampled_from(sorted(self.states)))
        self.states[self.table.fork(slot)] = self.states[slot]

    @precondition(lambda self: self.states)
    @rule(data=st.data())
    def close(self, data):
        slot = data.draw(st.sampled_from(sorted(self.states)))
        self.table.close(slot)
        del self.states[slot]
        self.stale.append(slot)

    @rule(data=st.data(), t=st.integers(0, 19))
    def step(self, data, t):
        chosen = [slot for slot in sorted(self.states) if data.draw(st.booleans())]
        self.table.step(np.array(chosen, np.int64), X[t, : len(chosen)])
        for i, slot in enumerate(chosen):
            _, self.states[slot] = self.table.model.step(X[t, i : i + 1], self.states[slot])

    @invariant()
    def agree(self):
        assert len(self.table) == len(self.states)
        for slot, state in self.states.items():
            assert self.table.read(slot).allclose(state, rtol=1e-4, atol=1e-5)
        for slot in self.stale:
            with pytest.raises(sw.SlotError):
                self.table.read(slot)


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
