"""The architectures that every state fact is stated over."""

import itertools

import numpy as np

import statewise as sw

from .own import Counter, Gated, Leaky

FEATURES = 2
OPTIONS = ("peepholes", "coupled", "layer_norm", "learned_state")


def model(*layers, outputs=None, inputs=None):
    return sw.Architecture(inputs or sw.Vector(FEATURES), layers, outputs)


def _lstms(count):
    """The LSTM with every combination of this many options."""
    for chosen in itertools.combinations((*OPTIONS, "projection"), count):
        options = {name: 3 if name == "projection" else True for name in chosen}
        yield "lstm " + " ".join(chosen), model(sw.LSTM(4, **options))


ZOO = {
    "nothing": model(outputs=sw.Linear(3)),
    "counter": model(Counter(start=7)),
    "own": model(Leaky(3)),
    "own gated": model(Gated(3)),
    "elman tanh": model(sw.Elman(3)),
    "elman relu": model(sw.Elman(3, activation="relu")),
    "elman softsign": model(sw.Elman(3, activation="softsign", learned_state=True)),
    "lstm": model(sw.LSTM(4)),
    **dict(_lstms(1)),
    "lstm activations": model(
        sw.LSTM(4, activation="softsign", recurrent_activation="hard_sigmoid")
    ),
    "lstm everything": model(
        sw.LSTM(4, 3, peepholes=True, coupled=True, layer_norm=True, learned_state=True)
    ),
    "gru after": model(sw.GRU(4)),
    "gru before": model(sw.GRU(4, reset="before")),
    "gru after learned": model(sw.GRU(4, learned_state=True)),
    "gru before learned": model(sw.GRU(4, reset="before", learned_state=True)),
    "dropout": model(sw.GRU(3), sw.Dropout(0.5)),
    "layer norm": model(sw.LayerNorm()),
    "dense": model(sw.GRU(3), sw.Dense(4, "relu"), sw.Dense(3, "softmax")),
    "residual": model(sw.Residual(sw.GRU(FEATURES))),
    "residual residual": model(sw.Residual(sw.Residual(sw.LSTM(FEATURES, learned_state=True)))),
    "zoneout lstm": model(sw.Zoneout(sw.LSTM(4, projection=3), 0.3)),
    "zoneout gru": model(sw.Zoneout(sw.GRU(3, learned_state=True), 0.3)),
    "bidirectional": model(sw.Bidirectional(sw.LSTM(3, learned_state=True))),
    "bidirectional stack": model(
        sw.Bidirectional(sw.GRU(3)),
        sw.Residual(sw.Bidirectional(sw.GRU(3))),
        sw.LSTM(3),
        outputs=sw.Linear(2, remember=True),
    ),
    "difference": model(sw.Difference()),
    "difference 12": model(sw.Difference(3), sw.Difference(12)),
    "lags": model(sw.Lags((1, 3)), sw.GRU(3)),
    "standardize": model(sw.Standardize((1.0, -2.0), 3.0), sw.LSTM(3)),
    "running scale": model(sw.RunningScale()),
    "running scale memory": model(sw.RunningScale(memory=4.0), sw.GRU(3)),
    "tokens": model(sw.LSTM(4), inputs=sw.Tokens(11, 3), outputs=sw.Linear(11, remember=True)),
    "tokens alone": model(inputs=sw.Tokens(11, 3)),
    "stack": model(
        sw.LSTM(4),
        sw.Dropout(0.2),
        sw.Residual(sw.GRU(4, reset="before")),
        sw.LayerNorm(),
        sw.Elman(3),
        outputs=sw.Linear(2),
    ),
    "inverse": model(
        sw.Difference(),
        sw.RunningScale(),
        sw.LSTM(4),
        outputs=sw.Linear(2, inverse=True, remember=True),
    ),
    "inverse lags": model(
        sw.Standardize((1.0, -2.0), 3.0),
        sw.Lags((1, 2)),
        sw.GRU(4),
        outputs=sw.Linear(1, inverse=True),
    ),
}

PAIRS = dict(_lstms(2))
"""Equations that only the executors' agreement needs to be proven over."""

CAUSAL = {
    name: arch for name, arch in ZOO.items() if all(cell.causal for cell in arch.layers)
}.keys()  # a set in the order of the zoo, the same in every worker


def weights(architecture, dtype="float32", seed=0):
    """Weights none of which is zero, so that no parameter can go unused."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(0.0, 0.5, parameter.shape).astype(dtype)
        for name, parameter in architecture.parameters.items()
    }


def inputs(architecture, rows, steps, dtype="float32", seed=0):
    """Inputs (rows, steps, ...) with a level and a trend, so that transforms have work to do."""
    rng = np.random.default_rng(seed)
    if isinstance(architecture.inputs, sw.Tokens):
        return rng.integers(0, architecture.inputs.size, (rows, steps))
    x = rng.normal(0.0, 1.0, (rows, steps, architecture.inputs.features))
    return (x + 0.1 * np.arange(steps)[:, None] + 2.0).astype(dtype)
