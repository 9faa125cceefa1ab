"""The desk: a project held open for a person at work, so that a click answers at once and every mask known is shown."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tam_edit.digest import digest_of
from tam_edit.engine.store import EntryLost
from tam_edit.errors import MaskEmpty, PromptError, TamEditError
from tam_edit.masks import LabelMap, Mask
from tam_edit.pipelines.context import Context
from tam_edit.pipelines.engines import Engines
from tam_edit.pipelines.keyframes import Keyframes, exclusive, key_mask, keyframes, look_ahead
from tam_edit.pipelines.propagate import Tubes
from tam_edit.pipelines.recipes import follow
from tam_edit.pipelines.review import Doubt, doubts
from tam_edit.saying import Saying, prompt_of
from tam_edit.script import EditScript, Prompt, StoredMask
from tam_edit.session import Edit
from tam_edit.web.asking import Answer, Remembering, SharedContext, remembering
from tam_edit.web.pictures import Pictures, Strip, map_png

TRACKED, OUTDATED, MARKED = 2, 1, 3


@dataclass(frozen=True)
class Shown:
    """One frame's label map as the page shows it: under which digest, how far it holds, and how to load it."""

    digest: str
    state: int
    load: Callable[[], LabelMap]


@dataclass(frozen=True)
class Known:
    """What is known of all masks now. key changes whenever any of it does."""

    key: str = "nothing"
    shown: Mapping[int, Shown] = field(default_factory=dict)
    trust: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    doubts: tuple[Doubt, ...] = ()
    complete: bool = False
    problem: str = ""


class Desk:
    """One Edit with its pictures open. Safe to use from many threads; `refresh` is called from one of them."""

    def __init__(self, edit: Edit) -> None:
        self.edit = edit
        with edit.pictures() as context:
            self.source, self.cuts = context.source, context.cuts
        self.pictures = Pictures(self.source)
        self.strip = Strip(self.source)
        self.known = Known()
        self._clicks = SharedContext.of(edit)
        self._ahead = self._clicks.beside(edit)
        self._clicking = threading.Lock()
        self._preparing = threading.Lock()
        self._rested: int | None = None  # the frame to be looked at ahead next
        self._looking = -1  # the one that is looked at now
        self._loading = threading.Lock()
        self._asking = threading.Lock()  # for engines, which are made anew only when settings change
        self._engines: tuple[Any, Engines] | None = None
        self._segmenter: Remembering | None = None
        self.counted: dict[str, list[int]] = {}  # pixels of each label, by a map's digest

    def close(self) -> None:
        self.strip.close()
        self.pictures.close()
        with self._clicking:
            self._clicks.__exit__()
        with self._preparing:
            self._ahead.__exit__()

    # What is known

    def refresh(self) -> Known:
        """Look up which masks are there for the script as it is now; runs nothing."""
        bench = self.edit.bench
        script = bench.effective
        with bench.context(bench.runner(dry=True), probed=self._clicks) as context:
            try:
                self.known = self._looked_up(context, script, self.engines())
            except EntryLost:
                self.known = replace(self.known, problem="the cache was pruned: track again to see all masks")
            except TamEditError as error:
                self.known = replace(self.known, key=digest_of(str(error)), problem=str(error), complete=False)
        return self.known

    def _looked_up(self, context: Context, script: EditScript, engines: Engines) -> Known:
        if not any(item.prompts for item in script.objects):
            return Known()
        keys = keyframes(context, script, engines.segmenter)
        found = follow(context, script, engines, keys)
        shown: dict[int, Shown] = {}
        for frame in range(self.source.frames):
            if (now := self._shown(frame, found, keys)) is not None:
                shown[frame] = now
        trust: dict[str, dict[int, float]] = {name: {} for name in script.names}
        for frame, parts in found.trust.items():
            for label, values in parts.items():
                if label <= len(script.names) and found.maps.digests.get(frame) is not None:
                    trust[script.names[label - 1]][frame] = float(values["combined"])
        complete = bool(found.maps.digests) and None not in found.maps.digests.values()
        known = {frame: parts for frame, parts in found.trust.items() if found.maps.digests.get(frame) is not None}
        doubtful = tuple(doubts(replace(found, trust=known), script.names))
        key = digest_of(([(frame, item.digest, item.state) for frame, item in shown.items()], script.names))
        return Known(key, shown, trust, doubtful, complete)

    def _shown(self, frame: int, found: Tubes, keys: Keyframes) -> Shown | None:
        """The tracked map; else the last one known, out of date, with what was said of this frame painted in."""
        digest = found.maps.digests.get(frame)
        if digest is not None:
            return Shown(digest, TRACKED, lambda: found.maps.load(frame))
        former = self.known.shown.get(frame)
        given = {label: mask for label, mask in keys.get(frame, {}).items() if mask.digest is not None}
        if not given:
            return None if former is None or former.state == MARKED else replace(former, state=OUTDATED)
        if former is not None and former.state == MARKED:
            former = None

        def load() -> LabelMap:
            base = self.nothing() if former is None else former.load()
            return painted(base, {label: mask.load() for label, mask in given.items()})

        name = digest_of((former.digest if former else "", [(label, mask.digest) for label, mask in given.items()]))
        return Shown(name, MARKED, load)

    def nothing(self) -> LabelMap:
        width, height = self.source.size_wh
        return np.zeros((height, width), np.uint8)

    def label_map(self, frame: int) -> LabelMap:
        """The label map shown on a frame; empty where none is known. Raises EntryLost when the cache lost it."""
        item = self.known.shown.get(frame)
        if item is None:
            return self.nothing()
        with self._loading:
            return item.load()

    def map_png(self, frame: int, digest: str) -> tuple[bytes, bool]:
        """A frame's map as PNG as it is now, and whether that is still the one of this digest."""
        item = self.known.shown.get(frame)
        label_map = self.label_map(frame)
        if item is None or item.digest != digest:
            return map_png(label_map), False
        self.counted[digest] = np.bincount(label_map.reshape(-1), minlength=256).tolist()
        return map_png(label_map), True

    def areas(self, stop: Callable[[], bool]) -> dict[int, list[int]]:
        """Pixels of each label on all frames that are known, counted once for each digest."""
        found = {}
        for frame, item in self.known.shown.items():
            if stop():
                break
            if item.digest not in self.counted:
                try:
                    label_map = self.label_map(frame)
                except EntryLost:
                    continue
                self.counted[item.digest] = np.bincount(label_map.reshape(-1), minlength=256).tolist()
            found[frame] = self.counted[item.digest]
        return found

    # Engines

    def engines(self) -> Engines:
        """The engines of the settings as they are now, made once: loading a network takes its time."""
        bench = self.edit.bench
        with self._asking:
            settings = bench.settings
            named = (settings.segmenter, settings.tracker, settings.inpainter)
            if self._engines is None or self._engines[0] != named:
                self._engines = (named, bench.engines())
                self._segmenter = None
            return self._engines[1]

    def _remembering(self) -> Remembering:
        engines = self.engines()
        if self._segmenter is None:
            self._segmenter = remembering(engines.segmenter)
        return self._segmenter

    # Saying where objects are

    def say(self, name: str, saying: Saying) -> Answer:
        """Keep what is said of an object on a frame, and show its mask at once; return what it could mean.

        Unlike Edit.mark it waits for no run: the segment stage and the script may change while a run goes on with the
        script that it began with. Raises PromptError, MaskEmpty.
        """
        if self._looking == saying.frame:
            with self._preparing:  # it is being looked at: to look once more beside would take longer
                pass
        with self._clicking:
            prompt = self._prompt(name, saying)
            segmenter = self._remembering()
            segmenter.frame = saying.frame
            mask = key_mask(self._clicks, name, saying.frame, prompt, segmenter).load()
            answer = segmenter.answer_to(prompt) if prompt.mask is None and not prompt.absent else Answer()
            self.edit.bench.change(lambda script: script.marked(name, saying.frame, prompt))
        self._show_at_once(name, saying.frame, mask)
        return answer

    def rough(self, name: str, frame: int) -> Mask:
        """The mask to polish: what was painted or taken in on this frame, else what is shown. Raises MaskEmpty."""
        former = self.edit.script.prompt(name, frame)
        if former is not None and former.mask is not None:
            return former.mask.mask()
        label = self.edit.script.label_of(name)
        mask = np.asarray(self.label_map(frame) == label)
        if not mask.any():
            raise MaskEmpty(f"{name!r} has no mask on frame {frame} that could be polished: mark it there first")
        return mask

    def prepare(self, frame: int) -> None:
        """A person rests on a frame: decode it for clicks, and let the engine look at it ahead.

        One at a time; of those asked for meanwhile only the last one is looked at.
        """
        self._rested = frame
        while self._rested is not None and self._preparing.acquire(blocking=False):
            try:
                frame, self._rested = self._rested, None
                self._looking = frame
                for near in range(frame, min(frame + 2, self.source.frames)):
                    self._ahead.rgb(near)
                look_ahead(self._ahead, frame, self.engines().segmenter)
            finally:
                self._looking = -1
                self._preparing.release()

    def _prompt(self, name: str, saying: Saying) -> Prompt:
        """As said; a correction by clicks takes the mask shown now as the one that it mends."""
        script = self.edit.script
        if not 0 <= saying.frame < self.source.frames:
            raise PromptError(f"frame {saying.frame}: the clip has frames 0 to {self.source.frames - 1}")
        # prompt_of would look for the prior by going through all of the cache; here it is on the screen.
        plain = prompt_of(saying, "\N{BULLET}", self.edit.bench, self._clicks)
        if plain.mask is not None or plain.absent:
            return plain
        former = script.prompt(name, saying.frame)
        if former is not None:
            prior = former.prior if former.mask is None else former.mask
            # The page shows further boxes, but changes only the first one.
            return replace(plain, prior=prior, boxes=former.boxes if plain.box is not None else ())
        item = self.known.shown.get(saying.frame)
        if name not in script.names or item is None or item.state != TRACKED:
            return plain
        mask = self.label_map(saying.frame) == script.label_of(name)
        return replace(plain, prior=StoredMask.of(mask)) if mask.any() else plain

    def _show_at_once(self, name: str, frame: int, mask: Mask) -> None:
        label = self.edit.script.label_of(name)
        base = self.label_map(frame).copy()
        base[base == label] = 0
        base[mask] = label
        digest = digest_of(("said", base))
        self.counted[digest] = np.bincount(base.reshape(-1), minlength=256).tolist()
        shown = {**self.known.shown, frame: Shown(digest, MARKED, lambda: base)}
        self.known = replace(self.known, key=digest_of((self.known.key, digest)), shown=shown)

    def copy(self, name: str, frame: int, to: int, *, move: bool) -> None:
        """Say on another frame what is said of an object on this one; moving takes it away here. One step of undo."""
        if not 0 <= to < self.source.frames:
            raise PromptError(f"frame {to}: the clip has frames 0 to {self.source.frames - 1}")
        prompt = self.edit.script.moved(name, frame, to, copy=not move).prompt(name, to)
        if prompt is None:
            raise AssertionError("moved to a frame where nothing is said")
        with self._clicking:
            segmenter = self._remembering()
            segmenter.frame = to
            mask = key_mask(self._clicks, name, to, prompt, segmenter).load()
            self.edit.move(name, frame, to, copy=not move)
        self._show_at_once(name, to, mask)

    def forget(self, name: str) -> None:
        """Take an object out of the script; those after it move up by one label."""
        self.edit.forget(name)
        self.known = replace(self.known, shown={})

    def set_settings(self, **fields: Any) -> None:
        """Change the script's settings. Raises PromptError, UsageError for what is impossible."""
        from tam_edit.pipelines.engines import resolve

        def change(script: EditScript) -> EditScript:
            # From the script under its lock: two changes at once both hold.
            settings = replace(script.settings, **fields)
            resolve(settings, self.edit.bench.engine_options)  # refused before it is kept
            return replace(script, settings=settings)

        self.edit.bench.change(change)


def painted(base: LabelMap, given: Mapping[int, Mask]) -> LabelMap:
    """A label map with some objects' masks put in place of what they had."""
    result = base.copy()
    for label, mask in exclusive(given).items():
        result[result == label] = 0
        result[mask] = label
    return result
