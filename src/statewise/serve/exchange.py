"""`Call` and `exchange`: what a client sends and reads, and when it repeats a request."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx
import msgspec
import numpy as np

from statewise.serve import errors
from statewise.serve.errors import ServeError
from statewise.serve.wire import JSON, MESSAGEPACK, SAFETENSORS

T = TypeVar("T")

_AGAIN = {429, 503}
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0


class Unreachable(ServeError):
    """No answer came, even to repeated requests."""

    status, code = 503, "unreachable"


_CLASSES: dict[str, type[ServeError]] = {
    found.code: found
    for found in vars(errors).values()
    if isinstance(found, type) and issubclass(found, ServeError)
}


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request and how its answer is read.

    Arguments:
        method, path: the request's.
        read: turns the decoded body of the answer into what the caller gets.
        body: sent as MessagePack; bytes are sent as they are.
        query: the parameters of the address.
        done_already: what to do if the first answer was lost and the repeated request is refused
            because it was carried out: the error, and the path to read; None reads the error.
    """

    method: str
    path: str
    read: Callable[[Any], T]
    body: Any = None
    query: dict[str, Any] = field(default_factory=dict)
    done_already: tuple[type[ServeError], str | None] | None = None

    def request(self) -> dict[str, Any]:
        """Make the arguments of httpx's ``request``."""
        given: dict[str, Any] = {"method": self.method, "url": self.path}
        if self.query:
            given["params"] = self.query
        if isinstance(self.body, bytes):
            given |= {"content": self.body, "headers": {"Content-Type": SAFETENSORS}}
        elif self.body is not None:
            content = msgspec.msgpack.encode(self.body)
            given |= {"content": content, "headers": {"Content-Type": MESSAGEPACK}}
        return given


Outcome = httpx.Response | httpx.TransportError
Exchange = Generator[tuple[float, dict[str, Any]], Outcome, T]


def exchange(call: Call[T], retries: int) -> Exchange[T]:
    """Carry out a call: yield how long to wait in seconds and what to send, receive the outcome,
    and return the result.

    Failed connections and the answers 429 and 503 are tried again, after the wait that the server
    asks for or twice the last wait, with a random part so that clients do not return together.

    Raises:
        ServeError: the server answers an error.
        Unreachable: no answer, even after `retries` repetitions.
    """
    lost, backoff, wait = False, _FIRST_WAIT, 0.0
    request = call.request()
    for left in range(retries, -1, -1):
        outcome = yield wait, request
        wait, backoff = backoff * random.uniform(0.5, 1.0), min(2 * backoff, _LONGEST_WAIT)
        if isinstance(outcome, httpx.TransportError):
            lost = True
            if not left:
                reason = str(outcome) or type(outcome).__name__
                raise Unreachable(
                    f"{call.method} {call.path} got no answer in {retries + 1} "
                    f"{'try' if not retries else 'tries'} ({reason}); is the server running?"
                ) from outcome
            continue
        if outcome.is_success:
            return call.read(decode_body(outcome))
        error = read_error(outcome)
        if lost and call.done_already and isinstance(error, call.done_already[0]):
            path = call.done_already[1]
            if path is None:
                return call.read(error.details)
            lost, request = False, {"method": "GET", "url": path}
            call = Call("GET", path, call.read)
            wait = 0.0
            continue
        if outcome.status_code not in _AGAIN or not left:
            raise error
        wait = max(wait, read_wait(outcome))
    raise Unreachable(f"{call.method} {call.path} has no answer")


def decode_body(response: httpx.Response) -> Any:
    """Read a body by its content type: MessagePack, JSON, bytes, or None for an empty one."""
    kind = response.headers.get("content-type", "").partition(";")[0]
    if not response.content:
        return None
    if kind == MESSAGEPACK:
        return msgspec.msgpack.decode(response.content)
    if kind == JSON:
        return msgspec.json.decode(response.content)
    return response.content


def read_error(response: httpx.Response) -> ServeError:
    """Read the error that a server answers, as the class that raised it there."""
    try:
        body = decode_body(response)["error"]
        code, message = str(body.pop("code")), str(body.pop("message"))
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        code, body = "error", {}
        message = f"HTTP {response.status_code}: {response.text[:200]}"
    return make_error(code, message, body, response.status_code)


def make_error(code: str, message: str, details: dict[str, Any], status: int = 500) -> ServeError:
    """Make an error from its parts."""
    error = _CLASSES.get(code, ServeError)(message, **details)
    if type(error) is ServeError:
        error.status, error.code = status, code
    return error


def read_wait(response: httpx.Response) -> float:
    """Read the seconds of Retry-After; 0 without a number there."""
    try:
        return max(0.0, float(response.headers.get("retry-after", 0)))
    except ValueError:
        return 0.0


def to_lists(inputs: Any) -> Any:
    """Turn arrays into lists, for MessagePack."""
    return inputs.tolist() if isinstance(inputs, np.ndarray) else inputs
