"""Broken models are caught by name, and healthy ones raise no alarm."""

import pytest

from statewise import check

from .zoo import BROKEN, HEALTHY


@pytest.mark.parametrize("broken", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_model_is_caught_by_name(broken):
    fact, answer = BROKEN[broken]
    row = check.run(broken())[fact]
    assert row.answer == answer, row.seen
    assert row.verdict in ("wrong", "surprise", "raised")
    assert row.seen


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_model_raises_no_alarm(name):
    report = check.run(HEALTHY[name]())
    assert report.found("wrong") == []
    raised = [report[fact].seen for fact in report.found("raised")]
    assert not [seen for seen in raised if "primitive" not in seen]  # what oneDNN lacks here


def test_the_facts_of_torch():
    facts = check.run(HEALTHY["lstm"]()).facts
    assert facts["carry.call"] == facts["carry.exported_graph"] == "reset"
    assert facts["layout"] == "elsewhere"  # (layers, batch, hidden)
    assert facts["swapped"] == "accepted"
    assert facts["padding.zeros"] == "seen"
    assert facts["padding.packed"] == "ignored"
    assert facts["empty.packed"] == "raises"
    batch_first = check.run(HEALTHY["gru"]())
    assert batch_first["layout"].answer == "elsewhere"


def test_a_statewise_model_surprises_only_where_it_is_not_told_of_padding():
    report = check.run(HEALTHY["statewise"]())
    assert report.found("surprise") == ["padding.zeros"]
    assert report.found("raised", "unknown") == []


def test_a_stateful_module_carries_and_resets():
    facts = check.run(HEALTHY["stateful"]()).facts
    assert facts["carry.call"] == "carried"
    assert facts["evaluating.call"] == "disturbs"
    assert facts["saving"] == "lost"
    assert facts["reset"] == "initial"
    assert facts["chunks"] == "same"
    assert facts["gradient"] == "cut"


def test_what_a_model_raises_is_what_was_seen_and_the_rest_goes_on():
    report = check.run(next(cls for cls in BROKEN if cls.__name__ == "Raises")())
    assert "no reset today" in report["reset"].seen
    assert report["chunks"].answer == "same"
