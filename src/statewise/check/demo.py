"""The founding question: reuse an LSTM on new input, is its state reset?"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise.architecture import Architecture, Linear, Vector
from statewise.cells import LSTM
from statewise.check.backends import run_python
from statewise.check.checking import run
from statewise.check.report import Report
from statewise.extras import is_installed
from statewise.loading import installed_backends
from statewise.loading.keras_backend import INSTALL
from statewise.progress import Progress
from statewise.runtime import Model

PROBES = ("carry", "ways", "batches", "epochs", "evaluating", "saving", "reset")
QUESTIONS = {
    "carry.call": "call it again: is the state carried?",
    "carry.predict": "`predict` again",
    "carry.evaluate": "`evaluate` again",
    "carry.fit": "`fit` again",
    "carry.exported_graph": "call the exported graph again",
    "batches.predict": "batch to batch inside `predict`",
    "batches.fit": "batch to batch inside `fit`",
    "epochs.fit": "how the second epoch of `fit` begins",
    "evaluating.evaluate": "what `evaluate` does to a carried state",
    "saving": "the state after saving and loading",
    "reset": "what a reset returns to",
}


@dataclass(frozen=True)
class Demo:
    """What one LSTM of each framework does with its state.

    Arguments:
        reports: by the name of the model.
        missing: what is not installed, a sentence each that says how to add it.
    """

    reports: Mapping[str, Report]
    missing: tuple[str, ...] = ()

    def answer(self, model: str, fact: str) -> str:
        """One answer, ``-`` where the model has no such mode of calling."""
        return self.reports[model].facts.get(fact, "-")

    def is_surprising(self, model: str, fact: str) -> bool:
        """Whether most people expect another answer."""
        report = self.reports[model]
        return fact in report.facts and report[fact].verdict != "ok"

    @property
    def questions(self) -> dict[str, str]:
        """The questions that at least one of the models answers, by fact."""
        facts = {fact for report in self.reports.values() for fact in report.facts}
        return {fact: question for fact, question in QUESTIONS.items() if fact in facts}

    def summarize(self) -> str:
        """The answer to the founding question, a sentence for each answer."""
        models = self.group_answers()[QUESTIONS["carry.call"]]
        sentences = {
            "reset": "A second call that is given no state starts from the initial state in",
            "carried": "It starts from the state after the first call in",
        }
        return " ".join(
            f"{sentence} {'; '.join(models[answer])}."
            for answer, sentence in sentences.items()
            if answer in models
        )

    def markdown(self) -> str:
        """The answers as a table in Markdown, those that surprise in bold."""
        lines = [["", *self.reports], ["---"] * (len(self.reports) + 1)]
        for fact, question in self.questions.items():
            marks = ["**" if self.is_surprising(model, fact) else "" for model in self.reports]
            answers = [self.answer(model, fact) for model in self.reports]
            lines.append([question, *(f"{m}{a}{m}" for m, a in zip(marks, answers, strict=True))])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def group_answers(self) -> dict[str, dict[str, list[str]]]:
        """Question -> answer -> the models that give it."""
        grouped: dict[str, dict[str, list[str]]] = {}
        for fact, question in self.questions.items():
            answers = grouped.setdefault(question, {})
            for model, report in self.reports.items():
                if fact in report.facts:
                    answers.setdefault(report.facts[fact], []).append(model)
        return grouped


def run_demo() -> Demo:
    """Ask one LSTM of Keras, on every backend that is installed, of torch and of statewise."""
    backends = installed_backends() if is_installed("keras") else []
    keras = [(stateful, backend) for stateful in (True, False) for backend in backends]
    reports: dict[str, Report] = {}
    with Progress("asking one LSTM of each framework", len(keras) + 2) as progress:
        for stateful, backend in keras:
            kind = "stateful" if stateful else "not stateful"
            progress.update(len(reports), note=f"Keras {kind} on {backend}")
            (values,) = run_python(["-m", "statewise.check.demo", kind], backend)
            reports[f"Keras {kind}, {backend}"] = Report.from_json(values)
        if is_installed("torch"):
            progress.update(len(reports), note="torch")
            reports["torch `nn.LSTM`"] = run(make_torch_lstm(), only=PROBES)
        progress.update(len(reports), note="statewise")
        reports["statewise"] = run(make_statewise_lstm(), only=PROBES)
    return Demo(reports, tuple(_list_missing()))


def _list_missing() -> list[str]:
    """What the demo could ask too if it were installed."""
    missing = []
    if not is_installed("torch"):
        missing.append(f"torch is not installed; add it with: {INSTALL['torch']}")
    if not is_installed("keras"):
        missing.append("Keras is not installed; add it with: pip install 'statewise[keras]'")
        return missing
    missing += [
        f"the backend {name} of Keras is not installed; add it with: {command}"
        for name, command in INSTALL.items()
        if name != "torch" and not is_installed(name)
    ]
    return missing


def make_torch_lstm() -> Any:
    """The LSTM of torch that is asked."""
    import torch

    return torch.nn.LSTM(1, 8, batch_first=True)


def make_statewise_lstm() -> Any:
    """The LSTM of statewise that is asked, in torch where it is installed."""
    architecture = Architecture(Vector(1), [LSTM(8)], Linear(1))
    if not is_installed("torch"):
        weights = {name: w.astype(np.float32) for name, w in architecture.draw(0).items()}
        return Model(architecture, weights)
    from statewise import nn

    return nn.Model(architecture)


def make_keras_lstm(stateful: bool) -> Any:
    """The LSTM of Keras that is asked."""
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
    report = run(make_keras_lstm(sys.argv[1] == "stateful"), only=PROBES)
    print(json.dumps([report.as_json()]))
