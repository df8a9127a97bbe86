"""`to_onnx`: a statewise model as an ONNX graph, state in and state out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from statewise import checkpoint
from statewise.architecture import Tokens
from statewise.arrays import to_numpy
from statewise.cell import Cell, declared_fields
from statewise.cells import Bidirectional, Residual
from statewise.declarations import Field
from statewise.errors import ConversionError
from statewise.extras import require
from statewise.interop import onnx_namespace
from statewise.interop.onnx_namespace import astype, concat, where
from statewise.interop.onnx_symbols import Symbol, Writer
from statewise.interop.parts import Weighted, raise_all, select_prefix
from statewise.stepping import run_scan, run_step

OPSET, IR = 18, 9
Named: TypeAlias = dict[str, Symbol]


def to_onnx(model: Weighted, path: str | Path, *, reset: bool = False) -> None:
    """Write a model as an ONNX graph that computes the cells' own equations.

    Arguments:
        model: a `statewise.nn.Model` or what `statewise.load` gives; cells of a user's own too.
        path: the file, written whole or not at all.
        reset: add the input ``reset`` (B, T) bool: forget before consuming that step.

    The graph takes ``x``, (B, T, features) or (B, T) int64 tokens, and every state field under its
    name, ``0.h`` (B, units); it gives ``y`` (B, T, O) and every field after the last step as
    ``0.h.next``. Batch and time are dynamic: with T = 1 it is a step. A graph has no state of its
    own, so the first call is given the initial state, `initial_state` of the model. Fields of a
    bidirectional layer are outputs alone, since it takes no carry. The metadata hold the
    architecture, so that `from_onnx` gives the same model back.

    Raises:
        ConversionError: names every layer whose equations use what is not written here.

    Example::

        sw.interop.to_onnx(model, "model.onnx")
        session = onnxruntime.InferenceSession("model.onnx")
        y, h, c = session.run(None, {"x": x, "0.h": h, "0.c": c})
    """
    graph = make_graph(model, reset=reset)
    with checkpoint.replace_atomically(path) as temporary:
        temporary.write_bytes(graph.SerializeToString(deterministic=True))


def make_graph(model: Weighted, *, reset: bool = False) -> Any:
    """The ONNX model that `to_onnx` writes."""
    onnx = require("onnx", "onnx", "to_onnx")
    made = _Graph(onnx, model, reset).build()
    onnx.checker.check_model(made, full_check=True)
    return made


class _Graph:
    def __init__(self, onnx: Any, model: Weighted, reset: bool) -> None:
        self.onnx, self.architecture = onnx, model.architecture
        self.writer = Writer(onnx, onnx_namespace)
        held = model.weights()
        arrays = {name: np.asarray(to_numpy(held[name])) for name in self.architecture.parameters}
        self.weights = checkpoint.fingerprint(arrays)
        dtypes = {array.dtype.name for array in arrays.values()} or {"float32"}
        self.dtype = dtypes.pop()
        self.p = {name: self.writer.weight(array, name) for name, array in arrays.items()}
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.reset = self._add_input("reset", (None, None), "bool") if reset else None

    def _add_input(self, name: str, shape: tuple[int | None, ...], dtype: str) -> Symbol:
        self.inputs.append(self._declare(name, shape, dtype))
        return Symbol(self.writer, name, shape, dtype)

    def _add_output(self, name: str, symbol: Symbol) -> None:
        self.writer.node("Identity", [symbol], [name])
        self.outputs.append(self._declare(name, symbol.shape, symbol.dtype))

    def _declare(
        self, name: str, shape: tuple[int | None, ...], dtype: str, body: bool = False
    ) -> Any:
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        dynamic = ["batch", *([] if body else ["time"])]
        axes = [
            (dynamic[axis] if axis < len(dynamic) else f"axis_{axis}") if size is None else size
            for axis, size in enumerate(shape)
        ]
        return self.onnx.helper.make_tensor_value_info(name, kind, axes)

    def build(self) -> Any:
        architecture = self.architecture
        if isinstance(architecture.inputs, Tokens):
            tokens = self._add_input("x", (None, None), "int64")
            shape = (None, None, architecture.inputs.width)
            y = self.writer.apply("Gather", [self.p["inputs.E"], tokens], shape, self.dtype)
        else:
            y = self._add_input("x", (None, None, architecture.inputs.features), self.dtype)
        self.inputs.sort(key=lambda given: given.name != "x")
        first, problems = y, []
        after: Named = {}
        views: list[Named] = []
        for index, cell in enumerate(architecture.layers):
            try:
                y, new, intermediates = self._add_layer(index, cell.evaluating(), y, first)
            except ConversionError as reason:
                problems.append(str(reason))
                break
            except (AttributeError, TypeError, NotImplementedError) as error:
                problems.append(
                    f"layer {index} ({type(cell).__name__}): its equations use what is not written "
                    f"as ONNX here ({error})"
                )
                break
            after |= {f"{index}.{name}": value for name, value in new.items()}
            views.append(intermediates)
        raise_all("the model", problems)
        y = self._compute_outputs(y, views)
        self._add_output("y", y)
        for name, value in after.items():
            self._add_output(f"{name}.next", value)
        if architecture.outputs is not None and architecture.outputs.remember:
            self._add_input("outputs.y", (None, y.shape[2]), self.dtype)
            self._add_output("outputs.y.next", y[:, -1])
        return self._make_model()

    def _compute_outputs(self, y: Symbol, views: list[Named]) -> Symbol:
        outputs = self.architecture.outputs
        if outputs is None:
            return y
        y = y @ self.p["outputs.W"].T + self.p["outputs.b"]
        if outputs.inverse:
            pairs = list(zip(self.architecture.transforms, views, strict=False))
            for transform, intermediates in reversed(pairs):
                y = transform.inverse(y, intermediates)
        return y

    def _make_model(self) -> Any:
        helper = self.onnx.helper
        graph = helper.make_graph(
            self.writer.scopes[0], "statewise", self.inputs, self.outputs, self.writer.initializers
        )
        made = helper.make_model(
            graph,
            producer_name="statewise",
            ir_version=IR,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        helper.set_model_props(
            made,
            {
                "statewise.architecture": self.architecture.to_json(),
                "statewise.fingerprint": self.architecture.fingerprint,
                "statewise.weights": self.weights,
                "statewise.reset": str(self.reset is not None).lower(),
            },
        )
        return made

    # Layers

    def _add_layer(
        self, index: int, cell: Cell, x: Symbol, first: Symbol
    ) -> tuple[Symbol, Named, Named]:
        width = self.architecture.widths[index]
        p = select_prefix(self.p, str(index))
        if not cell.causal:
            return (*self._add_both_directions(index, cell, p, x, width, first), {})
        declared = declared_fields(cell, width)
        if not declared and (done := run_scan(cell, p, x, {})) is not None:
            return done
        state = {
            name: self._add_input(f"{index}.{name}", (None, *field.shape), field.dtype(self.dtype))
            for name, field in declared.items()
        }
        inverts = self.architecture.outputs is not None and self.architecture.outputs.inverse
        capturing = bool(inverts and index < len(self.architecture.transforms))
        y, after, intermediates = self._add_scan(cell, p, x, state, declared, capturing=capturing)
        return y, after, intermediates

    def _add_both_directions(
        self, index: int, cell: Cell, p: Named, x: Symbol, width: int, first: Symbol
    ) -> tuple[Symbol, Named]:
        where = f"layer {index} ({type(cell).__name__})"
        if isinstance(cell, Residual):
            y, after = self._add_both_directions(index, cell.inner, p, x, width, first)
            return x + y, after
        assert isinstance(cell, Bidirectional)
        if self.reset is not None:
            raise ConversionError(f"{where}: a graph with reset reads forward alone")
        ends: Named = {}
        sides = []
        declared = declared_fields(cell.inner, width)
        for way, back in (("forward", 0), ("backward", 1)):
            mine = select_prefix(p, way)
            start = {
                name: self._repeat_rows(self._make_initial(mine, name, field), first, field)
                for name, field in declared.items()
            }
            y, after, _ = self._add_scan(cell.inner, mine, x, start, declared, back=back)
            sides.append(y)
            ends |= {f"{way}.{name}": value for name, value in after.items()}
        return concat(sides, axis=-1), ends

    def _make_initial(self, p: Mapping[str, Symbol], name: str, field: Field) -> Symbol:
        """The initial value of a field, (1, ...)."""
        learned = p.get(f"{name}0")
        if learned is not None:
            return astype(learned, field.dtype(self.dtype))[None]
        value = np.broadcast_to(np.asarray(field.initial, field.dtype(self.dtype)), field.shape)
        return self.writer.weight(np.array(value)[None])

    def _repeat_rows(self, value: Symbol, first: Symbol, field: Field) -> Symbol:
        """An initial value for as many rows as the inputs have."""
        shape = self.writer.apply("Shape", [first], (first.ndim,), "int64")[0:1]
        rest = self.writer.weight(np.array(field.shape, np.int64))
        whole = self.writer.apply("Concat", [shape, rest], (1 + len(field.shape),), "int64", axis=0)
        return self.writer.apply("Expand", [value, whole], (None, *field.shape), value.dtype)

    def _add_scan(
        self,
        cell: Cell,
        p: Named,
        x: Symbol,
        state: Named,
        declared: Mapping[str, Field],
        *,
        back: int = 0,
        capturing: bool = False,
    ) -> tuple[Symbol, Named, Named]:
        """A layer over time: the cell's step as the body of an ONNX Scan."""
        writer, reset = self.writer, self.reset
        before = {
            name: Symbol(writer, writer.make_name(f"before_{name}"), held.shape, held.dtype)
            for name, held in state.items()
        }
        x_t = Symbol(writer, writer.make_name("x_t"), (None, *x.shape[2:]), x.dtype)
        reset_t = Symbol(writer, writer.make_name("reset_t"), (None,), "bool")
        scanned = [x] if reset is None else [x, reset]
        with writer.scope() as nodes:
            s: Named = dict(before)
            if reset is not None:
                for name, field in declared.items():
                    mask = reset_t[(slice(None), *(None,) * len(field.shape))]
                    s[name] = where(mask, self._make_initial(p, name, field), s[name])
            y, after, intermediates = run_step(cell, p, x_t, s)
            shown = intermediates if capturing else {}
            results = [*(astype(after[name], held.dtype) for name, held in state.items()), y]
            results += shown.values()
            ends = [writer.make_name("after") for _ in results]
            for end, symbol in zip(ends, results, strict=True):
                writer.node("Identity", [symbol], [end])
            enters = [*before.values(), *([x_t] if reset is None else [x_t, reset_t])]
            body = self.onnx.helper.make_graph(
                nodes,
                writer.make_name("step"),
                [self._declare(e.name, e.shape, e.dtype, True) for e in enters],
                [
                    self._declare(end, result.shape, result.dtype, True)
                    for end, result in zip(ends, results, strict=True)
                ],
            )
        made = [
            Symbol(writer, writer.make_name("scan"), held.shape, held.dtype)
            for held in state.values()
        ]
        made += [
            Symbol(writer, writer.make_name("scan"), (None, None, *r.shape[1:]), r.dtype)
            for r in results[len(state) :]
        ]
        writer.node(
            "Scan",
            [*state.values(), *scanned],
            [symbol.name for symbol in made],
            body=body,
            num_scan_inputs=len(scanned),
            scan_input_axes=[1] * len(scanned),
            scan_output_axes=[1] * (len(made) - len(state)),
            scan_input_directions=[back] * len(scanned),
            scan_output_directions=[back] * (len(made) - len(state)),
        )
        new = dict(zip(state, made, strict=False))
        views = dict(zip(shown, made[len(state) + 1 :], strict=False))
        return made[len(state)], new, views
