"""The errors of the server, each with an HTTP status and a code for programs.

ServeError
├── BadInput 400         inputs or a state that do not fit
├── Unauthorized 401     no token, or an unknown one
├── NotFound 404         a session, snapshot or model that never existed
├── Exists 409           a session of this id exists
├── WrongPosition 409    the session is not at the position that the request expects
├── OwnedElsewhere 409   another server holds the session's lease
├── Unserved 409         the version that the session needs is not served
├── Gone 410             expired or deleted, with the last snapshot
├── TooLarge 413         a body over the limit
├── Unprocessable 422    a request that can be read but not carried out
├── TooBusy 429          a full queue or quota; Retry-After says when
├── ModelFailed 500      the model gave a number that is not finite
├── Stopping 503         the server is stopping
├── StoreFailed 503      the store cannot be reached or written
└── TimedOut 504         the request took too long
"""

from __future__ import annotations

from typing import Any

from statewise.errors import StatewiseError


class ServeError(StatewiseError):
    """The root of every error that the server answers.

    Arguments:
        message: what came, what was expected, what to do.
        details: further entries of the answer's ``error`` object.
    """

    status = 500
    code = "error"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message, self.details = message, details

    def body(self) -> dict[str, Any]:
        """Make the body of the answer: ``{"error": {"code", "message", ...}}``."""
        return {"error": {"code": self.code, "message": self.message, **self.details}}


class BadInput(ServeError):
    status, code = 400, "bad_input"


class Unauthorized(ServeError):
    status, code = 401, "unauthorized"


class NotFound(ServeError):
    status, code = 404, "not_found"


class Exists(ServeError):
    status, code = 409, "exists"


class WrongPosition(ServeError):
    status, code = 409, "wrong_position"


class OwnedElsewhere(ServeError):
    status, code = 409, "owned_elsewhere"


class Unserved(ServeError):
    status, code = 409, "version_not_served"


class Gone(ServeError):
    status, code = 410, "gone"


class TooLarge(ServeError):
    status, code = 413, "too_large"


class Unprocessable(ServeError):
    status, code = 422, "unprocessable"


class TooBusy(ServeError):
    status, code = 429, "too_busy"


class ModelFailed(ServeError):
    status, code = 500, "model_failed"


class Stopping(ServeError):
    status, code = 503, "stopping"


class StoreFailed(ServeError):
    status, code = 503, "store_failed"


class TimedOut(ServeError):
    status, code = 504, "timed_out"
