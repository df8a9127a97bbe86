"""The bodies of KServe v2 inference: tensors as JSON or as the bytes that follow it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from statewise.serve.errors import BadInput

if TYPE_CHECKING:
    from statewise.serve.models import ModelInfo
    from statewise.serve.session import StepResult

INPUT, OUTPUT = "inputs", "outputs"
_WORDS = {"float16": "FP16", "float32": "FP32", "float64": "FP64", "int64": "INT64"}


@dataclass(frozen=True)
class Infer:
    """The content of an inference request.

    Arguments:
        id: the request's, repeated in the answer.
        inputs: (features,) or a token for one time step, (T, features) or (T,) for a chunk.
        sequence: its id as text, None without one.
        start, end: whether the sequence begins and ends with this request.
        step, request_id: as for a step of a session.
        binary: whether the outputs come as bytes; None if they were not requested.
    """

    id: str
    inputs: np.ndarray
    sequence: str | None
    start: bool
    end: bool
    step: int | None
    request_id: str | None
    binary: bool | None


def datatype(model: ModelInfo, output: bool = False) -> str:
    """Name the dtype of a model's inputs or outputs, in the protocol's words."""
    return _WORDS["int64" if not output and _tokens(model) else model.dtype]


def row(model: ModelInfo, steps: int) -> list[int]:
    """List the shape of one row of inputs: steps, and features if inputs are vectors."""
    return [steps] if _tokens(model) else [steps, int(model.inputs["features"])]


def read_request(body: bytes, length: str | None, model: ModelInfo) -> Infer:
    """Read a request.

    Arguments:
        body: JSON, and the bytes of binary tensors after it.
        length: the header ``Inference-Header-Content-Length``: how much of it is JSON.
        model: what the tensors must fit.

    Raises:
        BadInput: a body that cannot be read, or tensors that do not fit.
    """
    header, rest = _parted(body, length)
    request = _object(header)
    parameters = _parameters(request, "the request")
    inputs = _entries(request, "inputs")
    if len(inputs) != 1:
        raise BadInput(f"expected 1 inputs but got {len(inputs)} inputs for model '{model.name}'")
    if inputs[0].get("name") != INPUT:
        raise BadInput(
            f"unexpected inference input '{inputs[0].get('name')}' for model '{model.name}'; it "
            f"takes '{INPUT}'"
        )
    array = _tensor(inputs[0], rest, model)
    sequence = parameters.get("sequence_id")
    if isinstance(sequence, bool) or not isinstance(sequence, (int, str, type(None))):
        raise BadInput(f"sequence_id must be a whole number or text, got {sequence!r}")
    step, request_id = parameters.get("step"), parameters.get("request_id")
    if isinstance(step, bool) or not isinstance(step, (int, type(None))):
        raise BadInput(f"step must be a whole number, got {step!r}")
    if not isinstance(request_id, (str, type(None))):
        raise BadInput(f"request_id must be text, got {request_id!r}")
    identity = request.get("id", "")
    return Infer(
        id=identity if isinstance(identity, str) else str(identity),
        inputs=array[0],
        sequence=str(sequence) if sequence else None,
        start=_flag(parameters, "sequence_start"),
        end=_flag(parameters, "sequence_end"),
        step=step,
        request_id=request_id,
        binary=_wanted(request, parameters, model),
    )


def write_answer(asked: Infer, model: ModelInfo, result: StepResult) -> tuple[bytes, int | None]:
    """Write the body of an answer, and the length of its JSON if bytes follow."""
    array = np.ascontiguousarray(result.outputs[None])
    tensor: dict[str, Any] = {
        "name": OUTPUT,
        "datatype": datatype(model, output=True),
        "shape": list(array.shape),
    }
    answer: dict[str, Any] = {
        "model_name": model.name,
        "model_version": model.version,
        "parameters": {
            "sequence_id": asked.sequence,
            "step": result.step,
            "replayed": result.replayed,
        },
        "outputs": [tensor],
    }
    if asked.id:
        answer["id"] = asked.id
    if not asked.binary:
        tensor["data"] = array.ravel().tolist()
        return msgspec.json.encode(answer), None
    data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    tensor["parameters"] = {"binary_data_size": len(data)}
    header = msgspec.json.encode(answer)
    return header + data, len(header)


def _tokens(model: ModelInfo) -> bool:
    return model.inputs.get("kind") == "tokens"


def _parted(body: bytes, length: str | None) -> tuple[bytes, bytes]:
    if length is None:
        return body, b""
    if not length.isdecimal() or int(length) > len(body):
        raise BadInput(
            f"Inference-Header-Content-Length must be a length within the body of {len(body)} "
            f"bytes, got {length!r}"
        )
    return body[: int(length)], body[int(length) :]


def _object(header: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(header, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"failed to parse the request JSON buffer: {error}") from None


def _parameters(given: dict[str, Any], whose: str) -> dict[str, Any]:
    parameters = given.get("parameters", {})
    if not isinstance(parameters, dict):
        raise BadInput(f"the parameters of {whose} must be an object, got {parameters!r}")
    return parameters


def _entries(request: dict[str, Any], name: str) -> list[dict[str, Any]]:
    entries = request.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadInput(f"'{name}' of the request must be a list of tensors")
    return entries


def _flag(parameters: dict[str, Any], name: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, (bool, int)):
        raise BadInput(f"{name} must be true or false, got {value!r}")
    return bool(value)


def _wanted(request: dict[str, Any], parameters: dict[str, Any], model: ModelInfo) -> bool:
    """Whether the output comes as bytes: as its own parameters say, else as the request's."""
    overall = _flag(parameters, "binary_data_output")
    for entry in _entries(request, "outputs"):
        if entry.get("name") != OUTPUT:
            raise BadInput(
                f"unexpected inference output '{entry.get('name')}' for model '{model.name}'; it "
                f"gives '{OUTPUT}'"
            )
        own = _parameters(entry, f"output '{OUTPUT}'")
        if "classification" in own:
            raise BadInput("the classification extension is not served; ask for the tensor itself")
        if "binary_data" in own:
            return _flag(own, "binary_data")
    return overall


def _tensor(entry: dict[str, Any], rest: bytes, model: ModelInfo) -> np.ndarray:
    """Read the input as (1, features), (1, T, features), (1, T) or (1,)."""
    expected = datatype(model)
    if entry.get("datatype") != expected:
        raise BadInput(
            f"inference input '{INPUT}' data-type is '{entry.get('datatype')}', but model "
            f"'{model.name}' expects '{expected}'"
        )
    shape = _shape(entry, model)
    dtype = np.dtype("int64" if expected == "INT64" else model.dtype).newbyteorder("<")
    size = _parameters(entry, f"input '{INPUT}'").get("binary_data_size")
    if size is None:
        array = _from_json(entry, shape, dtype)
    elif size != len(rest) or size != prod(shape) * dtype.itemsize:
        raise BadInput(
            f"input '{INPUT}' of shape {shape} needs {prod(shape) * dtype.itemsize} bytes; "
            f"binary_data_size is {size!r}, and {len(rest)} bytes follow the JSON"
        )
    else:
        array = np.frombuffer(rest, dtype)
    return array.reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _shape(entry: dict[str, Any], model: ModelInfo) -> list[int]:
    shape: Any = entry.get("shape")
    whole = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
    tail = row(model, 1)[1:]
    fits = whole and len(shape) in (1 + len(tail), 2 + len(tail))
    if not fits or shape[len(shape) - len(tail) :] != tail:
        shapes = f"[1,{tail[0]}] or [1,-1,{tail[0]}]" if tail else "[1] or [1,-1]"
        raise BadInput(
            f"unexpected shape for input '{INPUT}' for model '{model.name}'. Expected {shapes} "
            f"(a time step, or a chunk of them), got {shape}"
        )
    if shape[0] != 1:
        raise BadInput(
            f"inference request to model '{model.name}' must specify batch-size 1: a sequence has "
            f"one row; got {shape[0]}"
        )
    return list(shape)


def _from_json(entry: dict[str, Any], shape: list[int], dtype: np.dtype[Any]) -> np.ndarray:
    try:
        raw = np.asarray(entry.get("data"))
    except ValueError:
        raw = np.asarray(None)
    kinds = "iu" if dtype.kind == "i" else "iuf"
    if raw.size and raw.dtype.kind not in kinds:
        raise BadInput(f"the data of input '{INPUT}' must be numbers, row after row")
    if raw.size != prod(shape):
        raise BadInput(
            f"unexpected number of elements for input '{INPUT}': shape {shape} has "
            f"{prod(shape)}, and {raw.size} came"
        )
    with np.errstate(over="ignore"):
        return raw.astype(dtype)
