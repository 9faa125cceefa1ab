"""What each part of the classic tracker and segmenter gains: quality with one part left out at a time.

python -m tests.bench.classic_gains [track] [edges] [prompts] [--frames 30]     (track takes a quarter of an hour)
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from types import ModuleType
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic import Tracker, edges, hypotheses, regions, segment, segmentation, tracker
from tam_edit.models.classic.evidence import VoteSettings
from tam_edit.models.classic.tracker import TrackerSettings
from tam_edit.pipelines.evaluate_tracking import SegmentingEngine, simulate_clicks
from tam_edit.pipelines.metrics import boundary_f, jaccard
from tests.bench.bench_classic_track import DAVIS, load

TRACKERS = {
    "nothing left out": TrackerSettings(),
    "without the classifier": TrackerSettings(vote=VoteSettings(look_gain=0)),
    "without motion": TrackerSettings(vote=VoteSettings(motion_gain=0)),
    "motion says as much before uneven backgrounds": TrackerSettings(vote=VoteSettings(motion_noise=0)),
    "without distance": TrackerSettings(vote=VoteSettings(slope=0)),
    "without smoothing": TrackerSettings(smooth_strength=1e-3),
    "without full-size edges": TrackerSettings(edge_strength=0),
    "no closer look at small objects": TrackerSettings(margin_px=10_000),
    "128 random features, not 256": TrackerSettings(random_features=128),
    "512 random features": TrackerSettings(random_features=512),
    "another seed": TrackerSettings(seed=8),
    "a third seed": TrackerSettings(seed=9),
    "no background seen before": TrackerSettings(vote=VoteSettings(unlike_gain=0, alike_gain=0)),
    "what differs from it counts whatever it looks like": TrackerSettings(vote=VoteSettings(deny=0)),
    "parts left behind are kept": TrackerSettings(vote=VoteSettings(left_behind=2)),
    "no learning from believed frames": TrackerSettings(mix_share=0),
    "learning from doubted frames too": TrackerSettings(least_trust=0),
    "the first frame soon forgotten": TrackerSettings(lasting_weight=0.1),
    "what is lost is never found again": TrackerSettings(found_likeness=2),
}
Change = tuple[ModuleType, str, object]
PROMPTS: dict[str, tuple[Change, ...]] = {
    "nothing left out": (),
    "points need not be obeyed": ((segmentation, "OBEY_GAIN", 0.0),),
    "the best-scored region, no consensus": ((segmentation, "CONSENSUS", 1e-6),),
    "all regions count the same": ((segmentation, "CONSENSUS", 1e6),),
    "no last, finer classifier": ((segmentation, "FINE", (2.0, 0.0, 100.0)),),
    "the last look once": ((segmentation, "FINE_ROUNDS", 1),),
    "boxes: nothing about what is reached from outside": ((hypotheses, "APART_FILLS", ()),),
    "boxes not looked at closely": ((segmentation, "BOX_MARGIN", 1e3),),
    "boxes need not be filled": ((segmentation, "TIGHT_GAIN", 0.0),),
    "no nearness to the points": ((hypotheses, "SPACE_GAIN", 0.0),),
    "no nearness along paths": ((hypotheses, "GEO_GAIN", 0.0),),
    "three extents": ((hypotheses, "EXTENTS", (0.01, 0.04, 0.15)), (hypotheses, "BOX_FILLS", (0.35, 0.55, 0.75))),
    "three rounds of growing": ((regions, "ROUNDS", 3),),
}


def track(frames: int) -> None:
    """Mean J and F over the first frames of all sequences."""
    print(f"| | J, first {frames} frames | against all | F | against all |\n|---|---|---|---|---|")
    clips = [load(folder.name, frames) for folder in sorted((DAVIS / "JPEGImages/480p").iterdir())]
    whole: tuple[float, float] | None = None
    for name, settings in TRACKERS.items():
        j, f = np.mean([scores(*clip, settings) for clip in clips], axis=0).tolist()
        whole = whole or (j, f)
        print(f"| {name} | {j:.3f} | {j - whole[0]:+.3f} | {f:.3f} | {f - whole[1]:+.3f} |", flush=True)


def scores(
    frames: list[NDArray[np.uint8]], truths: list[NDArray[np.bool_]], settings: TrackerSettings
) -> tuple[float, float]:
    """J and F from the first true mask, as DAVIS counts: neither the first nor the last frame."""
    engine, found = Tracker(settings), []
    for number, (frame, truth) in enumerate(zip(frames, truths, strict=True)):
        mask = engine.step(frame, {1: truth} if number == 0 else None)[1] > 0.5
        found.append((jaccard(mask, truth), boundary_f(mask, truth)))
    j, f = np.mean(found[1:-1], axis=0).tolist()
    return j, f


EDGES = {  # strength of smoothing, limit of log odds
    "enlarged, nothing else": (0.0, 1e3),
    "smoothed along full-size edges": (30.0, 1e3),
    "the contour between signs": (0.0, edges.CONTOUR_LIMIT),
    "both, as it is": (30.0, edges.CONTOUR_LIMIT),
}
HALF = TrackerSettings(work_area=427 * 240, margin_px=10_000)  # all is tracked at half the size of the truth


def full_size_edges(frames: int) -> None:
    """What is done at the picture's own size gains where tracking ran at half of it: J, F, and F to two pixels."""
    columns = ("J", "F", "F, two pixels")
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    for folder in sorted((DAVIS / "JPEGImages/480p").iterdir()):
        rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in EDGES}
        pictures, truths = load(folder.name, frames)
        engine = Tracker(HALF)
        for number, (picture, truth) in enumerate(zip(pictures, truths, strict=True)):
            with patch.object(tracker, "enlarge", wraps=edges.enlarge) as asked:
                engine.step(picture, {1: truth} if number == 0 else None)
            if not 0 < number < len(pictures) - 1:
                continue
            for name, (strength, limit) in EDGES.items():
                with patch.object(edges, "CONTOUR_LIMIT", limit):
                    edge = edges.enlarge(asked.call_args.args[0], picture, strength=strength, sigma=8.0)
                mask = np.zeros_like(truth) if edge is None else edge.mask(picture.shape)
                rows[name].append((jaccard(mask, truth), boundary_f(mask, truth), boundary_f(mask, truth, 0.0015)))
        found[folder.name] = {name: np.mean(values, axis=0) for name, values in rows.items()}
    hard = ("bmx-trees", "dance-twirl", "libby", "scooter-black")
    print(f"| first {frames} frames | " + " | ".join((*columns, *(f"{name}: F" for name in hard))) + " |")
    print("|---" * (len(columns) + len(hard) + 1) + "|")
    for name in EDGES:
        means = np.mean([each[name] for each in found.values()], axis=0)
        cells = [*means, *(found[clip][name][1] for clip in hard if clip in found)]
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in cells) + " |", flush=True)


def prompts(clicks: int = 3, frames: int = 4) -> None:
    """Mean IoU after clicks, a box, and a box with a click, on some frames of every sequence, evenly spread."""
    print("| | 1 click | 2 | 3 | box | box and a click |\n|---|---|---|---|---|---|")
    engine = SegmentingEngine("classic", "", segment)
    scenes = []
    for folder in sorted((DAVIS / "JPEGImages/480p").iterdir()):
        pictures, truths = load(folder.name)
        for at in range(0, len(pictures) - 1, -(-(len(pictures) - 1) // frames)):
            scenes.append((pictures[at], pictures[at + 1], truths[at].astype(np.uint8)))  # noqa: PERF401
    for name, changes in PROMPTS.items():
        with ExitStack() as changed:
            for module, constant, value in changes:
                changed.enter_context(patch.object(module, constant, value))
            curves = []
            for picture, following, truth in scenes:
                clicked = simulate_clicks(engine, picture, truth, clicks, next_frame=following)[1][0]
                boxed = simulate_clicks(engine, picture, truth, 1, True, following)[1][0]
                curves.append([*clicked, *boxed])
        print(f"| {name} | " + " | ".join(f"{mean:.3f}" for mean in np.mean(curves, axis=0)) + " |", flush=True)


WHAT = ("track", "edges", "prompts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=WHAT, default=WHAT)
    parser.add_argument("--frames", type=int, default=30)
    asked = parser.parse_args()
    if not DAVIS.is_dir():
        sys.exit(f"no footage at {DAVIS}: nothing to measure")
    if "track" in asked.what:
        track(asked.frames)
    if "edges" in asked.what:
        full_size_edges(asked.frames)
    if "prompts" in asked.what:
        prompts()


if __name__ == "__main__":
    main()
