"""A light load generator: a process of its own, raw sockets, requests made beforehand.

``python benchmarks/serve_load.py`` reads a plan as JSON from its input (port, seconds, and for each
client the requests that it sends in turn, as text) and prints what it saw as JSON.
"""

from __future__ import annotations

import asyncio
import base64
import json
import resource
import sys
import time


class Connection(asyncio.Protocol):
    """A client that sends its next request when the answer to the last one is whole."""

    def __init__(self, requests: list[bytes], until: float, took: list[float]) -> None:
        self.requests, self.until, self.took = requests, until, took
        self.sent, self.buffer, self.need = 0, b"", -1
        self.finished = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.start = time.perf_counter()
        self.transport.write(self.requests[self.sent % len(self.requests)])
        self.sent += 1

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.need < 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].lower()
            if not head.startswith((b"http/1.1 200", b"http/1.1 201")):
                self.fail(RuntimeError(self.buffer[:500].decode()))
                return
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            self.need = end + 4 + int(length)
        if len(self.buffer) < self.need:
            return
        now = time.perf_counter()
        self.took.append(now - self.start)
        self.buffer, self.need = b"", -1
        if now < self.until:
            self.send()
        else:
            self.transport.close()
            self.finished.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self.fail(error or ConnectionError("the server closed the connection"))

    def fail(self, error: Exception) -> None:
        if not self.finished.done():
            self.finished.set_exception(error)


def encoded(port: int, path: str, body: str, kind: str) -> bytes:
    """A whole request; a body that is not JSON comes in base64."""
    content = body.encode() if kind.endswith("json") else base64.b64decode(body)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {kind}\r\n"
        f"Accept: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def main() -> None:
    plan = json.load(sys.stdin)
    loop = asyncio.get_running_loop()
    took: list[float] = []
    clients = [
        [encoded(plan["port"], path, body, plan["kind"]) for path, body in client]
        for client in plan["clients"]
    ]
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    until = start + plan["seconds"]
    connections = [
        await loop.create_connection(
            lambda requests=requests: Connection(requests, until, took), "127.0.0.1", plan["port"]
        )
        for requests in clients
    ]
    await asyncio.gather(*(connection.finished for _, connection in connections))
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    took.sort()
    print(
        json.dumps(
            {
                "requests": len(took),
                "rate": len(took) / wall,
                "p50": took[len(took) // 2],
                "p99": took[int(len(took) * 0.99)],
                "cpu": (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / wall,
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main())
