"""The refine stage: doubtful tracked masks are shown to the segmenter, and its answer is kept only where it is better.

TAM's third step (arXiv 2304.11968). Of every stretch of frames on which an object's trust is low, the worst frame is
asked about: its tracked mask goes in as logits, with points where the tracker is surest inside and just outside. An
answer that passes the segmenter's rules becomes a keyframe of the softer kind: propagation goes through it again.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from tam_edit.clip import FrameSpan
from tam_edit.digest import digest_bytes, digest_of
from tam_edit.engine.ledger import Decision, frames_in_words
from tam_edit.engine.stage import NOTHING, UNKNOWN, FrameSeries, Product, Stage, Unit
from tam_edit.engine.store import Record
from tam_edit.masks import LabelMap, Mask, pack_label_map
from tam_edit.pipelines.context import Context
from tam_edit.pipelines.keyframes import Candidate, FoundMask, Keyframes, Segmenter, propose
from tam_edit.pipelines.passes import DOUBTFUL_BELOW, Points, Probes
from tam_edit.pipelines.propagate import RefinedMask, Tubes
from tam_edit.script import Prompt, StoredMask

STAGE = Stage("refine", 2)
LONGEST = 48
"""Frames of one stretch of low trust for which one refinement must do."""
SPARSE = 24
"""At most one refinement for so many frames between keyframes, all objects together: the least trusted ones."""
NEAR = 4
"""Frames beside one that a person marked which are left alone: that mask is the better one."""


@dataclass(frozen=True)
class Rules:
    """When a segmenter's answer is better than a tracked mask.

    score_from: its own score, 0..1. stability_from: how much of the answer stays when the question or the threshold
    moves a little (intersection over union). overlap_from: intersection over union with the tracked mask. by_itself:
    whether refining pays on average, so that `auto` does it.
    """

    score_from: float
    stability_from: float
    overlap_from: float
    by_itself: bool


@runtime_checkable
class RefiningSegmenter(Protocol):
    """A segmenter whose answers can be judged."""

    @property
    def rules(self) -> Rules: ...


@dataclass(frozen=True)
class Accepted(FoundMask):
    """An answer that was kept, and how far it is trusted."""

    trust: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Refinements:
    """Masks to go through again, by frame and label; unknown: spans of which nothing can be said before a run."""

    masks: Mapping[int, Mapping[int, RefinedMask]]
    unknown: tuple[FrameSpan, ...]

    def hide(self, found: Tubes) -> Tubes:
        """The tubes with what is not known yet as such."""
        digests = dict(found.maps.digests)
        for span in self.unknown:
            digests |= {frame: UNKNOWN for frame in span.indices() if frame in digests}
        return dataclasses.replace(found, maps=FrameSeries(digests, found.maps.load))


@dataclass(frozen=True)
class _Doubt:
    """One mask to ask about."""

    label: int
    frame: int
    trust: float
    probes: Probes


def refines(setting: str, segmenter: Segmenter) -> bool:
    """Whether the setting (auto, never, always) has this segmenter refine."""
    if not isinstance(segmenter, RefiningSegmenter) or setting == "never":
        return False
    return setting == "always" or segmenter.rules.by_itself


def refine(context: Context, found: Tubes, keys: Keyframes, segmenter: Segmenter, names: Sequence[str]) -> Refinements:
    """Ask about the worst frame of each doubtful stretch; what was kept and what was not is told in the report."""
    if not isinstance(segmenter, RefiningSegmenter):
        return Refinements({}, ())
    sections = [(section, _chosen(context, section, found, keys)) for section in _sections(found, keys)]
    context.runner.stage(STAGE.name, sum(len(doubts or ()) for _, doubts in sections))
    masks: dict[int, dict[int, RefinedMask]] = {}
    unknown: list[FrameSpan] = []
    told: list[dict[str, Any]] = []
    for section, doubts in sections:
        if doubts is None:
            context.runner.ledger.note(Decision(STAGE.name, section, "unknown", "not yet known: tracking comes first"))
        answers = None if doubts is None else _answers(context, found, doubts, segmenter, names)
        if answers is None:
            unknown.append(section)
            continue
        for doubt, key, record in answers:
            name = names[doubt.label - 1]
            told.append({"object": name, "frame": doubt.frame, "tracked_trust": doubt.trust, **record.facts})
            if record.facts["accepted"]:
                mask = Accepted(context, key, record.frames[0], trust=record.facts["trust"])
                masks.setdefault(doubt.frame, {})[doubt.label] = mask
    if told:
        _tell(context, told)
    return Refinements(masks, tuple(unknown))


def _sections(found: Tubes, keys: Keyframes) -> Iterator[FrameSpan]:
    """Stretches whose results do not depend on each other: cut at keyframes that speak for all objects there."""
    for region in found.regions:
        mine = {at: keys[at] for at in keys if at in region}
        labels = {label for masks in mine.values() for label in masks}
        whole = [at for at, masks in mine.items() if masks.keys() == labels and at > region.start]
        yield from itertools.starmap(FrameSpan, itertools.pairwise([region.start, *whole, region.stop]))


def _chosen(context: Context, section: FrameSpan, found: Tubes, keys: Keyframes) -> list[_Doubt] | None:
    """The masks of a section to ask about, in order of frames; None while its trust is not known."""
    frames = [frame for frame in section.indices() if frame in found.maps.digests]
    if any(found.maps.digests[frame] is None for frame in frames):
        return None
    worst = []
    for label in sorted({label for frame in frames for label in found.trust.get(frame, {})}):
        beside = {near for at in keys if label in keys[at] for near in _beside(context, at)}
        trust = {
            frame: found.trust[frame][label]["combined"]
            for frame in frames
            if label in found.trust.get(frame, {}) and frame not in beside
        }
        for stretch in _stretches(trust):
            at = min(stretch, key=lambda frame: (trust[frame], frame))
            points = found.probes.get(at, {}).get(label)
            if points is not None and points[0]:  # where nothing was found there is nothing to refine
                worst.append(_Doubt(label, at, trust[at], points))
    most = len(frames) // SPARSE + 1
    worst = sorted(worst, key=lambda doubt: (doubt.trust, doubt.frame, doubt.label))[:most]
    return sorted(worst, key=lambda doubt: (doubt.frame, doubt.label))


def _beside(context: Context, frame: int) -> range:
    """The frame and its near neighbours in the same shot."""
    shot = context.shot_of(frame)
    return range(max(shot.start, frame - NEAR), min(shot.stop, frame + NEAR + 1))


def _stretches(trust: Mapping[int, float]) -> Iterator[list[int]]:
    """Consecutive frames of low trust, at most so many together."""
    stretch: list[int] = []
    for frame, value in trust.items():
        if stretch and (value >= DOUBTFUL_BELOW or frame != stretch[-1] + 1 or len(stretch) == LONGEST):
            yield stretch
            stretch = []
        if value < DOUBTFUL_BELOW:
            stretch.append(frame)
    if stretch:
        yield stretch


def _answers(
    context: Context, found: Tubes, doubts: Sequence[_Doubt], segmenter: Any, names: Sequence[str]
) -> list[tuple[_Doubt, str, Record]] | None:
    """The record of each question, with its key; None in a plan where one must run first."""
    answers = []
    for doubt in doubts:
        unit = _unit(context, found, doubt, segmenter, names[doubt.label - 1])

        def compute(doubt: _Doubt = doubt) -> Product:
            return _judged(context, found.maps.load(doubt.frame), doubt, segmenter)

        answers.append((doubt, unit.key, context.runner.obtain(unit, compute)))
    known = [(doubt, key, record) for doubt, key, record in answers if record is not None]
    return known if len(known) == len(answers) else None


def _unit(context: Context, found: Tubes, doubt: _Doubt, segmenter: Any, name: str) -> Unit:
    frame, rules = doubt.frame, segmenter.rules
    ahead = [frame + 1] if segmenter.looks_ahead and frame + 1 in context.shot_of(frame) else []
    settings = {
        "segmenter": segmenter.identity,
        "rules": (rules.score_from, rules.stability_from, rules.overlap_from),
        "label": doubt.label,
        "points": doubt.probes,
        "score to beat": _score_to_beat(doubt, rules),
    }
    reads = {"picture": context.picture_reads([frame, *ahead]), "tracked mask": found.maps.reads([frame])}
    return Unit(STAGE, FrameSpan(frame, frame + 1), settings, reads, variant=name)


def _score_to_beat(doubt: _Doubt, rules: Rules) -> float:
    return max(rules.score_from, doubt.trust)


def _judged(context: Context, label_map: LabelMap, doubt: _Doubt, segmenter: Any) -> Product:
    """Ask, and keep the first answer that is better in every respect; else say what the best one lacks."""
    rules = segmenter.rules
    tracked = label_map == doubt.label
    free = tracked | (label_map == 0)  # other objects keep what they have
    inside, outside = _fitting(doubt.probes, tracked)
    if not inside:
        return _refused("no pixel of it is sure", {})
    prompt = Prompt(points=inside, negative=outside, prior=StoredMask.of(tracked))
    reasons = []
    for answer in propose(context, doubt.frame, prompt, segmenter):
        mask = answer.mask & free
        values = {"score": round(answer.score, 4), "overlap": round(_overlap(mask, tracked), 4)}
        lacks = _lacks(values, {"score": _score_to_beat(doubt, rules), "overlap": rules.overlap_from})
        if not lacks:
            values["stability"] = round(_stability(context, doubt.frame, prompt, answer, segmenter), 4)
            lacks = _lacks(values, {"stability": rules.stability_from})
        if not lacks:
            packed = pack_label_map(mask.astype(np.uint8))
            trust = {**values, "combined": min(values.values())}
            return Product([digest_bytes(packed)], {"mask": packed}, {"accepted": True, "why": "", "trust": trust})
        reasons.append((lacks, values))
    return _refused(*reasons[0]) if reasons else _refused("the segmenter finds nothing", {})


def _refused(why: str, values: Mapping[str, float]) -> Product:
    return Product([digest_of((NOTHING, why))], {}, {"accepted": False, "why": why, "trust": dict(values)})


def _fitting(probes: Probes, tracked: Mask) -> tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]:
    """Points that agree with the fused mask: the pass they come from may have lost against the other one."""
    inside, outside = probes
    return _where(inside, tracked), _where(outside, ~tracked)


def _where(points: Points, mask: Mask) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in points if mask[y, x])


def _lacks(values: Mapping[str, float], least: Mapping[str, float]) -> str:
    """In words that masks with the same fault share; the values themselves are in the record."""
    return " and ".join(f"{name} below {need:.2f}" for name, need in least.items() if values[name] < need)


def _stability(context: Context, frame: int, prompt: Prompt, answer: Candidate, segmenter: Segmenter) -> float:
    """What the segmenter says itself, or how much of its answer stays when only the surest points are given."""
    if answer.stability is not None:
        return answer.stability
    fewer = Prompt(points=prompt.points[:1], negative=prompt.negative[:1], prior=prompt.prior)
    again = propose(context, frame, fewer, segmenter)
    return max((_overlap(other.mask, answer.mask) for other in again), default=0.0)


def _overlap(one: Mask, other: Mask) -> float:
    """Intersection over union."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


def _tell(context: Context, told: list[dict[str, Any]]) -> None:
    """All answers into the report, and in words: one line for what was refined, one for each reason why not."""
    context.runner.ledger.facts["refined"] = told
    by_reason: dict[str, list[tuple[str, int]]] = {}
    for item in told:
        by_reason.setdefault(item["why"], []).append((item["object"], item["frame"]))
    for why, places in sorted(by_reason.items()):
        masks = _masks(len(places))
        words = f"left {masks} as tracked: {_places(places)} ({why})" if why else f"refined {masks}: {_places(places)}"
        context.runner.ledger.warn(words)


def _masks(count: int) -> str:
    return f"{count} mask" + ("s" if count > 1 else "")


def _places(places: Sequence[tuple[str, int]]) -> str:
    frames: dict[str, list[int]] = {}
    for name, frame in places:
        frames.setdefault(name, []).append(frame)
    return ", ".join(f"{name} at {frames_in_words(at)}" for name, at in frames.items())
