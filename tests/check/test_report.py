"""Reports: expectations, JSON and text."""

import pytest
import torch

import statewise as sw
from statewise import check
from statewise.check import Report, Row


def report(**answers):
    rows = [
        Row(fact.replace("__", "."), "?", answer, "seen", "ok", "people", "advice")
        for fact, answer in answers.items()
    ]
    return Report("model", "torch", ("LSTM",), tuple(rows))


def test_words_speak_of_every_way_of_calling():
    seen = report(carry__call="carried", carry__predict="reset", reset="initial")
    assert seen.expect("carry").failures == ("carry.predict: expected carried, saw reset (seen)",)
    assert seen.expect("reset").failures == ("carry.call: expected reset, saw carried (seen)",)
    assert seen.expect(None).ok


def test_facts_are_compared_with_one_answer_or_several():
    seen = report(carry__call="carried", padding__zeros="seen")
    assert seen.expect({"padding.*": ["seen", "ignored"], "carry.call": "carried"}).ok
    assert not seen.expect({"padding.zeros": "ignored"}).ok
    (failure,) = seen.expect({"no.such": "fact"}).failures
    assert failure == "no.such: expected fact, but no such fact was observed"


def test_a_report_goes_through_json():
    seen = report(carry__call="carried").expect("reset")
    assert Report.from_json(seen.as_json()) == seen
    assert "NOT MET" in seen.text()


def test_a_fact_that_was_not_looked_at_is_named():
    with pytest.raises(KeyError, match=r"no fact 'carry\.predict'.*carry\.call"):
        report(carry__call="reset")["carry.predict"]


def test_an_unknown_expectation_is_refused():
    with pytest.raises(sw.InputError, match="'carry', 'reset' or a mapping"):
        check.run(torch.nn.LSTM(1, 2), expect="maybe")


def test_the_model_is_left_as_it_was():
    model = torch.nn.LSTM(1, 2).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check.run(model)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_most_urgent_comes_first():
    verdicts = {"repeat": "ok", "rows": "wrong", "nan": "unknown", "layout": "surprise"}
    rows = tuple(Row(fact, "?", "x", "seen", v, "people") for fact, v in verdicts.items())
    seen = Report("model", "torch", ("LSTM",), rows)
    assert [row.fact for row in seen.sort_by_urgency()] == ["rows", "layout", "repeat", "nan"]
    assert seen.summary == "1 wrong, 1 surprising, 1 as expected, 1 not asked"
    assert tuple(seen) == rows  # the JSON keeps the order of the probes


def test_the_keys_of_json_are_those_of_0_1_0():
    values = report(carry__call="carried").expect("reset").as_json()
    report_keys = "target framework layers rows failures sample ok"
    row_keys = "fact question answer seen verdict people advice code"
    assert list(values) == report_keys.split()
    assert list(values["rows"][0]) == row_keys.split()
    assert values["rows"][0]["people"] == "people"


def test_an_unknown_probe_is_refused():
    with pytest.raises(sw.InputError, match=r"no probe 'carries'; there are .*carry"):
        check.run(torch.nn.LSTM(1, 2), only=["carries"])


def test_a_model_of_statewise_is_left_in_its_mode():
    model = sw.nn.Model(sw.Architecture(sw.Vector(1), [sw.LSTM(2)])).train()
    check.run(model, only=["carry"])
    assert model.training
