"""`from_torch`: a torch module as a statewise model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from statewise.architecture import Tokens, Vector
from statewise.cell import Cell
from statewise.cells import GRU, LSTM, Bidirectional, Dense, Dropout, Elman, LayerNorm
from statewise.errors import ConversionError
from statewise.extras import require
from statewise.interop.parts import Draft, join_directions
from statewise.loading import describe_foreign, framework_of
from statewise.types import Array

if TYPE_CHECKING:
    from torch import nn

    from statewise.nn import Model
    from statewise.types import Parameters

ROWS, STEPS = 3, 5  # of the run that compares the two models


def from_torch(module: nn.Module) -> Model:
    """A statewise model that computes what a torch module does.

    Arguments:
        module: an ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU``, one of their cells, or a module that holds
            them in a chain with ``Embedding``, ``Linear``, ``LayerNorm``, ``Dropout`` and
            activations. A module that returns only its last step becomes a model that returns
            every step, the last of which is the module's.

    Returns:
        a `statewise.nn.Model` in the module's dtype and on its device, ready to evaluate, whose
        weights are copies. Inputs are batch first whatever the module's ``batch_first``. Both were
        run on the same random inputs and agree.

    Raises:
        ConversionError: names every part that cannot be carried over, or says by how much the two
            differ where ``forward`` does more than its parts.

    Example::

        lstm = torch.nn.LSTM(3, 64, num_layers=2, batch_first=True)
        model = sw.interop.from_torch(lstm)
        y, state = model(x)     # y is lstm(x)[0]
    """
    require("torch", "train", "from_torch")
    from statewise.interop.torch_trace import find_device, has_recurrent_part, trace_chain
    from statewise.nn import Model

    framework = framework_of(module)
    if framework == "statewise":
        raise ConversionError("this is a statewise model already; use it as it is")
    if framework == "keras":
        raise ConversionError("this is a Keras model; use from_keras")
    if framework != "torch":
        raise ConversionError(f"from_torch takes a torch module, got {describe_foreign(module)}")
    source = f"the torch module {type(module).__name__}"
    if not has_recurrent_part(module):
        raise ConversionError(
            f"{source} has no recurrent layer (nn.RNN, nn.LSTM, nn.GRU or their cells), so it has "
            "no state to carry over"
        )
    found = trace_chain(module)
    draft = Draft(source)
    for part in found.parts:
        if part.module is None:
            if part.activation is None:
                draft.refuse(part.name, "no counterpart")
            else:
                draft.activate(part.name, part.activation)
        else:
            _add(draft, part.name, part.module)
    architecture, weights = draft.finish()
    dtype = next(value.dtype for value in weights.values())
    model = Model(architecture, weights=weights, dtype=dtype, device=find_device(module)).eval()
    _require_equal_outputs(module, model, source, found.last)
    return model


def _add(draft: Draft, name: str, part: nn.Module) -> None:
    """One torch module as the next layers."""
    from torch import nn

    from statewise.interop.torch_trace import find_activation

    where = f"{name} ({type(part).__name__})"
    if draft.inputs is None and isinstance(getattr(part, "in_features", None), int):
        draft.inputs = Vector(part.in_features)  # type: ignore[arg-type]
    match part:
        case nn.Identity():
            pass
        case nn.Embedding() if draft.inputs is None and part.max_norm is None:
            draft.tokens(part.weight.detach())
        case nn.Embedding():
            draft.refuse(where, "an embedding must come first, and without max_norm")
        case nn.RNNBase():
            draft.inputs = draft.inputs or Vector(part.input_size)
            _add_recurrent(draft, part)
        case nn.RNNCellBase():
            draft.inputs = draft.inputs or Vector(part.input_size)
            draft.add(_convert_cell(part), _convert_weights(part, ""))
        case nn.Linear():
            bias = part.weight.new_zeros(part.out_features) if part.bias is None else part.bias
            draft.add(Dense(part.out_features), {"W": part.weight.detach(), "b": bias.detach()})
        case nn.Dropout() if part.p < 1:
            draft.add(Dropout(part.p))
        case nn.LayerNorm() if len(part.normalized_shape) == 1:
            _add_layer_norm(draft, part)
        case _:
            activation = find_activation(part)
            if activation is None:
                draft.refuse(where, "no counterpart")
            else:
                draft.activate(where, activation)


def _add_recurrent(draft: Draft, part: Any) -> None:
    for layer in range(part.num_layers):
        if layer and part.dropout:
            draft.add(Dropout(part.dropout))
        arrays = _convert_weights(part, f"_l{layer}")
        if part.bidirectional:
            back = _convert_weights(part, f"_l{layer}_reverse")
            draft.add(Bidirectional(_convert_cell(part)), join_directions(arrays, back))
        else:
            draft.add(_convert_cell(part), arrays)


def _convert_cell(part: Any) -> Cell:
    kind, units = type(part).__name__, part.hidden_size
    if kind.startswith("LSTM"):
        return LSTM(units, projection=getattr(part, "proj_size", 0) or None)
    if kind.startswith("GRU"):
        return GRU(units)
    return Elman(units, activation=part.nonlinearity)


def _convert_weights(part: Any, suffix: str) -> Parameters:
    """One direction of one layer. torch keeps two biases whose sum is all that matters, but for the
    candidate of a GRU.
    """
    w, r = (getattr(part, f"weight_{side}{suffix}").detach() for side in ("ih", "hh"))
    zeros = w.new_zeros(w.shape[0])
    b, second = (
        getattr(part, f"bias_{side}{suffix}").detach() if part.bias else zeros
        for side in ("ih", "hh")
    )
    arrays: dict[str, Array] = {"W": w, "R": r}
    if type(part).__name__.startswith("GRU"):
        gates = second.clone()
        gates[2 * part.hidden_size :] = 0
        arrays["b"], arrays["m"] = b + gates, second[2 * part.hidden_size :]
    else:
        arrays["b"] = b + second
    if getattr(part, "proj_size", 0):
        arrays["P"] = getattr(part, f"weight_hr{suffix}").detach()
    return arrays


def _require_equal_outputs(module: Any, model: Any, source: str, last: bool) -> None:
    """Run both on the same inputs; raise where they differ."""
    import torch

    off = compare_with_torch(module, model, last)
    if not off <= (1e-8 if model.dtype == torch.float64 else 1e-5):
        raise ConversionError(
            f"{source} does more in forward than its parts one after the other: the outputs "
            f"differ (largest difference {off:.3g}); convert its recurrent parts by themselves"
        )


def compare_with_torch(module: Any, model: Any, last: bool | None = None) -> float:
    """The largest difference between what a torch module and the model made of it give for the same
    random inputs, relative to the largest output.
    """
    import torch

    inputs = model.architecture.inputs
    generator = torch.Generator().manual_seed(0)
    if isinstance(inputs, Tokens):
        x = torch.randint(inputs.size, (ROWS, STEPS), generator=generator)
    else:
        x = torch.randn(ROWS, STEPS, inputs.features, generator=generator, dtype=torch.float64)
        x = x.to(model.dtype)
    x = x.to(model.device)
    ends = (False, True) if last is None else (last,)
    training, off = module.training, float("inf")
    module.eval()
    try:
        with torch.no_grad():
            y, _ = model(x)
            if isinstance(module, torch.nn.RNNCellBase):
                x, y, ends = x[:, 0], y[:, 0], (False,)
            for time_first in (False, True):
                for end in ends:
                    off = min(off, _compare_outputs(module, x, y, time_first, end))
    finally:
        module.train(training)
    return off


def _compare_outputs(module: Any, x: Any, y: Any, time_first: bool, last: bool) -> float:
    """The largest difference between y and the outputs of a module for x."""
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, on kernels that it lacks
            given = module(x.transpose(0, 1) if time_first and x.ndim > 1 else x)
    except Exception:
        return float("inf")
    while isinstance(given, (tuple, list)) and given:
        given = given[0]
    expected = y[:, -1] if last else y
    if time_first and not last and expected.ndim == 3:
        expected = expected.transpose(0, 1)
    if getattr(given, "shape", None) != expected.shape:
        return float("inf")
    scale = max(1.0, float(expected.abs().max()))
    return float((given - expected).abs().max()) / scale


def _add_layer_norm(draft: Draft, part: Any) -> None:
    width = part.normalized_shape[0]
    draft.inputs = draft.inputs or Vector(width)
    import torch

    scale = torch.ones(width) if part.weight is None else part.weight.detach()
    shift = torch.zeros_like(scale) if part.bias is None else part.bias.detach()
    draft.add(LayerNorm(part.eps), {"scale": scale, "shift": shift})
