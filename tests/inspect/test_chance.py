"""Chance: what cards name is more than noise would be."""

import numpy as np
import pytest
from tests.inspect import handmade
from tests.inspect.handmade import WORKER

import statewise as sw
from statewise import inspect
from statewise.inspect.chance import BLOCKS, permute_blocks


def drift(rng, steps, slowness):
    """Noise that changes slowly."""
    values = np.zeros(steps)
    for t in range(1, steps):
        values[t] = (1 - 1 / slowness) * values[t - 1] + rng.normal()
    return values


def noises(rng, steps):
    """Five labels that say nothing: three that change at every step, two that stay for a while."""
    spells = np.repeat(rng.random(steps // 15 + 1) < 0.4, 15)[:steps]
    fast = {"rare": rng.random(steps) < 0.1, "often": rng.random(steps) < 0.4}
    slow = {"spells": spells, "drift": drift(rng, steps, 15)}
    every = {**fast, "normal": rng.normal(size=steps), **slow}
    return {f"noise {name}": label for name, label in every.items()}


def name_noise(labels):
    return any("noise" in one["label"] for one in labels)


@pytest.mark.parametrize("ready_made", [True, False])
def test_five_cards_of_a_hundred_name_noise_at_most(ready_made):
    effects = follows = cards = clear = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        model = sw.TextModel([sw.LSTM(64)], width=6)
        model.vocabulary = sw.text.Vocabulary.of(["abc (x)\n"], "char")
        arch = model.build_architecture(len(model.vocabulary))
        model.model = sw.runtime.Model(arch, arch.draw(seed))
        text = "".join(rng.choice(list("abc (x)\n"), 600))
        data = text if ready_made else [model.encode(text)]  # tokens have no labels of their own
        for card in inspect.explain_units(model, data, labels=noises(rng, len(text))):
            effects += any(name_noise(one.where) for one in card.effects)
            follows += name_noise(card.labels)
            clear += bool(card.labels)
            cards += 1
    assert cards == 256
    assert effects <= 0.05 * cards
    assert follows <= 0.05 * cards
    assert clear > 0.9 * cards or not ready_made


def test_a_true_effect_is_named_among_noise():
    model = handmade.quotes()
    text = handmade.written(model, 400)
    labels = noises(np.random.default_rng(0), len(text))
    labels["true"] = inspect.text_labels(text)["inside quotes"]
    card = inspect.explain_unit(model, text, WORKER, labels=labels)
    assert "true" in [one["label"] for one in card.labels[:2]]
    assert "true" in [one["label"] for one in card.effects[2].where]
    assert "not true" in [one["label"] for one in card.effects[1].where]


def test_orders_keep_labels_slow_and_move_every_step():
    for steps in (1, 2, 9, 500):
        for order in permute_blocks(steps, 20, 0):
            assert sorted(order) == list(range(steps))
            assert (np.diff(order) % steps != 1).sum() <= BLOCKS
    orders = np.stack(list(permute_blocks(500, 20, 0)))
    assert (orders == np.arange(500)).mean() < 0.1
