"""How fast the classic tracker and segmenter are, where the time goes, and how good on the shared footage."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic import Tracker, candidates, segment, tracker
from tam_edit.pipelines.metrics import jaccard

DAVIS = Path(__file__).resolve().parents[3] / "shared/footage/davis"
PARTS = {
    "optical flow": (tracker.Moved, "between"),
    "features": (tracker.Tracker, "_looks"),
    "classifier": (tracker.Tracker, "_answers"),
    "background seen before": (tracker.Tracker, "_compare"),
    "learning": (tracker.Tracker, "_learn_a_little"),
    "smoothing": (tracker.Tracker, "_place"),
    "full-size edges": (tracker.Tracker, "_finish"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--quality", action="store_true", help="also J of one pass over all ten sequences (minutes)")
    parser.add_argument("--clip", default="camel")
    chosen = parser.parse_args()
    if not DAVIS.is_dir():
        sys.exit(f"no footage at {DAVIS}: nothing to measure")
    frames, truth = load(chosen.clip, chosen.frames)
    print(
        "| propagation | objects | seconds a frame | frames a second | against the first row |\n|---|---|---|---|---|"
    )
    small = cv2.resize(truth[0].astype(np.uint8), None, fx=0.25, fy=0.25) > 0
    parts: dict[str, float] = {}
    first = 0.0
    for name, size_wh, masks in (
        ("854x480", (854, 480), {1: truth[0]}),
        ("854x480", (854, 480), thirds(truth[0])),
        ("1920x1080, small object", (1920, 1080), {1: placed(small, (1080, 1920))}),
        ("1920x1080, large object", (1920, 1080), {1: enlarged(truth[0], (1920, 1080))}),
    ):
        shown = [small_scene(f, size_wh) if "small" in name else enlarged(f, size_wh) for f in frames]
        with timed(parts if not first else {}):
            seconds = track(shown, masks)
        first = first or seconds
        print(f"| {name} | {len(masks)} | {seconds:.3f} | {1 / seconds:.1f} | {seconds / first:.2f} |")
    total = sum(parts.values())
    print("\n| part of the first row | share |\n|---|---|")
    for part, seconds in sorted(parts.items(), key=lambda item: -item[1]):
        print(f"| {part} | {seconds / total:.0%} |")
    y, x = np.argwhere(truth[0]).mean(axis=0)
    print("\n| segmentation at 854x480 | ms |\n|---|---|")
    for label, call in (
        ("one click", lambda: segment(frames[0], [(x, y)])),
        ("one click, next frame at hand", lambda: segment(frames[0], [(x, y)], next_frame=frames[1])),
        ("one click, three candidates", lambda: candidates(frames[0], [(x, y)])),
    ):
        print(f"| {label} | {1000 * least(call):.0f} |")
    if chosen.quality:
        quality()


def track(frames: list[NDArray[np.uint8]], masks: dict[int, NDArray[np.bool_]]) -> float:
    """The median of seconds a frame after the first two, which learn and warm up."""
    engine, taken = Tracker(), []
    for number, frame in enumerate(frames):
        begun = time.perf_counter()
        engine.step(frame, masks if number == 0 else None)
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken[2:]))


@contextmanager
def timed(into: dict[str, float]) -> Iterator[None]:
    """Sum the seconds spent in each part."""
    patches = []
    for name, (owner, method) in PARTS.items():
        whole = owner.__dict__[method]
        plain = whole.__func__ if isinstance(whole, classmethod) else whole

        def counted(*args: Any, name: str = name, plain: Callable[..., Any] = plain, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            try:
                return plain(*args, **kwargs)
            finally:
                into[name] = into.get(name, 0.0) + time.perf_counter() - begun

        patches.append(patch.object(owner, method, classmethod(counted) if isinstance(whole, classmethod) else counted))
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


def least(call: Callable[[], object], runs: int = 5) -> float:
    taken = []
    for _ in range(runs):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def thirds(mask: NDArray[np.bool_]) -> dict[int, NDArray[np.bool_]]:
    """One object cut into three, side by side."""
    columns = np.flatnonzero(mask.any(axis=0))
    edges = [0, *np.quantile(columns, (1 / 3, 2 / 3)).astype(int), mask.shape[1]]
    result = {}
    for label, (left, right) in enumerate(itertools.pairwise(edges), 1):
        part = np.zeros_like(mask)
        part[:, left:right] = mask[:, left:right]
        result[label] = part
    return result


def small_scene(frame: NDArray[np.uint8], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """The frame at a quarter of its size in the middle of itself, enlarged."""
    result = enlarged(frame, size_wh)
    inner = cv2.resize(frame, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    top, left = (size_wh[1] - inner.shape[0]) // 2, (size_wh[0] - inner.shape[1]) // 2
    result[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return result


def placed(mask: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    result = np.zeros(shape, bool)
    top, left = (shape[0] - mask.shape[0]) // 2, (shape[1] - mask.shape[1]) // 2
    result[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return result


def enlarged(picture: NDArray[Any], size_wh: tuple[int, int]) -> NDArray[Any]:
    if picture.dtype == np.bool_:
        return np.asarray(cv2.resize(picture.astype(np.uint8), size_wh, interpolation=cv2.INTER_NEAREST) > 0)
    return np.asarray(cv2.resize(picture, size_wh, interpolation=cv2.INTER_CUBIC))


def load(name: str, count: int | None = None) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.bool_]]]:
    paths = sorted((DAVIS / "JPEGImages/480p" / name).glob("*.jpg"))[:count]
    frames = [np.asarray(cv2.cvtColor(cv2.imread(str(p)), cv2.COLOR_BGR2RGB), np.uint8) for p in paths]
    truth = [cv2.imread(str(DAVIS / "Annotations/480p" / name / f"{p.stem}.png"), 0) > 0 for p in paths]
    return frames, truth


def quality() -> None:
    print("\n| one pass from frame 0's mask | J | seconds a frame |\n|---|---|---|")
    everything = []
    for folder in sorted((DAVIS / "JPEGImages/480p").iterdir()):
        frames, truth = load(folder.name)
        engine, values = Tracker(), []
        begun = time.perf_counter()
        for number, frame in enumerate(frames):
            values.append(jaccard(engine.step(frame, {1: truth[0]} if number == 0 else None)[1] > 0.5, truth[number]))
        everything.append(float(np.mean(values[1:-1])))  # as DAVIS does: neither the first nor the last frame
        print(
            f"| {folder.name} | {everything[-1]:.3f} | {(time.perf_counter() - begun) / len(frames):.3f} |", flush=True
        )
    print(f"| mean | {np.mean(everything):.3f} | |")


if __name__ == "__main__":
    main()
