"""Which frames a person should look at: the worst of each stretch of low trust, object by object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tam_edit.clip import FrameSpan
from tam_edit.pipelines.propagate import Tubes

USUAL_THRESHOLD = 0.5
WHY = {
    "margin": "its contour is uncertain",
    "agreement": "it does not look like the marked object",
    "flow": "the motion there cannot be followed",
    "area": "its size jumped",
    "position": "its position jumped",
    "entropy": "its contour is uncertain",
    "affinity": "it finds little in memory",
}


@dataclass(frozen=True)
class Doubt:
    """The frame of one stretch of low trust of one object whose correction promises most. trust is 0..1."""

    object: str
    frame: int
    trust: float
    span: FrameSpan
    why: str


def doubts(tubes: Tubes, names: Sequence[str], threshold: float | None = None) -> list[Doubt]:
    """Stretches in which an object's trust stays below the threshold, each by one frame, least trust first.

    threshold None: .5. One correction mends its neighbours too, so a stretch is listed once, by the frame with most
    doubt around it: that gains more than its least trusted one (docs/tam.md).
    """
    limit = USUAL_THRESHOLD if threshold is None else threshold
    found = []
    for label, name in enumerate(names, start=1):
        trust = {frame: parts[label] for frame, parts in sorted(tubes.trust.items()) if label in parts}
        frames = list(trust)
        values = [parts["combined"] for parts in trust.values()]
        gains = dict(zip(frames, promised(values, [i for i, value in enumerate(values) if value >= 1]), strict=True))
        for stretch in _stretches(trust, limit):
            at = max(stretch, key=lambda frame: (gains[frame], -frame))
            span = FrameSpan(stretch[0], stretch[-1] + 1)
            found.append(Doubt(name, at, trust[at]["combined"], span, _why(trust[at])))
    return sorted(found, key=lambda doubt: (doubt.trust, doubt.frame, doubt.object))


def propose(trust: Sequence[float], keyframes: Sequence[int]) -> int | None:
    """The frame whose correction promises most, from trust alone; None when every frame is a keyframe."""
    gains = promised(trust, keyframes)
    gains[list(keyframes)] = -1
    best = int(np.argmax(gains))
    return best if gains[best] >= 0 else None


def promised(trust: Sequence[float], keyframes: Sequence[int]) -> NDArray[np.float64]:
    """How much doubt the correction of each frame would take away: [N].

    It helps its neighbours too, half way to the next keyframes: the doubt around it counts by a triangle that ends
    at the nearest of them. Doubt is the square of the rank, since trust has no scale of its own that holds from clip
    to clip.
    """
    count = len(trust)
    ranks = np.empty(count)
    ranks[np.argsort(-np.asarray(trust), kind="stable")] = np.arange(count) / max(count - 1, 1)
    doubt = np.square(ranks)
    places = np.arange(count)
    known = np.asarray(sorted(keyframes))
    reach = np.abs(places[:, None] - known).min(axis=1) if len(known) else np.full(count, count)
    reach = np.maximum(reach, 1)
    # The sum under a triangle is a second difference of the twice summed doubt: no frame is added up twice.
    twice = np.concatenate([[0.0], np.cumsum(np.cumsum(doubt))])

    def summed(at: NDArray[np.int_]) -> NDArray[np.float64]:
        beyond = np.maximum(at - count, 0) * doubt.sum()
        return np.asarray(np.where(at < 0, 0.0, twice[np.clip(at, 0, count)] + beyond))

    return np.asarray((summed(places + reach) - 2 * summed(places) + summed(places - reach)) / reach)


def _stretches(trust: Mapping[int, Mapping[str, float]], limit: float) -> Iterator[list[int]]:
    stretch: list[int] = []
    for frame, parts in trust.items():
        if parts["combined"] < limit and (not stretch or frame == stretch[-1] + 1):
            stretch.append(frame)
            continue
        if stretch:
            yield stretch
        stretch = [frame] if parts["combined"] < limit else []
    if stretch:
        yield stretch


def _why(parts: Mapping[str, float]) -> str:
    """The lowest part in words."""
    known = {name: value for name, value in parts.items() if name in WHY}
    return WHY[min(known, key=lambda name: known[name])] if known else "its trust is low"
