"""The store: whole or not at all, damage found and named, bounded, many processes at once, room and rights told."""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tam_edit.digest import digest_bytes, digest_of
from tam_edit.engine.store import EntryLost, Record, Store
from tam_edit.errors import StoreError

LONG_AGO = 1_600_000_000.0


def key(name: object) -> str:
    return digest_of(("test", str(name)))


def blob_path(store: Store, digest: str) -> Path:
    return store.root / "v1" / "blobs" / digest[:2] / digest[2:]


def key_path(store: Store, name: object) -> Path:
    return store.root / "v1" / "keys" / key(name)[:2] / key(name)[2:]


def files(store: Store) -> list[Path]:
    return sorted(path for path in store.root.rglob("*") if path.is_file())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def test_what_is_put_is_there_for_everyone(store: Store) -> None:
    kept = store.put(key(1), ["f0", "f1"], {"frames": b"pixels", "state": b""}, {"trust": [0.5, 1.0]})
    for reader in (store, Store(store.root)):
        record = reader.record(key(1))
        assert record == kept == Record(key(1), ("f0", "f1"), kept.blobs, {"trust": [0.5, 1.0]})
        assert reader.blob(record, "frames") == b"pixels" and reader.blob(record, "state") == b""
    assert store.record(key(2)) is None
    assert store.warnings == []


def test_layout_on_disk(store: Store) -> None:
    record = store.put(key(1), ["f0"], {"frames": b"pixels"})
    assert record.blobs["frames"] == digest_bytes(b"pixels")
    assert files(store) == [blob_path(store, digest_bytes(b"pixels")), key_path(store, 1)]
    assert blob_path(store, digest_bytes(b"pixels")).read_bytes() == b"pixels"
    check, _, body = key_path(store, 1).read_bytes().partition(b"\n")
    assert check.decode() == digest_bytes(body)


def test_same_bytes_lie_there_once_and_same_records_have_same_bytes(store: Store) -> None:
    store.put(key(1), blobs={"a": b"same"}, facts={"x": 1, "y": 2})
    first = key_path(store, 1).read_bytes()
    store.put(key(2), blobs={"b": b"same"})
    assert store.size().blobs == 1 and store.size().records == 2
    store.put(key(1), blobs={"a": b"same"}, facts={"y": 2, "x": 1})
    assert key_path(store, 1).read_bytes() == first


def test_names_that_are_no_digests_never_reach_the_disk(store: Store) -> None:
    for name in ("../../etc/passwd", "", "A" * 32, "a" * 31, "a" * 33):
        with pytest.raises(ValueError, match="is not a digest"):
            store.record(name)


# Atomic writing


def test_a_write_that_breaks_off_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(key(0), blobs={"a": b"old"})
    before = files(store)

    def stopped(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        store.put(key(1), ["f"], {"a": b"new"})
    assert files(store) == before
    assert store.record(key(1)) is None


def test_the_record_comes_last(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace = Path.replace

    def noted(self: Path, target: Path) -> Path:
        order.append(Path(target).parent.parent.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noted)
    store.put(key(1), ["f"], {"a": b"one", "b": b"two"})
    assert order == ["blobs", "blobs", "keys"], "a record never names bytes that were not written"


# Damage


def damage_middle(content: bytes) -> bytes:
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGES: list[Callable[[bytes], bytes]] = [
    damage_middle,
    lambda content: content[:-1],
    lambda content: b"",
    lambda content: content + b"x",
    lambda content: bytes(len(content)),
    lambda content: os.urandom(len(content)),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_blob_is_named_removed_and_its_record_forgotten(
    store: Store, damage: Callable[[bytes], bytes]
) -> None:
    record = store.put(key(1), ["f"], {"a": b"some pixels", "b": b"others"})
    path = blob_path(store, record.blobs["a"])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(EntryLost):
        store.blob(record, "a")
    assert store.warnings == [
        f"cache entry {record.blobs['a']} is damaged (in {store.root}): removed, it is made again"
    ]
    assert not path.exists() and store.record(key(1)) is None
    assert store.put(key(1), ["f"], {"a": b"some pixels"}) == store.record(key(1))
    assert store.blob(record, "a") == b"some pixels"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_counts_as_missing(store: Store, damage: Callable[[bytes], bytes]) -> None:
    store.put(key(1), ["f"], facts={"a": 1})
    path = key_path(store, 1)
    path.write_bytes(damage(path.read_bytes()))
    assert store.record(key(1)) is None
    assert store.warnings == [f"cache record {key(1)} is damaged (in {store.root}): removed, it is made again"]
    assert not path.exists()


def test_a_lost_blob_is_no_damage(store: Store) -> None:
    record = store.put(key(1), ["f"], {"a": b"bytes"})
    blob_path(store, record.blobs["a"]).unlink()
    assert not store.has_blob(record.blobs["a"])
    with pytest.raises(EntryLost):
        store.blob(record, "a")
    assert store.record(key(1)) is None and store.warnings == []


def test_verify_names_and_removes_what_is_damaged(store: Store) -> None:
    for number in range(4):
        store.put(key(number), [], {"a": f"bytes {number}".encode()})
    bad = digest_bytes(b"bytes 1")
    for path in (blob_path(store, bad), key_path(store, 2)):
        path.write_bytes(damage_middle(path.read_bytes()))
    assert sorted(store.verify()) == [f"blob {bad}", f"record {key(2)}"]
    assert store.verify() == []
    assert (store.size().records, store.size().blobs) == (3, 3)
    assert Store(store.root / "nowhere").verify() == []


# Bounds


def aged(store: Store, count: int, size: int = 1000) -> list[Record]:
    """Records whose blobs were used long ago, the first before the second and so on."""
    records = []
    for number in range(count):
        record = store.put(key(number), ["f"], {"a": bytes([number]) * size})
        os.utime(blob_path(store, record.blobs["a"]), (LONG_AGO + number,) * 2)
        records.append(record)
    return records


def test_pruning_drops_the_least_recently_used_until_it_fits(store: Store) -> None:
    records = aged(store, 8)
    assert store.blob(records[0], "a") and store.put(key("new"), [], {"a": bytes([1]) * 1000})  # used, each in its way
    small = store.size().bytes - 8000
    dropped = store.prune(4500 + small)
    left = [number for number, record in enumerate(records) if store.has_blob(record.blobs["a"])]
    assert left == [0, 1, 6, 7]
    assert (dropped.blobs, dropped.records, dropped.bytes) == (4, 0, 4000)
    assert store.size().bytes <= 4500 + small
    assert all(store.record(key(number)) is not None for number in range(8)), "they still say what came out"
    assert store.prune(10**9).blobs == 0


def test_records_go_only_where_blobs_were_not_enough(store: Store) -> None:
    aged(store, 4)
    sizes = [key_path(store, number).stat().st_size for number in range(4)]
    for number in (2, 0, 3, 1):
        os.utime(key_path(store, number), (LONG_AGO + (2, 0, 3, 1).index(number),) * 2)
    dropped = store.prune(sizes[1] + sizes[3])
    assert (dropped.blobs, dropped.records) == (4, 2)
    assert [store.record(key(number)) is not None for number in range(4)] == [False, True, False, True]
    assert store.prune(0).records == 2
    assert (store.size().bytes, store.size().records, files(store)) == (0, 0, [])


def test_its_own_limit_holds(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", limit_bytes=6000)
    aged(store, 8)
    store.prune()
    assert 4000 < store.size().bytes <= 6000


def test_what_a_run_uses_stays(store: Store) -> None:
    records = aged(store, 4)
    began = time.time()
    store.blob(records[2], "a")
    fresh = store.put(key("new"), [], {"a": b"n" * 1000})
    dropped = store.prune(0, keep_since=began - 1)
    assert store.has_blob(records[2].blobs["a"]) and store.has_blob(fresh.blobs["a"])
    assert dropped.blobs == 3


def test_a_use_that_was_not_noted_still_counts(store: Store) -> None:
    (record,) = aged(store, 1)
    five_minutes_ago = time.time() - 300
    os.utime(blob_path(store, record.blobs["a"]), (five_minutes_ago,) * 2)
    began = time.time()
    store.blob(record, "a")  # noted at most every ten minutes
    store.prune(0, keep_since=began)
    assert store.has_blob(record.blobs["a"])


def test_leftovers_of_killed_writers_are_swept_when_old(store: Store) -> None:
    store.put(key(1), ["f"])
    old, young = store.root / "v1" / "tmp" / "old", store.root / "v1" / "tmp" / "young"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (LONG_AGO, LONG_AGO))
    store.prune()
    assert not old.exists() and young.exists(), "the young one may still be being written"


# Many at once


def hammer(root: str, seed: int, ready: Any, results: Any) -> None:
    """Write, read and prune at random; whatever is read must be right."""
    rng = random.Random(seed)
    store = Store(Path(root))
    ready.wait()
    wrong: list[str] = []
    lost = read = 0
    for step in range(120):
        name = rng.randrange(12)
        payload = f"content of {name} ".encode() * (200 + name)
        action = rng.random()
        if action < 0.45:
            store.put(key(name), [f"frame {name}"], {"a": payload}, {"name": name})
        elif action < 0.9:
            record = store.record(key(name))
            if record is not None:
                try:
                    if store.blob(record, "a") != payload or record.facts["name"] != name:
                        wrong.append(f"{seed}/{step}: {name}")
                    read += 1
                except EntryLost:
                    lost += 1
        elif action < 0.95:
            store.prune(rng.choice([0, 10_000, 30_000]))
        else:
            store.size()
            wrong += store.verify()
    results.put((wrong + store.warnings, read, lost))


def test_eight_processes_use_one_store(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, results = context.Event(), context.Queue()
    workers = [
        context.Process(target=hammer, args=(str(tmp_path / "cache"), seed, ready, results)) for seed in range(8)
    ]
    for worker in workers:
        worker.start()
    ready.set()
    told = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(timeout=60)
    assert [worker.exitcode for worker in workers] == [0] * 8
    assert [wrong for wrong, _, _ in told if wrong] == []
    assert sum(read for _, read, _ in told) > 50
    assert not list((tmp_path / "cache" / "v1" / "tmp").iterdir())
    assert Store(tmp_path / "cache").verify() == []


# Room and rights


def test_a_full_disk_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(key(0), ["f"], {"a": b"kept"})
    before = files(store)
    fdopen = os.fdopen

    class Full:
        def __init__(self, number: int, mode: str) -> None:
            self.stream = fdopen(number, mode)

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self.stream.close()

        def write(self, payload: bytes) -> None:
            self.stream.write(payload[: len(payload) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tam_edit.engine.store.os.fdopen", Full)
    with pytest.raises(StoreError, match=r"no room left for the cache in .*MiB free.*cache prune.*is kept"):
        store.put(key(1), ["f"], {"a": b"new bytes"})
    assert files(store) == before
    monkeypatch.undo()
    assert store.record(key(0)) is not None


def test_a_disk_that_is_full_before_the_folder_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(StoreError, match="no room left"):
        Store(tmp_path / "no" / "such" / "cache").put(key(1))


def refuse(*_: object, **__: object) -> Any:
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("mkdir", lambda store, record: store.put(key(2), ["f"], {"a": b"new"})),
        ("read_bytes", lambda store, record: store.record(record.key)),
        ("read_bytes", lambda store, record: store.blob(record, "a")),
        ("read_bytes", lambda store, record: store.verify()),
        ("unlink", lambda store, record: store.prune(0)),
        ("unlink", lambda store, record: store.forget(record.key)),
    ],
)
def test_a_folder_without_rights_is_said(
    store: Store, monkeypatch: pytest.MonkeyPatch, name: str, action: Callable[[Store, Record], object]
) -> None:
    record = store.put(key(1), ["f"], {"a": b"bytes"})
    monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(StoreError, match=r"the cache in .* cannot be used: Permission denied: check its permissions"):
        action(store, record)


def test_a_read_only_store_can_be_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (record,) = aged(store, 1)
    monkeypatch.setattr("tam_edit.engine.store.os.utime", refuse)
    assert store.record(record.key) == record and store.blob(record, "a")


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StoreError, match="cannot be used"):
        Store(tmp_path / "cache").put(key(1))
    with pytest.raises(StoreError, match="cannot be used"):
        Store(tmp_path / "cache").record(key(1))
