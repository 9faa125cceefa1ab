"""Pictures of docs/classic-engine: each step of propagation on a real clip, where it fails, and what a click gives.

python -m tests.bench.classic_pictures [steps] [failures] [clicks]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic import Tracker, TrackerSettings, candidates, evidence, motion, scale
from tam_edit.models.classic.smooth import smooth
from tests.bench.bench_classic_track import DAVIS, load

IMAGES = Path(__file__).resolve().parents[2] / "docs/img"


def main() -> None:
    if not DAVIS.is_dir():
        sys.exit(f"no footage at {DAVIS}: nothing to draw")
    wanted = sys.argv[1:] or ["steps", "failures", "clicks"]
    for name, draw in (("steps", steps), ("failures", failures), ("clicks", clicks)):
        if name in wanted:
            path = IMAGES / f"classic-track-{name}.jpg"
            cv2.imwrite(str(path), cv2.cvtColor(draw(), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
            print(path)


def steps(clip: str = "dog", at: int = 12) -> NDArray[np.uint8]:
    """What each part of the vote says on one frame."""
    frames, truth = load(clip, at + 1)
    tracker = Tracker()
    tracker.step(frames[0], {1: truth[0]})
    for frame in frames[1:at]:
        tracker.step(frame)
    state = tracker.snapshot()
    s = TrackerSettings()
    small = scale.shrink(frames[at], float(state["scale"]))
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    former = state["logits"][0].astype(np.float32)
    moved = evidence.Moved.between(state["grey"], grey)
    carried = evidence.carried(former, moved)
    look = tracker._answers(tracker._looks(small), [1], grey.shape)[1]
    behind = motion.fit_affine(moved.back, moved.sure * (carried <= 0))
    body = motion.fit_affine(moved.back, moved.sure * (carried > 0))
    assert behind is not None
    assert body is not None
    unlike = motion.residual(moved.back, behind) - motion.residual(moved.back, body)
    vote, _ = evidence.vote(carried, look, moved, s.vote)
    alone = vote.copy()
    difference = tracker._compare(moved, carried < 0, small, scale.WHOLE)
    assert difference is not None
    evidence.add_seen_before([vote], [look], difference, s.vote)
    smoothed = smooth(vote, small, strength=s.smooth_strength, sigma=s.smooth_sigma)
    tracker.restore(state)  # the plate has moved on
    result = tracker.step(frames[at])[1] > 0.5
    inside = np.pad(np.argwhere(carried > 0), 0)
    (top, left), (bottom, right) = inside.min(axis=0) - 40, inside.max(axis=0) + 40
    window = (slice(max(0, top), bottom), slice(max(0, left), right))
    panels = [
        ("frame", small),
        ("carried mask", signed(carried / 3)),
        ("flow consistency", signed(moved.sure * 2 - 1)),
        ("classifier", signed(look)),
        ("motion", signed(unlike / 2)),
        ("background seen before", signed((vote - alone) / 3)),
        ("vote", signed(vote / 8)),
        ("smoothed along edges", signed(smoothed / 4)),
        ("result at full size", shown(frames[at], result, truth[at], small.shape[1::-1])),
    ]
    return grid([titled(picture[window], text) for text, picture in panels], 3)


def failures() -> NDArray[np.uint8]:
    """The worst frames of the worst sequences: red is too much, blue is missing."""
    panels = []
    for clip in ("bmx-trees", "libby", "scooter-black", "dance-twirl"):
        frames, truth = load(clip)
        tracker, scored = Tracker(), []
        for number, frame in enumerate(frames):
            mask = tracker.step(frame, {1: truth[0]} if number == 0 else None)[1] > 0.5
            union = (mask | truth[number]).sum()
            scored.append(((mask & truth[number]).sum() / max(1, union), number, mask))
        for score, number, mask in sorted(scored, key=lambda item: item[0])[:: max(1, len(scored) // 3)][:3]:
            panels.append(
                titled(shown(frames[number], mask, truth[number], (427, 240)), f"{clip} {number}: J {score:.2f}")
            )
    return grid(panels, 3)


def clicks() -> NDArray[np.uint8]:
    """Three candidates for one click in the object's middle; the best one first."""
    panels = []
    for clip in ("camel", "car-roundabout", "dog", "dance-twirl"):
        frames, truth = load(clip, 2)
        depth = cv2.distanceTransform(np.pad(truth[0].astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        for candidate in candidates(frames[0], [(float(x), float(y))], next_frame=frames[1]):
            picture = frames[0].copy()
            cv2.circle(picture, (int(x), int(y)), 9, (255, 255, 0), -1)
            text = f"{candidate.name} {candidate.score:.2f}"
            panels.append(titled(shown(picture, candidate.mask, truth[0], (427, 240)), text))
    return grid(panels, 3)


def signed(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Orange above 0, blue below, -1 to 1."""
    level = np.clip(values, -1, 1)[..., None]
    up, down = np.array([255, 150, 30]), np.array([40, 90, 220])
    return np.asarray(np.where(level > 0, level * up, -level * down), np.uint8)


def shown(
    frame: NDArray[np.uint8], mask: NDArray[np.bool_], truth: NDArray[np.bool_], size_wh: tuple[int, ...]
) -> NDArray[np.uint8]:
    """Green where mask and truth agree, red where it is too large, blue where it is too small."""
    picture = frame.astype(np.float32)
    for where, colour, share in (
        (mask & truth, (0, 255, 0), 0.3),
        (mask & ~truth, (255, 0, 0), 0.6),
        (truth & ~mask, (0, 0, 255), 0.6),
    ):
        picture[where] = picture[where] * (1 - share) + np.array(colour, np.float32) * share
    return np.asarray(cv2.resize(picture.astype(np.uint8), tuple(size_wh), interpolation=cv2.INTER_AREA))


def titled(picture: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    height = round(picture.shape[0] * 320 / picture.shape[1])
    result = np.full((height + 22, 320, 3), 255, np.uint8)
    result[22:] = cv2.resize(picture, (320, height), interpolation=cv2.INTER_AREA)
    cv2.putText(result, text, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return result


def grid(panels: list[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    rows = [np.hstack(panels[i : i + columns]) for i in range(0, len(panels), columns)]
    return np.vstack(rows)


if __name__ == "__main__":
    main()
