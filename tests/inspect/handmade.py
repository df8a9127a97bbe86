"""Models of text built by hand, in which the unit that does the work is known.

In each of them unit `WORKER` does it. Unit `DECOY` computes the same and is read by nothing. A
text that a model has written itself is one that nothing predicts better, so that whatever changes
a unit that counts makes the model worse.
"""

import numpy as np

import statewise as sw

WORKER, DECOY = 0, 1
UNKNOWN = "\ufffd"
OPEN = 20.0
"""The sum at which a gate is open, and minus that at which it is closed."""


def _model(cell, letters, features):
    """A text model whose letters have these features, and its arrays, zero and yet to be filled.

    The first letter of a vocabulary stands for unknown ones; it is never likely.
    """
    text = sw.TextModel([cell], width=len(features) + 1)
    text.vocabulary = sw.text.Vocabulary("char", letters)
    arch = text.build_architecture(len(letters))
    arrays = {name: np.zeros(p.shape, np.float32) for name, p in arch.parameters.items()}
    for column, own in enumerate(features):
        for letter in own:
            arrays["inputs.E"][letters.index(letter), column] = 1
    arrays["inputs.E"][:, -1] = 1
    arrays["outputs.b"][0] = -1000
    return text, arrays


def _filled(text, arrays):
    text.model = sw.runtime.Model(text.build_architecture(len(text.vocabulary)), arrays)
    return text


def _lstm(units, letters, features):
    text, arrays = _model(sw.LSTM(units), letters, features)
    i, f, g, o = (np.arange(units) + units * gate for gate in range(4))
    arrays["0.b"][o] = OPEN
    return text, arrays, (i, f, g)


def quotes():
    """An LSTM that toggles at each quotation mark: x, y and z are within them, a, b and c without.

    Unit 2 follows the letter a, unit 3 is always on.
    """
    letters = UNKNOWN + 'abcxyz"'
    text, arrays, (i, f, g) = _lstm(4, letters, ['"', "a"])
    W, R, b = (arrays[f"0.{name}"] for name in "WRb")
    b[f[[2, 3]]], b[i[[2, 3]]] = -OPEN, OPEN
    W[g[2], 1] = W[g[3], 2] = OPEN
    for unit in (WORKER, DECOY):  # a mark writes 1 - 2c where c was kept
        b[f[unit]] = OPEN
        b[i[unit]], W[i[unit], 0] = -OPEN, 2 * OPEN
        b[g[unit]], R[g[unit], unit] = OPEN, -52
    out = arrays["outputs.W"]
    out[[letters.index(x) for x in "xyz"], WORKER] = 24
    arrays["outputs.b"][[letters.index(x) for x in "xyz"]] = -10
    out[[letters.index(x) for x in "abc"], WORKER] = -24
    arrays["outputs.b"][[letters.index(x) for x in "abc"]] = 10
    # a mark is as likely as a fifth letter, on both sides
    arrays["outputs.b"][letters.index('"')] = 8
    return _filled(text, arrays)


def brackets():
    """An LSTM that counts the brackets that are open: a full stop comes only where none is."""
    letters = UNKNOWN + "()."
    text, arrays, (i, f, g) = _lstm(3, letters, ["(", ")"])
    W, b = arrays["0.W"], arrays["0.b"]
    for unit in (WORKER, DECOY):
        b[f[unit]], b[i[unit]] = OPEN, OPEN
        W[g[unit], 0], W[g[unit], 1] = np.arctanh(0.1), -np.arctanh(0.1)
    b[f[2]], b[i[2]], W[g[2], 0] = -OPEN, OPEN, OPEN  # follows opening brackets
    arrays["outputs.W"][1:, WORKER] = -5, 40, -80
    arrays["outputs.b"][1:] = 2, -3, 4
    return _filled(text, arrays)


def lines():
    """An LSTM that counts the characters of a line, and ends it after eight."""
    letters = UNKNOWN + "a \n"
    text, arrays, (i, f, g) = _lstm(3, letters, ["\n", "a"])
    W, b = arrays["0.W"], arrays["0.b"]
    for unit in (WORKER, DECOY):
        b[f[unit]], W[f[unit], 0] = OPEN, -2 * OPEN
        b[i[unit]], W[i[unit], 0] = OPEN, -2 * OPEN
        W[g[unit], 2] = np.arctanh(0.1)
    b[f[2]], b[i[2]], W[g[2], 1] = -OPEN, OPEN, OPEN  # follows the letter a
    arrays["outputs.W"][3, WORKER] = 300
    arrays["outputs.b"][3] = -300 * np.tanh(0.75)
    return _filled(text, arrays)


def holder():
    """A GRU that is shown A or B, sees dots, and answers a or b to the question mark.

    Unit 2 follows the question mark, unit 3 the answer.
    """
    letters = UNKNOWN + "AB.?ab"
    text, arrays = _model(sw.GRU(4), letters, ["A", "B", "?", "ab"])
    W, b = arrays["0.W"], arrays["0.b"]
    z, n = np.arange(4) + 4, np.arange(4) + 8
    for unit in (WORKER, DECOY):  # z keeps what n wrote
        b[z[unit]], W[z[unit], :2] = OPEN, -2 * OPEN
        W[n[unit], 0], W[n[unit], 1] = OPEN, -OPEN
    for unit in (2, 3):
        b[z[unit]], W[n[unit], unit] = -OPEN, OPEN
    out, bias = arrays["outputs.W"][1:], arrays["outputs.b"][1:]
    out[:2, 3], bias[:2] = 12, -6
    out[2:4, 2:], bias[2:4] = -12, (6, 4)
    out[4:, 2], bias[4:] = 16, -8
    out[4:, WORKER] = 4, -4
    return _filled(text, arrays)


def held(text):
    """What the holder ought to hold at each step: 1 for A, -1 for B, 0 before."""
    found, last = [], 0
    for letter in text:
        last = {"A": 1, "B": -1}.get(letter, last)
        found.append(last)
    return np.array(found)


def written(model, length=600, seed=5):
    """A text of the model's own, with one of its letters before it."""
    first = {"(": ".", "A": "A"}.get(model.vocabulary.characters[1], "a")
    return first + model.generate(first, length, seed=seed)


def follower():
    """Unit 0 holds the value last read and predicts that the next is the same; unit 1 only
    grows with it; unit 2 never moves.
    """
    arch = sw.Architecture(sw.Vector(1), [sw.Elman(3, activation="linear")], sw.Linear(1))
    arrays = {name: np.zeros(p.shape, np.float32) for name, p in arch.parameters.items()}
    arrays["0.W"][:2, 0] = 1, 2
    arrays["outputs.W"][0, 0] = 1
    return sw.runtime.Model(arch, arrays)
