"""Packed blobs taken apart once and kept for a moment, since their frames are mostly read one after the other."""

from __future__ import annotations

from collections import OrderedDict

from tam_edit.engine.stage import unpack_frames
from tam_edit.engine.store import Record, Store

KEPT = 8


class BlobCache:
    """The frames of the last few blobs of one name."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._kept: OrderedDict[str, list[bytes]] = OrderedDict()

    def frames(self, record: Record) -> list[bytes]:
        """All frames of the record's blob. Raises EntryLost when it is gone or damaged."""
        if record.key not in self._kept:
            self._kept[record.key] = unpack_frames(self._store.blob(record, self._name))
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(record.key)
        return self._kept[record.key]
