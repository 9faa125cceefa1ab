"""Where results lie on disk: key -> record (digests), digest -> bytes; atomic, checked, bounded.

Two maps, as in build systems with early cut-off. A *record* is small and names, for one key, the digest of each
frame's result and of the bytes that hold them. *Blobs* are those bytes under their own digest. Blobs are dropped
first when room is short: the record still answers "what came out", so later stages are not run again.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tam_edit.digest import digest_bytes
from tam_edit.engine.remote import Kind, RemoteTier
from tam_edit.errors import StoreError

LAYOUT = "v1"
DEFAULT_LIMIT_BYTES = 20 * 2**30
_TOUCH_AFTER_S = 600.0
_STALE_TEMPORARY_S = 24 * 3600.0
_DIGEST = re.compile(r"[0-9a-f]{32}")


class EntryLost(Exception):
    """A blob that a record promised is gone or damaged: the record was dropped; begin the run again."""


@dataclass(frozen=True)
class Record:
    """What one key led to: a digest for each frame of its span, blobs by name, facts in plain JSON."""

    key: str
    frames: tuple[str, ...] = ()
    blobs: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StoreSize:
    """How much a store holds, or how much was dropped from it."""

    records: int
    blobs: int
    bytes: int


class Store:
    """A content-addressed folder which many processes may use at once.

    Writes go to a temporary name and are renamed; reads check the digest. A damaged entry counts as missing,
    is removed, and is named in `warnings`. Raises StoreError when the folder cannot be used.
    remote: a tier behind the folder, to which everything is written too and which is asked for what is not here.
    """

    def __init__(self, root: Path, limit_bytes: int = DEFAULT_LIMIT_BYTES, remote: RemoteTier | None = None) -> None:
        self.root = root
        self.limit_bytes = limit_bytes
        self.remote = remote
        self.warnings: list[str] = []
        self._keys = root / LAYOUT / "keys"
        self._blobs = root / LAYOUT / "blobs"
        self._temporary = root / LAYOUT / "tmp"

    # Records

    def record(self, key: str) -> Record | None:
        """Return what is known of a key, or None."""
        path = self._path(self._keys, key)
        text = self._read(path)
        if text is not None and not _is_sound(text, key):
            self._discard(path, f"cache record {key}")
            text = None
        if text is None:
            text = self._fetched("keys", key)
            if text is None:
                return None
            self._write(path, text)
        fields = json.loads(text.partition(b"\n")[2])
        _touch(path)
        return Record(key, tuple(fields["frames"]), fields["blobs"], fields["facts"])

    def put(
        self,
        key: str,
        frames: Sequence[str] = (),
        blobs: Mapping[str, bytes] | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> Record:
        """Keep a result; blobs first, so that a record never names bytes that were not written."""
        digests = {}
        for name, payload in (blobs or {}).items():
            digest = digests[name] = digest_bytes(payload)
            path = self._path(self._blobs, digest)
            if path.exists():
                _touch(path)
            else:
                self._write(path, payload)
            if self.remote is not None and not self.remote.has("blobs", digest):
                self.remote.write("blobs", digest, payload)
        record = Record(key, tuple(frames), digests, dict(facts or {}))
        body = json.dumps(
            {"key": key, "frames": record.frames, "blobs": record.blobs, "facts": record.facts}, sort_keys=True
        ).encode()
        text = digest_bytes(body).encode() + b"\n" + body
        self._write(self._path(self._keys, key), text)
        if self.remote is not None:
            self.remote.write("keys", key, text)
        return record

    def forget(self, key: str) -> None:
        self._unlink(self._path(self._keys, key))
        if self.remote is not None:
            self.remote.drop("keys", key)

    # Blobs

    def has_blob(self, digest: str) -> bool:
        path = self._path(self._blobs, digest)
        return path.exists() or (self.remote is not None and self.remote.has("blobs", digest))

    def blob(self, record: Record, name: str) -> bytes:
        """Return the bytes a record names, checked.

        Raises EntryLost when they are gone or damaged; the record is forgotten first, so a new run makes them again.
        """
        digest = record.blobs[name]
        path = self._path(self._blobs, digest)
        payload = self._read(path)
        if payload is not None and digest_bytes(payload) != digest:
            self._discard(path, f"cache entry {digest}")
            payload = None
        if payload is None:
            payload = self._fetched("blobs", digest)
            if payload is None:
                self.forget(record.key)
                raise EntryLost(record.key)
            self._write(path, payload)
        _touch(path)
        return payload

    # Upkeep

    def size(self) -> StoreSize:
        records, blobs = _by_age(self._keys), _by_age(self._blobs)
        return StoreSize(len(records), len(blobs), sum(size for _, size, _ in records + blobs))

    def prune(self, limit_bytes: int | None = None, keep_since: float | None = None) -> StoreSize:
        """Drop blobs, least recently used first, until the store fits; return what was dropped.

        keep_since: what was used after this time (seconds since the epoch) stays, since a run may still read it.
        Records go only where the blobs were not enough: each is small and saves much work.
        """
        limit = self.limit_bytes if limit_bytes is None else limit_bytes
        # A use is not noted when the last note is younger than this, so so much earlier ones count as used since.
        keep_from = math.inf if keep_since is None else keep_since - _TOUCH_AFTER_S
        records, blobs = _by_age(self._keys), _by_age(self._blobs)
        total = sum(size for _, size, _ in records + blobs)
        dropped = {True: 0, False: 0}
        dropped_bytes = 0
        for is_blob, entries in ((True, blobs), (False, records)):
            for used, size, path in entries:
                if total <= limit or used >= keep_from:
                    break
                self._unlink(path)
                total -= size
                dropped[is_blob] += 1
                dropped_bytes += size
        self._sweep_temporary()
        return StoreSize(dropped[False], dropped[True], dropped_bytes)

    def verify(self) -> list[str]:
        """Read everything; return and remove what is damaged, in words."""
        damaged = []
        for path in _files(self._blobs):
            payload = self._read(path)
            if payload is not None and digest_bytes(payload) != path.parent.name + path.name:
                damaged.append(f"blob {path.parent.name}{path.name}")
                self._unlink(path)
        for path in _files(self._keys):
            text = self._read(path)
            if text is not None and not _is_sound(text, path.parent.name + path.name):
                damaged.append(f"record {path.parent.name}{path.name}")
                self._unlink(path)
        return damaged

    def _fetched(self, kind: Kind, digest: str) -> bytes | None:
        """An entry from the remote tier, checked; a damaged one is removed there, so that it can be written again."""
        payload = None if self.remote is None else self.remote.read(kind, digest)
        if payload is None or self.remote is None:
            return None
        if _is_sound(payload, digest) if kind == "keys" else digest_bytes(payload) == digest:
            return payload
        self.warnings.append(f"an entry of {self.remote.url} is damaged ({kind}/{digest}): removed, it is made again")
        self.remote.drop(kind, digest)
        return None

    def _path(self, folder: Path, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r} is not a digest")
        return folder / digest[:2] / digest[2:]

    def _read(self, path: Path) -> bytes | None:
        """A file's bytes; None when it is not there (any more)."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(self.root, error) from error

    def _unlink(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(self.root, error) from error

    def _write(self, path: Path, payload: bytes) -> None:
        try:
            self._temporary.mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(dir=self._temporary)
            try:
                with os.fdopen(number, "wb") as stream:
                    stream.write(payload)
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise _unusable(self.root, error) from error

    def _discard(self, path: Path, what: str) -> None:
        self.warnings.append(f"{what} is damaged (in {self.root}): removed, it is made again")
        self._unlink(path)

    def _sweep_temporary(self) -> None:
        for path in _files(self._temporary):
            try:
                if time.time() - path.stat().st_mtime > _STALE_TEMPORARY_S:
                    path.unlink()
            except FileNotFoundError:
                continue  # its writer was faster


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        for place, _, names in os.walk(folder):
            yield from (Path(place, name) for name in names)


def _by_age(folder: Path) -> list[tuple[float, int, Path]]:
    """(last use, bytes, path) of every file, the longest unused first."""
    found = []
    for path in _files(folder):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue  # another process pruned it
        found.append((status.st_mtime, status.st_size, path))
    return sorted(found)


def _is_sound(text: bytes, key: str) -> bool:
    """Whether a record is as it was written, and this key's: its first line is the digest of the rest."""
    check, _, body = text.partition(b"\n")
    # Records of former versions do not name their key.
    return check.decode("ascii", "replace") == digest_bytes(body) and json.loads(body).get("key", key) == key


def _touch(path: Path) -> None:
    """Note the use, at most every ten minutes: enough to find what is least recently used."""
    try:
        if time.time() - path.stat().st_mtime > _TOUCH_AFTER_S:
            os.utime(path)
    except OSError:
        pass  # another process pruned it, or the cache is read-only: the age is only advice


def _unusable(root: Path, error: OSError) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(next(place for place in (root, *root.resolve().parents) if place.exists())).free
        return StoreError(
            f"no room left for the cache in {root} ({free / 2**20:.0f} MiB free): free some space, or run "
            "'tam-edit cache prune' on it; everything finished so far is kept"
        )
    return StoreError(f"the cache in {root} cannot be used: {error.strerror or error}: check its permissions")
