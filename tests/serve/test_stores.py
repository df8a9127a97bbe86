"""Every store obeys one contract."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from statewise.errors import FileError, InputError
from statewise.serve.stores.base import IdInUse, OwnedByOther, Store, StoredSnapshot, Write
from statewise.serve.stores.opening import open_store
from statewise.serve.stores.sqlite import SqliteStore

NewStore = Callable[[], Store]
A, B = ("n", "a"), ("n", "b")


def write(key=A, owner="me", fence=0, data=b"0", **more) -> Write:
    return Write(key, owner, fence, data, **more)


def test_what_was_created_is_there(new_store: NewStore) -> None:
    store = new_store()
    assert store.create(write(data=b"\x00\xff")) == 1
    row = store.get(A)
    assert row is not None
    assert (row.key, row.owner, row.fence, row.data) == (A, "me", 1, b"\x00\xff")
    assert store.get(B) is None
    assert store.get(("other", "a")) is None


def test_a_living_id_cannot_be_created_again(new_store: NewStore) -> None:
    store = new_store()
    store.create(write())
    with pytest.raises(IdInUse):
        store.create(write(data=b"1"))
    assert store.get(A).data == b"0"


def test_the_id_of_one_that_is_gone_can_with_a_higher_fence(new_store: NewStore) -> None:
    store = new_store()
    first = store.create(write())
    assert store.save([write(fence=first, data=b"end", gone=True)]) == [True]
    assert store.page("n", "", 10) == []
    second = store.create(write(data=b"2"))
    assert second > first
    assert store.save([write(fence=first, data=b"late")]) == [False]
    assert store.get(A).data == b"2"


def test_a_quota_counts_the_living_of_a_namespace(new_store: NewStore) -> None:
    store = new_store()
    fence = store.create(write(), 1)
    assert store.create(write(B), 1) is None
    assert store.create(write(("other", "b")), 1) == 1
    store.save([write(fence=fence, gone=True)])
    assert store.create(write(B), 1) == 1


def test_writes_need_owner_and_fence(new_store: NewStore) -> None:
    store = new_store()
    a, b = store.create(write()), store.create(write(B))
    done = store.save(
        [
            write(fence=a, data=b"1"),
            write(B, fence=b + 1, data=b"1"),
            write(B, owner="you", fence=b, data=b"1"),
            write(("n", "none"), fence=1),
        ]
    )
    assert done == [True, False, False, False]
    assert (store.get(A).data, store.get(B).data) == (b"1", b"0")
    assert store.save([]) == []


def test_a_row_of_a_living_owner_cannot_be_claimed(new_store: NewStore) -> None:
    store, other = new_store(), new_store()
    store.beat("me", 60)
    fence = store.create(write())
    with pytest.raises(OwnedByOther) as held:
        other.claim(A, "you")
    assert held.value.owner == "me"
    assert store.claim(A, "me", fence).fence == fence, "what is mine stays as it is"


@pytest.mark.parametrize("how", ["lapsed", "released"])
def test_a_row_of_a_silent_owner_can_and_its_late_writes_are_refused(
    new_store: NewStore, how: str
) -> None:
    store, other = new_store(), new_store()
    store.beat("me", 0.05 if how == "lapsed" else 60)
    other.beat("you", 60)
    fence = store.create(write())
    if how == "lapsed":
        time.sleep(0.1)
    else:
        store.release("me")
    row = other.claim(A, "you")
    assert row.owner == "you"
    assert row.fence > fence
    assert other.save([write(owner="you", fence=row.fence, data=b"newer")]) == [True]
    assert store.save([write(fence=fence, data=b"stale")]) == [False]
    assert store.get(A).data == b"newer"
    with pytest.raises(OwnedByOther):
        store.claim(A, "me", fence)


def test_nothing_can_be_claimed_that_is_not_there(new_store: NewStore) -> None:
    assert new_store().claim(A, "me") is None


def test_pages_follow_the_ids(new_store: NewStore) -> None:
    store = new_store()
    for name in ("b", "d", "a", "c"):
        store.create(write(("n", name)))
    store.create(write(("m", "z")))
    first = store.page("n", "", 3)
    assert [row.key[1] for row in first] == ["a", "b", "c"]
    assert [row.key[1] for row in store.page("n", "c", 3)] == ["d"]


def test_those_that_expired_are_due(new_store: NewStore) -> None:
    store = new_store()
    a = store.create(write(expires=100.0))
    b = store.create(write(B, expires=200.0))
    assert store.due(99, 10) == []
    assert store.due(150, 10) == [A]
    store.save([write(fence=a, expires=300.0), write(B, fence=b, gone=True)])
    assert store.due(250, 10) == []
    assert store.due(350, 10) == [A]


def test_snapshots_are_kept_in_order(new_store: NewStore) -> None:
    store = new_store()
    store.create(write())
    for name in ("s2", "s1"):
        store.save_snapshot(StoredSnapshot("n", name, "a", name.encode()))
    assert store.names(A) == ["s2", "s1"]
    assert store.load_snapshot("n", "s1") == b"s1"
    assert store.load_snapshot("n", "s3") is None
    assert store.load_snapshot("other", "s1") is None, "a namespace does not see another's"
    assert store.names(B) == []


def test_what_is_long_gone_is_forgotten_with_its_snapshots(new_store: NewStore) -> None:
    store = new_store()
    a = store.create(write())
    store.create(write(B))
    store.save_snapshot(StoredSnapshot("n", "s", "a", b"s"))
    store.save([write(fence=a, gone=True)])
    assert store.purge(time.time() - 60) == 0
    assert store.purge(time.time() + 60) == 1
    assert store.get(A) is None
    assert store.load_snapshot("n", "s") is None
    assert store.get(B) is not None


def test_a_file_survives_its_server(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    store.create(write(data=b"kept"))
    store.close()
    again = SqliteStore(tmp_path / "s.db")
    assert again.get(A).data == b"kept"
    again.close()


def test_a_killed_process_leaves_no_lease_behind(tmp_path: Path) -> None:
    """What a server of this machine had can be claimed at once when its process is no more."""
    script = (
        "import sys; from statewise.serve.stores.sqlite import SqliteStore;"
        "from statewise.serve.stores.base import Write; s = SqliteStore(sys.argv[1]);"
        "s.beat('dead', 60); s.create(Write(('n', 'a'), 'dead', 0, b'0'))"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "s.db"], check=True)
    store = SqliteStore(tmp_path / "s.db")
    assert store.claim(A, "me").owner == "me"
    store.beat("alive", 60)
    fence = store.create(write(B, owner="alive"))
    with pytest.raises(OwnedByOther):
        store.claim(B, "me")
    assert store.claim(B, "alive", fence).fence == fence
    store.close()


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_bytes(b"no database " * 100)
    with pytest.raises(FileError, match="cannot use"):
        SqliteStore(tmp_path / "s.db")
    with pytest.raises(FileError, match="cannot use"):
        SqliteStore(tmp_path / "no" / "folder.db")


def test_descriptions_of_stores(tmp_path: Path) -> None:
    for text in ("", "sqlite:", "postgres://x", "memory2"):
        with pytest.raises(InputError, match="a store is"):
            open_store(text)
    with pytest.raises(FileError, match="cannot use redis"):
        open_store("redis://127.0.0.1:1/0")
    open_store(f"sqlite:{tmp_path / 's.db'}").close()
