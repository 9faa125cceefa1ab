"""Which frames a person should look at: the worst of each stretch of low trust, object by object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

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
    """A frame to look at: the worst of one stretch of low trust of one object. trust is 0..1."""

    object: str
    frame: int
    trust: float
    span: FrameSpan
    why: str


def doubts(tubes: Tubes, names: Sequence[str], threshold: float | None = None) -> list[Doubt]:
    """Stretches in which an object's trust stays below the threshold, by their worst frame, worst first.

    threshold None: .5. One correction mends its neighbours too, so a stretch is listed once.
    """
    limit = USUAL_THRESHOLD if threshold is None else threshold
    found = []
    for label, name in enumerate(names, start=1):
        trust = {frame: parts[label] for frame, parts in sorted(tubes.trust.items()) if label in parts}
        for stretch in _stretches(trust, limit):
            worst = min(stretch, key=lambda frame: trust[frame]["combined"])
            found.append(
                Doubt(
                    name,
                    worst,
                    trust[worst]["combined"],
                    FrameSpan(stretch[0], stretch[-1] + 1),
                    _why(trust[worst]),
                )
            )
    return sorted(found, key=lambda doubt: (doubt.trust, doubt.frame, doubt.object))


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
