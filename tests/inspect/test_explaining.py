import json

import numpy as np
import pytest
import torch
from tests.conformance.own import Gated, Leaky
from tests.conformance.zoo import weights
from tests.inspect import handmade
from tests.inspect.handmade import DECOY, WORKER

import statewise as sw
from statewise import inspect
from statewise.inspect import effects
from statewise.inspect.losses import get_next_loss

MADE = {
    # the label that the worker follows, and where the loss rises when it is held low or high
    "quotes": ("inside quotes", "inside quotes", "not inside quotes"),
    "brackets": ("bracket depth", "inside brackets", "not inside brackets"),
    "lines": ("line position", "line position", "not line end near"),
    "holder": ("held", None, None),
}


@pytest.fixture(scope="module", params=MADE)
def made(request):
    model = getattr(handmade, request.param)()
    text = handmade.written(model, 400)
    labels = {"held": handmade.held(text)} if request.param == "holder" else None
    return request.param, model, text, inspect.explain_units(model, text, labels=labels)


def test_the_unit_that_does_the_work_is_named_and_its_ablation_agrees(made):
    name, _, text, cards = made
    label, low, high = MADE[name]
    worker, decoy = cards[WORKER], cards[DECOY]
    for card in (worker, decoy):
        assert card.labels[0]["label"] in (label, "inside double quotes")
        best = next(one for one in card.labels if one["label"] == label)
        assert best["score"] == pytest.approx(1, abs=0.01)
        assert best["control"] < 0.35
        assert best["sign"] == 1
    assert [effect.kind for effect in worker.effects] == ["ablated", "clamped high", "clamped low"]
    assert all(effect.change > 0.05 for effect in worker.effects)
    assert [effect.change for effect in decoy.effects] == [0, 0, 0]
    assert not any(effect.where or effect.contexts for effect in decoy.effects)
    if low is not None:
        worst = {one.kind: [at["label"] for at in one.where] for one in worker.effects}
        assert low in worst["clamped low"]
        assert high in worst["clamped high"]
    assert max(cards, key=lambda card: card.effects[0].change).unit != DECOY
    for effect in worker.effects:
        for context in effect.contexts:
            assert text[context.step] == context.at


def test_contexts_show_where_a_unit_is_high(made):
    name, _, text, cards = made
    top, bottom = cards[WORKER].top, cards[WORKER].bottom
    assert len(top) == len(bottom) == 5
    assert all(one.value > other.value for one in top for other in bottom)
    for one in (*top, *bottom):
        assert (one.before + one.at + one.after) in text
        assert text[one.step - len(one.before) : one.step] == one.before
        assert text[one.step] == one.at
    if name == "quotes":
        assert all(
            one.before.count('"') % 2 or one.at == '"' or len(one.before) == 40 for one in top
        )


def plain(model, text, name, unit, to):
    """The loss in bits a character with a unit held, the slow and readable way."""
    x = model.encode(text)[None]
    _, loss = get_next_loss(model.model.architecture)
    with inspect.edit(model, {name: to}, units=[unit]):
        y, _ = model.model(x)
    return loss(x, y)[0]


def test_a_batch_of_units_gives_what_one_edit_at_a_time_gives(made):
    _, model, text, cards = made
    before = loss_before = plain(model, text, cards[0].name, 0, lambda value: value)
    assert before.mean() == pytest.approx(model.score(text), rel=1e-4)
    for card in cards:
        for effect in card.effects:
            changed = plain(model, text, card.name, card.unit, effect.to) - loss_before
            assert effect.change == pytest.approx(changed.mean(), rel=1e-3, abs=1e-4)
            for one in effect.contexts:
                assert one.value == pytest.approx(changed[one.step - 1], rel=1e-3, abs=1e-4)


def random_model(level="char"):
    text = sw.TextModel([sw.LSTM(40), sw.GRU(5)], width=6, level=level)
    text.vocabulary = sw.text.Vocabulary.of(["abc (x)\n"], level)
    arch = text.build_architecture(len(text.vocabulary))
    text.model = sw.runtime.Model(arch, weights(arch))
    return text


TEXT = "a (b x)\nc (a) b\n\n(ab)\n" * 6


@pytest.mark.parametrize("name", ["0.c", "0.f", "1.h", "1.z"])
def test_cards_of_many_units_are_the_cards_of_each(name):
    model = random_model()
    units = [3, 0, 4]
    together = inspect.explain_units(model, TEXT, units, name)
    if name == "0.c":  # more than one batch of rows
        every = inspect.explain_units(model, TEXT, name=name)
        assert [every[unit].top for unit in units] == [card.top for card in together]
        for unit, card in zip(units, together, strict=True):
            changes = [effect.change for effect in every[unit].effects]
            assert changes == pytest.approx([e.change for e in card.effects], abs=1e-5)
    for unit, card in zip(units, together, strict=True):
        alone = inspect.explain_unit(model, TEXT, unit, name)
        assert (card.unit, card.name) == (unit, name)
        assert (card.mean, card.low, card.high) == (alone.mean, alone.low, alone.high)
        assert (card.top, card.bottom) == (alone.top, alone.bottom)
        for one, other in zip(card.labels, alone.labels, strict=True):
            assert one["label"] == other["label"]
            assert one["score"] == pytest.approx(other["score"])
        for one, other in zip(card.effects, alone.effects, strict=True):
            assert one.change == pytest.approx(other.change, abs=1e-5)
            assert {w["label"] for w in one.where} == {w["label"] for w in other.where}


def test_long_inputs_are_run_stretch_by_stretch(monkeypatch):
    model = random_model()
    whole = inspect.explain_units(model, TEXT, [1, 2])
    for numbers in (1, 7 * 7 * 30, 7 * 7 * (len(TEXT) - 1)):  # rows x outputs x steps
        monkeypatch.setattr(effects, "_NUMBERS", numbers)
        parts = inspect.explain_units(model, TEXT, [1, 2])
        for one, other in zip(whole, parts, strict=True):
            assert [e.change for e in one.effects] == pytest.approx(
                [e.change for e in other.effects], abs=1e-6
            )
            assert [c.step for c in one.effects[0].contexts] == [
                c.step for c in other.effects[0].contexts
            ]


def test_torch_gives_the_same_cards():
    model = random_model()
    mine = inspect.explain_unit(model, TEXT, 2)
    arch, arrays = model.model.architecture, model.model.weights()
    model.model = sw.nn.Model(arch, weights=arrays).eval()
    theirs = inspect.explain_unit(model, TEXT, 2)
    assert [one.change for one in mine.effects] == pytest.approx(
        [one.change for one in theirs.effects], abs=1e-5
    )
    assert mine.labels[0]["label"] == theirs.labels[0]["label"]


def test_a_card_is_plain_json_of_a_fixed_shape_and_can_be_read():
    model = handmade.quotes()
    text = handmade.written(model, 200)
    card = inspect.explain_unit(model, text, WORKER, contexts=2)
    plain = card.as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert list(plain) == [
        *("name", "unit", "mean", "low", "high"),
        *("labels", "effects", "measure", "top", "bottom"),
    ]
    assert list(plain["labels"][0]) == ["label", "score", "control", "sign"]
    assert list(plain["effects"][0]) == ["kind", "to", "change", "where", "contexts"]
    assert list(plain["effects"][0]["where"][0]) == ["label", "change"]
    assert list(plain["top"][0]) == ["step", "value", "before", "at", "after"]
    assert (len(plain["top"]), plain["measure"]) == (2, "bits")
    shown = str(card)
    for part in ("unit 0 of 0.c", "follows inside quotes: 1.00", "clamped low to 0: +", "highest"):
        assert part in shown
    assert inspect.explain_unit(model, text, WORKER, contexts=2) == card


def test_from_a_state_the_cards_go_on():
    model = handmade.quotes()
    text = handmade.written(model, 300)
    cut = text.index('"') + 2  # within a quotation
    whole = inspect.explain_unit(model, text, WORKER)
    labels = {name: label[cut:] for name, label in inspect.text_labels(text).items()}
    state = model.read(text[:cut])
    card = inspect.explain_unit(model, text[cut:], WORKER, state=state, labels=labels)
    assert card.labels[0]["score"] == pytest.approx(1, abs=1e-6)
    assert card.effects[2].change == pytest.approx(whole.effects[2].change, rel=0.1)
    fresh = inspect.explain_unit(model, text[cut:], WORKER, labels=labels)
    assert fresh.labels[0]["sign"] == -1  # what is inside is taken for what is not


def test_zero_instead_of_the_mean_and_no_effects():
    model = handmade.quotes()
    text = handmade.written(model, 200)
    zero = inspect.explain_unit(model, text, WORKER, ablate="zero").effects
    assert (zero[0].to, zero[0].change) == (0, zero[2].change)
    card = inspect.explain_unit(model, text, WORKER, effects=False)
    assert (card.effects, card.measure) == ([], None)


# Series


@pytest.mark.parametrize("shape", [(150,), (150, 1), (1, 150, 1)])
def test_a_series_has_cards_too(shape):
    t = np.arange(150, dtype=np.float32)
    series = 10 + 3 * np.sin(2 * np.pi * t / 12) + np.where(t == 70, 9, 0)
    cards = inspect.explain_units(handmade.follower(), series.astype(np.float32).reshape(shape))
    worker, decoy, still = cards
    assert worker.measure == "squared error"
    for card in (worker, decoy):
        assert card.labels[0]["label"] in ("level", "season sine")
        assert card.labels[0]["score"] > 0.9
        assert card.top[0].step == 70
        assert card.top[0].at == f"{series[70]:.4g}"
        assert card.top[0].before.split()[-1] == f"{series[69]:.4g}"
    assert worker.effects[0].change > 1
    assert [effect.change for effect in (*decoy.effects, *still.effects)] == [0] * 6
    assert still.labels == []
    assert (still.mean, still.low, still.high) == (0, 0, 0)
    lists = inspect.explain_units(handmade.follower(), series.tolist())
    assert [card.labels for card in lists] == [card.labels for card in cards]


# What has no effects, and what is wrong


def test_models_that_predict_nothing_and_values_that_cannot_be_held():
    x = np.random.default_rng(0).normal(size=(1, 300, 2)).astype(np.float32)
    silent = sw.Architecture(sw.Vector(2), [sw.GRU(3)], sw.Linear(5))
    own = sw.Architecture(sw.Vector(2), [Gated(3)], sw.Linear(2))
    both = sw.Architecture(sw.Vector(2), [sw.Bidirectional(sw.GRU(2))], sw.Linear(2))
    names = {silent: "0.h", own: "0.h", both: "0.forward.z"}
    for arch, name in names.items():
        card = inspect.explain_unit(sw.runtime.Model(arch, weights(arch)), x, 1, name)
        assert bool(card.effects) == (arch is own)
        assert (card.measure is None) == (arch is not own)
        assert any(one["score"] > 0.3 for one in card.labels)
        assert "level of feature 0" in {one["label"] for one in card.labels}


def test_effects_of_a_cell_whose_step_takes_no_capture_are_refused_by_name():
    x = np.random.default_rng(0).normal(size=(1, 60, 2)).astype(np.float32)
    arch = sw.Architecture(sw.Vector(2), [Leaky(3)], sw.Linear(2))
    model = sw.runtime.Model(arch, weights(arch))
    with pytest.raises(sw.InputError, match=r"the step of Leaky does not pass.*effects=False"):
        inspect.explain_unit(model, x, 1, "0.h")
    assert inspect.explain_unit(model, x, 1, "0.h", effects=False).effects == []


def test_tokens_without_a_text_have_the_labels_that_are_given():
    model = random_model().model
    x = np.random.default_rng(0).integers(0, 8, (1, 300))
    card = inspect.explain_unit(model, x, 1, labels={"the third": x[0] == 3})
    assert [one["label"] for one in card.labels] == ["the third"]
    assert card.top[0].at in "01234567"
    bare = inspect.explain_unit(model, x[0], 1)
    assert bare.labels == bare.effects[0].where == []
    assert len(bare.effects) == 3


@pytest.mark.parametrize("text", ["ab", "aaaa", "\n\n\n", "a" * 30, "abc (x)\n" * 3])
def test_short_and_monotonous_texts_make_cards_without_nan(text):
    for card in inspect.explain_units(random_model(), text, [0, 7]):
        json.dumps(card.as_dict(), allow_nan=False)
        str(card)


def test_strange_characters_are_refused_or_replaced():
    model = random_model()
    with pytest.raises(sw.DataError, match="lacks 'q'"):
        inspect.explain_unit(model, "ab q", 0)
    card = inspect.explain_unit(model, "ab q" * 9, 0, unknown="replace")
    assert "q" in card.top[0].before + card.top[0].at + card.top[0].after
    many = inspect.explain_unit(random_model("byte"), "x \u00e9\u20ac" * 5, 0)
    assert all(one.at in "x \u00e9\u20ac" for one in (*many.top, *many.bottom))


def test_bad_input():
    model = random_model()
    series = np.sin(np.arange(30, dtype=np.float32))
    hole = np.where(np.arange(30) == 7, np.nan, series).astype(np.float32)
    bad = [
        (sw.DataError, "empty", lambda: inspect.explain_unit(model, "", 0)),
        (sw.DataError, "at least 2 steps", lambda: inspect.explain_unit(model, "a", 0)),
        (
            sw.DataError,
            "first at step 7",
            lambda: inspect.explain_unit(handmade.follower(), hole, 0),
        ),
        (sw.InputError, "units 0 to 39, got 40", lambda: inspect.explain_unit(model, "ab", 40)),
        (sw.InputError, "units 0 to 39, got -1", lambda: inspect.explain_unit(model, "ab", -1)),
        (sw.InputError, "units 0 to 39, got 'x'", lambda: inspect.explain_unit(model, "ab", "x")),
        (sw.InputError, r"mean '0\.c'", lambda: inspect.explain_unit(model, "ab", 0, "0.cc")),
        (
            sw.InputError,
            "one sequence, got 2",
            lambda: inspect.explain_unit(model.model, np.zeros((2, 5), np.int64), 0),
        ),
        (
            sw.InputError,
            "number or a word for each of 2 steps",
            lambda: inspect.explain_unit(model, "ab", 0, labels={"x": [1, 2, 3]}),
        ),
        (
            sw.InputError,
            "NaN",
            lambda: inspect.explain_unit(model, "ab", 0, labels={"x": [1, np.nan]}),
        ),
        (sw.InputError, "takes several", lambda: inspect.explain_units(model, "ab", 3)),
        (sw.InputError, "got True", lambda: inspect.explain_unit(model, "ab", True)),
        (sw.InputError, "no value '0.*'", lambda: inspect.explain_unit(model, "ab", 0, "0.*")),
        (sw.InputError, "name -> ", lambda: inspect.explain_unit(model, "ab", 0, labels=[1, 2])),
        (sw.InputError, "got builtins.str", lambda: inspect.explain_unit("model", "ab", 0)),
        (
            sw.InputError,
            r"got torch.*LSTM; .*from_torch",
            lambda: inspect.explain_unit(torch.nn.LSTM(1, 2), "ab", 0),
        ),
        (sw.DataError, "got list of object", lambda: inspect.explain_unit(model, [[1], [2, 3]], 0)),
        (sw.DataError, "got bytes", lambda: inspect.explain_unit(model, b"ab", 0)),
        (sw.InputError, "call fit", lambda: inspect.explain_unit(sw.TextModel([]), "ab", 0)),
        (sw.InputError, "'mean' or 'zero'", lambda: inspect.explain_unit(model, "ab", 0, ablate=0)),
        (sw.InputError, "contexts", lambda: inspect.explain_unit(model, "ab", 0, contexts=-1)),
    ]
    for error, message, use in bad:
        with pytest.raises(error, match=message):
            use()
    assert inspect.explain_units(model, "ab", []) == []


def test_no_torch_is_needed():
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np, statewise as sw\n"
        "arch = sw.Architecture(sw.Tokens(5, 2), [sw.LSTM(3)], sw.Linear(5))\n"
        "model = sw.runtime.Model(arch, arch.draw(0))\n"
        "card = sw.inspect.explain_unit(model, np.arange(40)[None] % 5, 1)\n"
        "print(len(card.effects))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "3\n"


def test_layers_of_torch_need_no_gradients():
    arch = sw.Architecture(sw.Vector(1), [sw.GRU(3)], sw.Linear(1))
    model = sw.nn.Model(arch, weights=weights(arch)).eval()
    card = inspect.explain_unit(model, torch.sin(torch.arange(40.0))[None, :, None], 0)
    assert len(card.effects) == 3
