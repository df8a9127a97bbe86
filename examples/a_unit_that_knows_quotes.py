"""Which unit of a model of text knows that it is inside quotes, and does the model rely on it?

Run with ``python examples/a_unit_that_knows_quotes.py``; writes a-unit-that-knows-quotes.png.
"""

import numpy as np

import statewise as sw
from statewise import inspect

WORDS = ["river", "stone", "cloud", "apple", "tiger", "paper"]
rng = np.random.default_rng(0)


def speech(sentences: int) -> str:
    """Words, and between quotes WORDS: after a space only memory tells which it has to be."""

    def some() -> str:
        return " ".join(rng.choice(WORDS, rng.integers(1, 7)))

    return "".join(f'{some()} "{some().upper()}" ' for _ in range(sentences))


model = sw.TextModel([sw.LSTM(12)], width=12)
model.fit(speech(200), epochs=10, lanes=8, chunk=60, learning_rate=1e-2)

text = speech(40)
cards = inspect.explain_units(model, text)


def follows(card: inspect.Card) -> float:
    """How closely a unit follows the quotes."""
    return next((one["score"] for one in card.labels if one["label"] == "inside quotes"), 0.0)


card = max(cards, key=follows)
print(card)

trace = inspect.record(model, text)
print("by a line through all units:", inspect.probe(trace, "inside quotes", "0.c"))
trace.plot("text", "0.c", card.unit, steps=(0, 800), path="a-unit-that-knows-quotes.png")

print("as it is:      ", model.generate("river stone ", 60, temperature=0.4, seed=1))
for held in (card.low, card.high):
    with inspect.edit(model, {"0.c": held}, units=[card.unit]):
        print(f"held at {held:5.2f}: ", model.generate("river stone ", 60, temperature=0.4, seed=1))
