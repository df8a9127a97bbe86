import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.test_cli import call
from tests.commands import error_lines

import statewise as sw
from statewise.inspect.exam import TASKS, exam
from statewise.inspect.exam.cells import build_cells, split_cells
from statewise.inspect.exam.tasks import SOURCES, find_tasks
from statewise.inspect.exam.training import measure_reach, train_model


def text(drawn, symbols):
    """The symbols that went in, and the sets that are asked for."""
    given = "".join(symbols[row.argmax()] for row in drawn.inputs)
    wanted = [
        "".join(s for s, one in zip(symbols, row, strict=True) if one) for row in drawn.targets
    ]
    return given, wanted


def draw(name, size, seed=0):
    return TASKS[name].draw(np.random.default_rng(seed), size)


def test_counting_languages_name_the_legal_next_symbols():
    assert text(draw("anbn", 2), "^$ab") == ("^aabb", ["a", "ab", "ab", "b", "$"])
    given, wanted = text(draw("anbncn", 2), "^$abc")
    assert given == "^aabbcc"
    assert wanted == ["a", "ab", "ab", "b", "c", "c", "$"]
    assert text(draw("anbn", 1), "^$ab")[1] == ["a", "ab", "$"]


@given(st.integers(1, 30), st.integers(0, 99))
def test_brackets_balance(pairs, seed):
    given, wanted = text(draw("dyck1", pairs, seed), "^$()")
    depth = 0
    for symbol, legal, after in zip(given, wanted, [*given[1:], "$"], strict=True):
        depth += {"(": 1, ")": -1, "^": 0}[symbol]
        assert depth >= 0
        assert set(legal) == (set("()") if depth else set("($"))
        assert after in legal
    assert depth == 0
    assert given.count("(") == pairs


@given(st.sampled_from([5, 12, 60]), st.integers(0, 99))
def test_reber_strings_follow_the_grammar(size, seed):
    given, wanted = text(draw("reber", size, seed), "BETPSXV")
    assert given[:1] + given[2:3] == "BB"
    assert given[1] == given[-1]
    assert wanted[0] == "TP"
    assert wanted[-2:] == [given[1], "E"]
    assert len(given) >= size + 3
    assert all(after in legal for legal, after in zip(wanted, given[1:], strict=False))


def test_tasks_of_memory_ask_for_what_was_seen():
    given, wanted = text(draw("recall", 7), "ABwxyz?")
    assert (len(given), wanted[-1]) == (9, given[0])
    assert not any(wanted[:-1])
    given, wanted = text(draw("order", 30, 4), "abcdXY?")
    order = "".join(symbol for symbol in given if symbol in "XY")
    assert wanted[-1] == dict(zip(["XX", "XY", "YX", "YY"], "abcd", strict=True))[order]
    one = draw("adding", 20)
    marked = one.inputs[one.inputs[:, 1] == 1, 0]
    assert len(marked) == 2
    assert one.targets[-1, 0] == pytest.approx(0.5 + marked.sum() / 4)
    given, wanted = text(draw("copy", 3), "abcd ?")
    assert "".join(wanted) == given[:5]
    assert given[5:] == "   ?????"
    given, wanted = text(draw("parity", 9), "01?")
    assert wanted[-1] == "01"[given.count("1") % 2]


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_the_answers_themselves_are_right_and_guesses_are_not(task):
    rng = np.random.default_rng(0)
    for size in (*task.learned, task.tested[-1]):
        drawn = task.draw(rng, size)
        answers = drawn.targets - 0.5 * (task.kind == "symbols")
        assert task.is_right(answers, drawn)
        wrong = -answers if task.kind == "symbols" else answers + 0.05
        assert not task.is_right(wrong, drawn)
    assert task.guess_rate(rng) < 0.6
    assert task.tested[0] <= task.learned[1]
    assert any(source[:3] in task.published for source in SOURCES) or not task.published


def test_the_outer_symbol_of_reber_is_judged_apart():
    task = TASKS["reber"]
    drawn = task.draw(np.random.default_rng(0), 8)
    answers = drawn.targets - 0.5
    for step in range(len(answers)):
        wrong = answers.copy()
        wrong[step] *= -1
        assert not task.is_right(wrong, drawn)
        assert task.is_key_right(wrong, drawn) == (step != len(answers) - 2)
    assert text(drawn, "BETPSXV")[1][-2] == text(drawn, "BETPSXV")[0][1]
    other = draw("anbn", 2)
    assert not TASKS["anbn"].is_key_right(other.targets - 0.5, other), "there is no such answer"


def test_a_cell_that_counts_reaches_every_size():
    """An LSTM by hand: its cell goes up with a and down with b."""
    task = TASKS["anbn"]
    arch = sw.Architecture(sw.Vector(4), [sw.LSTM(3)], sw.Linear(4))
    arrays = {name: np.zeros(p.shape, np.float32) for name, p in arch.parameters.items()}
    big, small = 50.0, 0.002
    W, b = arrays["0.W"].reshape(4, 3, 4), arrays["0.b"].reshape(4, 3)
    start, a, last_b = 0, 2, 3
    b[0] = b[1] = b[3] = big  # gates i, f, o open; nothing is forgotten but in units 1 and 2
    b[1, 1:] = -big
    W[2, 0, a], W[2, 0, last_b] = small, -small  # unit 0 counts
    W[2, 1, a] = big  # unit 1: was it an a?
    W[2, 2, start] = big  # unit 2: was it the start?
    V, v = arrays["outputs.W"], arrays["outputs.b"]
    one = np.tanh(1)
    V[1] = [-4000, -100, -100]  # the end: the count is at zero after b
    v[1] = 4
    V[2] = [0, 2, 2]  # a: after the start and after a
    v[2] = -one
    V[3] = [4000, 100, -100]  # b: while the count is above zero
    v[3] = -4
    model = sw.nn.Model(arch, weights=arrays)
    assert measure_reach(task, model, np.random.default_rng(0)) == task.tested[-1]


def test_an_exam_has_a_result_for_each_task_cell_and_seed():
    threads = torch.get_num_threads()
    results = exam(["recall", "anbn"], ["gru", "lstm"], seeds=1, units=12, seconds=0.1, jobs=1)
    assert [(one.task, one.cell, one.seed) for one in results] == [
        (task, cell, 0) for task in ("recall", "anbn") for cell in ("gru", "lstm")
    ]
    assert all(0 <= one.success <= 1 and one.sequences >= 512 for one in results)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(("task", "cell", "reach"), [("anbn", "lstm", 10), ("order", "gru", 30)])
def test_what_can_be_learned_is_learned(task, cell, reach):
    (one,) = exam([task], [cell], seeds=1, seconds=10, jobs=1)
    assert one.passed
    assert one.reach >= reach
    assert one.seconds >= 10, "training goes on after the task is learned"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exam(["anbm"]), "no task 'anbm'; there are anbn, anbncn"),
        (lambda: exam(cells=["rnn"]), "no cell 'rnn'; there are elman, lstm, gru"),
        (lambda: exam(cells=["rnn(3)"]), "no cell 'rnn'; there are elman, lstm, gru"),
        (lambda: exam(cells=["LSTM(3, peephole=True)"]), "peephole.*with options, 'LSTM"),
        (lambda: exam(cells=["LSTM(open('x'))"]), "cannot build the cell"),
        (lambda: exam(cells=["LSTM(3"]), "cannot read the cell"),
        (lambda: split_cells("LSTM(3, gru"), "cannot read the cells"),
        (lambda: split_cells(" "), "there is no cell in ' '"),
        (lambda: exam(seeds=0), "seeds"),
        (lambda: exam(units=True), "units"),
        (lambda: exam(seconds=0), "seconds"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(sw.InputError, match=message):
        call()


def test_no_names_are_all_tasks():
    assert find_tasks([]) == list(TASKS.values())


def test_cells_come_by_name_as_text_and_as_objects():
    built = build_cells(
        ["lstm", " GRU ", "elman", "lstm(3, peepholes=True, forget_bias=10)", sw.GRU(5)], 7, 2.0
    )
    assert built == [
        ("lstm", sw.LSTM(7, forget_bias=2.0)),
        ("gru", sw.GRU(7, update_bias=2.0)),
        ("elman", sw.Elman(7)),
        (
            "LSTM(3, peepholes=True, forget_bias=10)",
            sw.LSTM(3, peepholes=True, forget_bias=10),
        ),
        ("GRU(5)", sw.GRU(5)),
    ]
    text = 'elman, LSTM(3, peepholes=True, forget_bias=6), GRU(4, reset="before")'
    split = split_cells(text)
    assert len(split) == 3
    assert [cell for _, cell in build_cells(split, 1, 1.0)] == [
        sw.Elman(1), sw.LSTM(3, peepholes=True, forget_bias=6), sw.GRU(4, reset="before"),
    ]  # fmt: skip


def test_training_goes_on_and_keeps_the_best_round(monkeypatch):
    """The weights are those of the round with the largest share, and of those the least loss."""
    from statewise.inspect.exam import training

    shares, losses = [0.5, 1.0, 1.0, 1.0, 0.9], [5.0, 2.0, 1.0, 3.0, 0.5]
    rounds = []

    class Clock:
        @staticmethod
        def thread_time():
            return float(len(rounds))

    def fit(model, *_, **__):
        rounds.append(len(rounds))
        with torch.no_grad():
            model.weights()["outputs.b"].fill_(len(rounds))
        return sw.train.History(loss=[losses[len(rounds) - 1]])

    monkeypatch.setattr(training, "time", Clock)
    monkeypatch.setattr("statewise.train.fit", fit)
    monkeypatch.setattr(training, "measure_share", lambda *_: shares[len(rounds) - 1])
    model = sw.nn.Model(sw.Architecture(sw.Vector(4), [sw.LSTM(2)], sw.Linear(4)), seed=0)
    learned, spent, loss = train_model(TASKS["anbn"], model, np.random.default_rng(0), 5.0, 1e-3)
    assert (learned, spent, loss) == (5 * 512, 5.0, 1.0)
    assert model.weights()["outputs.b"].tolist() == [3.0] * 4


def test_the_command_prints_a_table():
    cells = "gru,LSTM(3, forget_bias=10)"
    words = ["exam", "anbn", "reber", "--cells", cells, "--seeds", 2, "--seconds", 0.1]
    done = call(*words, "--jobs", 1)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["task", "cell", "right", "share", "reach:", "median", "best"]
    assert [row[0] for row in rows[1:4]] == ["anbn", "LSTM(3,", "guesses"]
    assert "n to 1,000 [4]" in " ".join(done.stdout.split())
    assert "its outer symbol alone" in done.stdout
    assert "anbn 1-10 and 1,000 n" in done.stdout
    assert all(f"[{k}] " in done.stdout for k in (1, 2, 4))
    assert "[3]" not in done.stdout


def test_the_command_prints_json_alone():
    words = ["exam", "parity", "--cells", "gru, lstm", "--units", 4, "--forget-bias", 1]
    done = call(*words, "--seeds", 1, "--seconds", 1.5, "--jobs", 1, "--json")
    found = json.loads(done.stdout)
    assert [(one["task"], one["cell"]) for one in found["results"]] == [
        ("parity", "gru"),
        ("parity", "lstm"),
    ]
    assert 0 < found["guess"]["parity"] < 1
    assert "training 2 models: " in done.stderr
    bad = call("exam", "anbn", "--cells", "LSTM(3")
    assert "'LSTM(3, forget_bias=6, peepholes=True)'" in bad.stderr, "no option of the command"
    bad = call("exam", "nothing")
    assert (bad.returncode, len(error_lines(bad.stderr))) == (2, 1)


def test_the_example_of_the_document_runs(capsys):
    text = (Path(__file__).parents[2] / "docs" / "exam.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(block.replace("seconds=1)", "seconds=0.1, jobs=1)"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["anbn"] * 3 + ["parity"] * 3
