"""Running units or only planning them: look the key up, run what is missing, and say why."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tam_edit.digest import digest_of
from tam_edit.engine.ledger import Decision, Ledger, frames_in_words
from tam_edit.engine.stage import Product, Unit
from tam_edit.engine.store import Record, Store
from tam_edit.errors import Cancelled

MOST_WORDS = 40
"""Settings whose text is longer are told as changed, without from what to what; so are those that are digests."""
DIGEST = re.compile(r"(digest )?[0-9a-f]{32}")


class Watcher(Protocol):
    """Sees a run from outside, for progress; every method is called in the thread that runs."""

    def stage(self, name: str, frames: int) -> None:
        """A stage begins, with so many frames before it."""

    def unit(self, decision: Decision) -> None:
        """A unit was reused or has run."""


class Silent:
    """A watcher that shows nothing."""

    def stage(self, name: str, frames: int) -> None: ...

    def unit(self, decision: Decision) -> None: ...


class Runner:
    """Takes units one by one; `dry` makes it a planner that runs and writes nothing.

    scope: which project's earlier runs the reasons are told against. cancelled: asked before every unit that
    would run; Cancelled is raised when it answers True, and whatever is finished stays finished.
    """

    def __init__(
        self,
        store: Store,
        scope: str,
        *,
        dry: bool = False,
        watcher: Watcher | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self.store = store
        self.scope = scope
        self.dry = dry
        self.watcher = watcher or Silent()
        self.cancelled = cancelled
        self.ledger = Ledger()

    def stage(self, name: str, frames: int) -> None:
        self.watcher.stage(name, frames)

    def obtain(
        self, unit: Unit, compute: Callable[[], Product], *, needs_blobs: bool = False, even_dry: bool = False
    ) -> Record | None:
        """Return the unit's record: from the store, or by running it; None while planning what is not there.

        needs_blobs: the caller reads the bytes in any case, so a record whose bytes were pruned is run again.
        even_dry: a plan runs it too, because without it there is nothing to plan.
        Raises Cancelled, whatever `compute` raises, and StoreError when the result cannot be kept.
        """
        if not unit.is_known:
            if not self.dry:
                raise AssertionError(f"{unit.place} was asked for before what it reads")
            waits = ", ".join(name for name, frames in unit.reads.items() if None in frames.values())
            self._note(Decision(unit.stage.name, unit.span, "unknown", f"not yet known: {waits} must run first"))
            return None
        key = unit.key
        record = self.store.record(key)
        pruned = record is not None and needs_blobs and not all(map(self.store.has_blob, record.blobs.values()))
        if record is not None and not pruned:
            self._note(Decision(unit.stage.name, unit.span, "reuse", "nothing it reads has changed"))
            self._finish(unit, key, record)
            return record
        reason = "its bytes were pruned from the cache" if pruned else self._reason(unit, key)
        if self.dry and not even_dry:
            self._note(Decision(unit.stage.name, unit.span, "run", reason))
            return None
        if self.cancelled():
            raise Cancelled("stopped before the end: what is finished is kept, the next run goes on from there")
        began = time.perf_counter()
        product = compute()
        record = self.store.put(key, product.frames, product.blobs, product.facts)
        seconds = time.perf_counter() - began
        self._note(Decision(unit.stage.name, product.span or unit.span, "run", reason, seconds))
        self._finish(unit, key, record)
        return record

    def _note(self, decision: Decision) -> None:
        self.ledger.note(decision)
        self.watcher.unit(decision)

    def _finish(self, unit: Unit, key: str, record: Record) -> None:
        for words in record.facts.get("warnings", ()):
            self.ledger.warn(words)
        for words, frames in record.facts.get("notes", ()):
            self.ledger.warn(words, frames)
        if self.dry:
            return
        trace = self._trace_key(unit)
        former = self.store.record(trace)
        if former is None or former.facts["key"] != key:
            self.store.put(trace, facts=_trace(unit, key))

    def _trace_key(self, unit: Unit) -> str:
        return digest_of(("trace", self.scope, unit.place))

    def _reason(self, unit: Unit, key: str) -> str:
        former = self.store.record(self._trace_key(unit))
        if former is None:
            return "never run before"
        if former.facts["key"] == key:
            return "its result is no longer in the cache"
        return "; ".join(_changes(former.facts, _trace(unit, key))) or "what it reads has changed"


def _trace(unit: Unit, key: str) -> dict[str, Any]:
    """What a later run compares with, to tell what changed."""
    return {
        "key": key,
        "version": unit.stage.version,
        "settings": {name: _in_words(value) for name, value in unit.settings.items()},
        "reads": {
            name: {str(index): digest for index, digest in frames.items()} for name, frames in unit.reads.items()
        },
    }


def _in_words(value: Any) -> str:
    words = str(value)
    return words if len(words) <= MOST_WORDS else f"digest {digest_of(words)}"


def _changes(former: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    words = []
    if former["version"] != now["version"]:
        words.append(f"the stage went from version {former['version']} to {now['version']}")
    for name in sorted(former["settings"].keys() | now["settings"].keys()):
        old, new = former["settings"].get(name, "unset"), now["settings"].get(name, "unset")
        if old != new:
            told = not (DIGEST.fullmatch(old) or DIGEST.fullmatch(new))
            words.append(f"{name} went from {old} to {new}" if told else f"{name} changed")
    came, went = now["reads"].keys() - former["reads"].keys(), former["reads"].keys() - now["reads"].keys()
    another = bool(came and went)  # another effect reads other things: their names say enough
    for name in sorted(former["reads"].keys() | now["reads"].keys()):
        if another and name in came | went:
            continue
        old_frames, new_frames = former["reads"].get(name, {}), now["reads"].get(name, {})
        changed = [int(frame) for frame in new_frames if old_frames.get(frame, new_frames[frame]) != new_frames[frame]]
        if changed:
            words.append(f"{name} changed at {frames_in_words(changed)}")
        gained = [int(frame) for frame in new_frames if frame not in old_frames]
        lost = [int(frame) for frame in old_frames if frame not in new_frames]
        if gained:
            words.append(f"{name} is new at {frames_in_words(gained)}")
        if lost:
            words.append(f"{name} no longer read at {frames_in_words(lost)}")
    if another:
        words.append(f"it reads {', '.join(sorted(came))} in place of {', '.join(sorted(went))}")
    return words
