"""`Guards`: what the server demands of requests, and whose sessions they may see."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from statewise.serve.errors import Unauthorized

NAMESPACE = "default"


@dataclass(frozen=True)
class Guards:
    """What the server demands of requests.

    Arguments:
        tokens: bearer token -> namespace; with none, everybody has the namespace ``default``.
        body: bytes of a body at most.
        timeout: seconds that a request may take, its body included.
    """

    tokens: Mapping[str, str] = field(default_factory=dict)
    body: int = 64 * 2**20
    timeout: float = 30.0

    def namespace(self, authorization: str | None) -> str:
        """Whose sessions a request may see.

        Raises:
            Unauthorized: no token, or one that is not known.
        """
        if not self.tokens:
            return NAMESPACE
        scheme, _, given = (authorization or "").partition(" ")
        found = None
        for token, namespace in self.tokens.items():  # all of them: the time tells nothing
            if hmac.compare_digest(token.encode(), given.strip().encode()):
                found = namespace
        if found is None or scheme.lower() != "bearer":
            raise Unauthorized("give a known token: the header Authorization: Bearer TOKEN")
        return found
