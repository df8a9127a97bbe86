"""The founding question: reuse an LSTM on new input, and is its state reset?"""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import Any

import numpy as np

from statewise.check.backends import installed, python
from statewise.check.checking import run
from statewise.check.report import Report
from statewise.errors import MissingExtraError

ASKED = ("carry", "ways", "batches", "epochs", "evaluating", "saving", "reset")
LINES = (
    ("carry.call", "call it again: is the state carried?"),
    ("carry.predict", "`predict` again"),
    ("carry.evaluate", "`evaluate` again"),
    ("carry.fit", "`fit` again"),
    ("carry.exported_graph", "call the exported graph again"),
    ("batches.predict", "batch to batch inside `predict`"),
    ("batches.fit", "batch to batch inside `fit`"),
    ("epochs.fit", "how the second epoch of `fit` begins"),
    ("evaluating.evaluate", "what `evaluate` does to a carried state"),
    ("saving", "the state after saving and loading"),
    ("reset", "what a reset returns to"),
)


def table() -> str:
    """The answers as a table in Markdown, by running the models.

    Raises:
        MissingExtraError: Keras or torch is not installed.
    """
    for package, extra in (("keras", "keras"), ("torch", "train")):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, extra, "statewise check --demo")
    columns: dict[str, Report] = {}
    for stateful in (True, False):
        for backend in installed():
            word = "stateful" if stateful else "not stateful"
            arguments = ["-m", "statewise.check.demo", word]
            (values,) = python(arguments, backend)
            columns[f"Keras {word}, {backend}"] = Report.from_json(values)
    columns.update({"torch `nn.LSTM`": run(_torch(), only=ASKED)})
    columns.update({"statewise": run(_statewise(), only=ASKED)})
    head = ["", *columns]
    lines = [head, ["---"] * len(head)]
    for fact, words in LINES:
        lines.append([words, *(_answer(report, fact) for report in columns.values())])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _answer(report: Report, fact: str) -> str:
    if fact not in report.facts:
        return "-"
    return f"**{report[fact].answer}**" if report[fact].verdict != "ok" else report[fact].answer


def _torch() -> Any:
    import torch

    return torch.nn.LSTM(1, 8, batch_first=True)


def _statewise() -> Any:
    from statewise import nn
    from statewise.architecture import Architecture, Linear, Vector
    from statewise.cells import LSTM

    return nn.Model(Architecture(Vector(1), [LSTM(8)], Linear(1)))


def _keras(stateful: bool) -> Any:
    import keras

    model = keras.Sequential(
        [
            keras.Input(batch_shape=(4 if stateful else None, None, 1)),
            keras.layers.LSTM(8, stateful=stateful, return_sequences=True),
            keras.layers.Dense(1),
        ]
    )
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(0, 0.5, w.shape) for w in model.get_weights()])
    return model


if __name__ == "__main__":
    report = run(_keras(sys.argv[1] == "stateful"), only=ASKED)
    print(json.dumps([report.as_json()]))
