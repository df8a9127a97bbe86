"""`Guards`: the tokens and limits of requests, and the namespace of each token."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from statewise.serve.errors import Unauthorized

NAMESPACE = "default"


@dataclass(frozen=True)
class Guards:
    """The tokens and limits of requests.

    Arguments:
        tokens: bearer token -> namespace; without tokens all requests share ``default``.
        body: how many bytes a body may have.
        timeout: how many seconds a request may take, its body included.
    """

    tokens: Mapping[str, str] = field(default_factory=dict)
    body: int = 64 * 2**20
    timeout: float = 30.0

    def find_namespace(self, authorization: str | None) -> str:
        """Find the namespace of a request.

        Raises:
            Unauthorized: no token, or one that is not known.
        """
        if not self.tokens:
            return NAMESPACE
        scheme, _, given = (authorization or "").partition(" ")
        found = None
        for (
            token,
            namespace,
        ) in self.tokens.items():  # all of them, so that the time tells nothing about the token
            if hmac.compare_digest(token.encode(), given.strip().encode()):
                found = namespace
        if found is None or scheme.lower() != "bearer":
            raise Unauthorized(
                "the token is missing or unknown; send the header Authorization: Bearer TOKEN"
            )
        return found
