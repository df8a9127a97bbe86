"""Ctrl-C as a request to stop after the chunk at hand."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """Delays the first Ctrl-C until the chunk at hand is done; a second one interrupts at once.

    Does nothing outside the main thread, where signals never arrive, and where Ctrl-C is ignored.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: Any = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGINT)
            if before not in (None, signal.SIG_IGN):
                self._before = before
                signal.signal(signal.SIGINT, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _request(self, signum: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def check(self) -> None:
        """Raise `Requested` if Ctrl-C has come: called where stopping is safe."""
        if self.requested:
            raise Requested


class Requested(Exception):  # noqa: N818 - a request, not an error
    """Ctrl-C came, and this is a safe place to stop."""
