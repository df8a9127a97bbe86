"""Sessions in Redis: a store that several machines share.

Claims and fenced writes are scripts that Redis runs whole. An owner lives as long as its key does,
so the clock is the server's own. What survives a crash of Redis is a matter of its configuration:
durability ``step`` needs ``appendonly yes`` and ``appendfsync always``.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from typing import Any, cast

from statewise.errors import FileError, MissingExtraError
from statewise.serve.records import Key
from statewise.serve.stores.base import (
    IdInUse,
    OwnedByOther,
    Row,
    StoredSnapshot,
    Write,
    is_process_running,
)

_CLAIM = """
local owner = redis.call('HGET', KEYS[1], 'owner')
if not owner then return {0} end
local fence = redis.call('HGET', KEYS[1], 'fence')
if owner ~= ARGV[1] and redis.call('EXISTS', ARGV[3] .. owner) == 1 then return {2, owner} end
if owner ~= ARGV[1] or fence ~= ARGV[2] then
  redis.call('HSET', KEYS[1], 'owner', ARGV[1])
  fence = redis.call('HINCRBY', KEYS[1], 'fence', 1)
end
return {1, fence, redis.call('HGET', KEYS[1], 'data')}
"""
_CREATE = """
local fence = redis.call('HGET', KEYS[1], 'fence')
if fence and redis.call('HGET', KEYS[1], 'gone') == '' then return -1 end
if ARGV[6] ~= '' and redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[6]) then return -2 end
fence = (fence or 0) + 1
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'fence', fence, 'gone', '', 'data', ARGV[2])
redis.call('ZADD', KEYS[2], 0, ARGV[4])
redis.call('ZREM', KEYS[4], ARGV[5])
if ARGV[3] ~= '' then redis.call('ZADD', KEYS[3], ARGV[3], ARGV[5])
else redis.call('ZREM', KEYS[3], ARGV[5]) end
return fence
"""
_SAVE = """
local held = redis.call('HMGET', KEYS[1], 'owner', 'fence')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'data', ARGV[3], 'gone', ARGV[5])
if ARGV[4] ~= '' then redis.call('ZADD', KEYS[3], ARGV[4], ARGV[7])
else redis.call('ZREM', KEYS[3], ARGV[7]) end
if ARGV[5] ~= '' then
  redis.call('ZREM', KEYS[2], ARGV[6])
  redis.call('ZADD', KEYS[4], ARGV[5], ARGV[7])
end
return 1
"""


class RedisStore:
    """Sessions in Redis.

    Arguments:
        url: ``redis://host:port/database``.
        prefix: of every key.

    Raises:
        FileError: no Redis answers there.
        MissingExtraError: the package redis is not installed.
    """

    def __init__(self, url: str, prefix: str = "statewise:") -> None:
        try:
            import redis
        except ImportError:
            raise MissingExtraError("redis", "redis", "a store in Redis") from None
        self._redis: Any = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
        self._prefix = prefix
        try:
            self._redis.ping()
        except redis.RedisError as error:
            raise FileError(f"cannot use {url} as a store of sessions: {error}") from error
        self._claim = self._redis.register_script(_CLAIM)
        self._create = self._redis.register_script(_CREATE)
        self._save = self._redis.register_script(_SAVE)

    def _at(self, key: Key) -> str:
        return f"{self._prefix}session:{key[0]}/{key[1]}"

    def _keys(self, key: Key) -> list[str]:
        p = self._prefix
        return [self._at(key), f"{p}living:{key[0]}", f"{p}expiring", f"{p}gone"]

    def beat(self, owner: str, seconds: float) -> None:
        where = f"{os.getpid()} {socket.gethostname()}"
        self._redis.set(f"{self._prefix}owner:{owner}", where, px=max(1, int(seconds * 1000)))

    def release(self, owner: str) -> None:
        self._redis.delete(f"{self._prefix}owner:{owner}")

    def claim(self, key: Key, owner: str, fence: int | None = None) -> Row | None:
        given = [owner, "" if fence is None else fence, f"{self._prefix}owner:"]
        outcome, *rest = self._claim(keys=[self._at(key)], args=given)
        if outcome == 2 and not self._has_lease(rest[0].decode()):
            self.release(rest[0].decode())
            outcome, *rest = self._claim(keys=[self._at(key)], args=given)
        if outcome == 0:
            return None
        if outcome == 2:
            raise OwnedByOther(rest[0].decode())
        return Row(key, owner, int(rest[0]), rest[1])

    def _has_lease(self, owner: str) -> bool:
        """Whether an owner's lease holds; that of a process of this host that has ended does
        not.
        """
        where = self._redis.get(f"{self._prefix}owner:{owner}")
        if where is None:
            return False
        pid, _, host = where.decode().partition(" ")
        return is_process_running(host, int(pid))

    def create(self, write: Write, limit: int | None = None, sync: bool = True) -> int | None:
        expires = "" if write.expires is None else write.expires
        most = "" if limit is None else limit
        given = [write.owner, write.data, expires, write.key[1], "/".join(write.key), most]
        fence = int(self._create(keys=self._keys(write.key), args=given))
        if fence == -1:
            raise IdInUse(write.key)
        return None if fence == -2 else fence

    def save(self, writes: Sequence[Write], sync: bool = True) -> list[bool]:
        pipe = self._redis.pipeline(transaction=True)
        now = time.time()
        for write in writes:
            expires = "" if write.expires is None else write.expires
            gone = now if write.gone else ""
            given: list[Any] = [write.owner, write.fence, write.data, expires, gone]
            self._save(
                keys=self._keys(write.key),
                args=[*given, write.key[1], "/".join(write.key)],
                client=pipe,
            )
        return [bool(done) for done in pipe.execute()]

    def get(self, key: Key) -> Row | None:
        owner, fence, data = self._redis.hmget(self._at(key), "owner", "fence", "data")
        return None if owner is None else Row(key, owner.decode(), int(fence), data)

    def page(self, namespace: str, after: str, limit: int) -> list[Row]:
        low = f"({after}" if after else "-"
        living = f"{self._prefix}living:{namespace}"
        names = self._redis.zrangebylex(living, low, "+", start=0, num=limit)
        rows = (self.get((namespace, name.decode())) for name in names)
        return [row for row in rows if row is not None]

    def due(self, now: float, limit: int) -> list[Key]:
        names = self._redis.zrangebyscore(
            f"{self._prefix}expiring", "-inf", now, start=0, num=limit
        )
        return [self._key(name) for name in names]

    @staticmethod
    def _key(name: bytes) -> Key:
        return cast("Key", tuple(name.decode().split("/", 1)))

    def save_snapshot(self, snapshot: StoredSnapshot, sync: bool = True) -> None:
        pipe = self._redis.pipeline(transaction=True)
        pipe.set(f"{self._prefix}snapshot:{snapshot.namespace}/{snapshot.name}", snapshot.data)
        pipe.rpush(
            f"{self._prefix}snapshots:{snapshot.namespace}/{snapshot.session}", snapshot.name
        )
        pipe.execute()

    def load_snapshot(self, namespace: str, name: str) -> bytes | None:
        data: bytes | None = self._redis.get(f"{self._prefix}snapshot:{namespace}/{name}")
        return data

    def names(self, key: Key) -> list[str]:
        found = self._redis.lrange(f"{self._prefix}snapshots:{'/'.join(key)}", 0, -1)
        return [name.decode() for name in found]

    def purge(self, before: float) -> int:
        gone = self._redis.zrangebyscore(f"{self._prefix}gone", "-inf", before)
        for name in gone:
            key = self._key(name)
            kept = [f"{self._prefix}snapshot:{key[0]}/{one}" for one in self.names(key)]
            pipe = self._redis.pipeline(transaction=True)
            pipe.delete(self._at(key), f"{self._prefix}snapshots:{'/'.join(key)}", *kept)
            pipe.zrem(f"{self._prefix}gone", name)
            pipe.execute()
        return len(gone)

    def close(self) -> None:
        self._redis.close()
