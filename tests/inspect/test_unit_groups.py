"""Which values of a layer share their units: only those are shown side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tests.conformance.zoo import weights

import statewise as sw
from statewise import inspect
from statewise.inspect.page import build_payload
from statewise.inspect.unit_groups import find_companions, value_shapes
from statewise.spec import format_spec


def record(cell: sw.Cell) -> inspect.Trace:
    arch = sw.Architecture(sw.Vector(2), [cell], sw.Linear(1))
    x = np.random.default_rng(0).normal(size=(1, 5, 2)).astype(np.float32)
    return inspect.record(sw.runtime.Model(arch, weights(arch)), x, names="*")


@dataclass(frozen=True)
class Keyed(sw.Cell):
    """A user's own cell with keys and values whose lengths are equal by chance."""

    units: int
    keys: int

    def state(self, inputs):
        return {"h": (self.units,), "key": (self.keys,), "value": (self.keys,), "count": ()}

    def step(self, p, x, s):
        values = {name: 0.5 * value + 1 for name, value in s.items()}
        return values["h"], values, {**values, "z": values["h"], "grid": s["h"][:, :, None]}


GROUPS = [
    (sw.LSTM(6), ["i f g o c h"]),
    (sw.LSTM(6, projection=2), ["i f g o c", "h"]),
    (sw.Residual(sw.LSTM(6, projection=2)), ["i f g o c", "h y"]),
    (sw.Residual(sw.GRU(2)), ["r z n h y"]),
    (
        sw.Residual(sw.Bidirectional(sw.GRU(1))),
        [
            "forward.r forward.z forward.n forward.h",
            "backward.r backward.z backward.n backward.h",
            "y",
        ],
    ),
    (
        sw.Bidirectional(sw.LSTM(3, projection=2)),
        [
            "forward.i forward.f forward.g forward.o forward.c",
            "forward.h",
            "backward.i backward.f backward.g backward.o backward.c",
            "backward.h",
        ],
    ),
    (Keyed(3, keys=2), ["h z", "key", "value", "count", "grid"]),
    (sw.Residual(Keyed(2, keys=3)), ["h z y", "key", "value", "count", "grid"]),
]


@pytest.mark.parametrize(("cell", "groups"), GROUPS, ids=[format_spec(c) for c, _ in GROUPS])
def test_only_values_of_the_same_units_are_side_by_side(
    cell: sw.Cell, groups: list[str], tmp_path: Path
) -> None:
    trace = record(cell)
    (layer,) = build_payload(trace)["layers"]
    assert layer["groups"] == [group.split() for group in groups]
    assert sorted(own for group in layer["groups"] for own in group) == sorted(layer["names"])
    for group in groups:
        names = [f"0.{own}" for own in group.split()]
        assert all(
            find_companions(name, value_shapes(trace), trace.model) == names for name in names
        )
    trace.save(tmp_path / "trace.safetensors")  # without the model only lengths are known
    (layer,) = build_payload(inspect.Trace.load(tmp_path / "trace.safetensors"))["layers"]
    for group in layer["groups"]:
        assert len({trace[f"0.{own}"].shape for own in group}) == 1
        assert len({own.rpartition(".")[0] for own in group}) == 1


def test_a_still_of_gates_shows_one_unit() -> None:
    trace = record(sw.LSTM(6, projection=2))
    for name, panels in (("0.c", ["input", "i", "f", "g", "o", "c"]), ("0.h", ["input", "h"])):
        figure = trace.plot("gates", name, 1)
        named = [axes.get_ylabel().partition("\n")[0] for axes in figure.axes]
        assert named == panels
