"""Edit what a model remembers: an LSTM that counts brackets, built by hand, is made to forget.

Run with ``python examples/edit_a_memory.py``; writes edit-a-memory.png.
"""

import numpy as np
from matplotlib.figure import Figure

import statewise as sw
from statewise import inspect

SYMBOLS = "()x"
OPEN = 50.0  # a sum so large that the gate is open

arch = sw.Architecture(sw.Tokens(3, width=1), [sw.LSTM(1)], sw.Linear(1))
weights = {
    "inputs.E": np.array([[1.0], [-1.0], [0.0]]),  # ( counts up, ) down, x not at all
    "0.W": np.array([[0.0], [0.0], [OPEN], [0.0]]),  # gates i, f, g, o: only g reads
    "0.R": np.zeros((4, 1)),
    "0.b": np.array([OPEN, OPEN, 0.0, OPEN]),
    "outputs.W": np.ones((1, 1)),
    "outputs.b": np.zeros(1),
}
model = sw.runtime.Model(arch, weights)

text = "((x(xx)x)xx((x)))xx"
x = np.array([[SYMBOLS.index(symbol) for symbol in text]])


def depth() -> np.ndarray:
    """What the model remembers after every step."""
    return inspect.record(model, x, names="0.c").unit("0.c", 0)


curves = {"as it was": depth()}
with inspect.edit(model, {"0.f": 0.0}, at=[8]):  # one forget gate shut, once
    curves["it forgets at the second )"] = depth()
with inspect.edit(model, {"0.c": lambda c: c + 2}, at=[8]):  # steered
    curves["2 more in its memory"] = depth()
with inspect.edit(model, {"0.c": 9.0}, at=[8], propagate=False):  # shown, not remembered
    curves["9 for one step only"] = depth()

for label, curve in curves.items():
    print(f"{label:28}", *(f"{value:2.0f}" for value in curve))
print("the model is as before:", np.array_equal(depth(), curves["as it was"]))

figure = Figure(figsize=(9, 3.6), layout="constrained")
axes = figure.subplots()
for (label, curve), style in zip(curves.items(), ("-", "--", "-.", ":"), strict=True):
    axes.step(range(len(text)), curve, where="mid", ls=style, lw=2, label=label)
axes.set_xticks(range(len(text)), text, family="monospace")
axes.set_ylabel("brackets open, says 0.c")
axes.legend(frameon=False)
figure.savefig("edit-a-memory.png", dpi=130)
