"""Measures mattes: alpha against truth, old background left at the edge, flicker and lag, time; draws the picture.

python -m tests.bench.bench_matte [--parts alpha,cover,spill,flicker,shadow,speed] [--frames 12]
python -m tests.bench.bench_matte --parts fill          (some minutes)
python -m tests.bench.bench_matte --picture docs/img/matte.jpg
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from tam_edit.clip import FrameSpan
from tam_edit.masks import Matte
from tam_edit.models import classic
from tam_edit.models.matting import Shadows, coverage, foreground, refined, signed_distance
from tam_edit.pipelines.matte import FAINT, soft_edge
from tam_edit.pipelines.matte_foreground import own_colours
from tam_edit.pipelines.matte_soft import Softener, SoftSettings, band_px
from tests.bench import matte_scenes as scenes
from tests.support import FOOTAGE, ROOT

GREEN, BLUE = (0, 177, 64), (0, 71, 187)
STYLES = {
    "mask itself": ("hard", False),
    "contour": ("contour", False),
    "contour, smooth": ("contour", True),
    "auto": ("auto", False),
    "auto, smooth": ("auto", True),
}


def alphas_of(pictures: list[np.ndarray], masks: list[np.ndarray], style: str, smooth: bool) -> list[np.ndarray]:
    """Alpha of every frame of a clip, float32."""
    maps = [mask.astype(np.uint8) for mask in masks]
    if style == "hard":
        return [one.astype(np.float32) for one in maps]
    settings = SoftSettings((1,), style, smooth, mend=True)
    softener = Softener(pictures.__getitem__, maps.__getitem__, settings, FrameSpan(0, len(maps)))
    return [softener.alpha(frame).astype(np.float32) / 255 for frame in range(len(maps))]


def alpha_table(frame: int) -> None:
    """How far alpha is off, in pixels along the contour, for masks as trackers give them."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for scene in scenes.known(frame):
        true_mask = scene.alpha > 0.5
        rng = np.random.default_rng(frame)
        given = {"exact": true_mask, "coarse": scenes.coarse(true_mask), "wobbling": scenes.wobbled(true_mask, rng)}
        true_distance = np.abs(signed_distance(true_mask))
        length = float((true_distance < 1).sum()) / 2
        for how, mask in given.items():
            distance = signed_distance(mask)
            ways = {
                "mask itself": mask.astype(np.float32),
                "contour": coverage(distance),
                "auto": refined(distance, scene.rgb, band_px(mask)),
            }
            for way, alpha in ways.items():
                error = np.abs(alpha - scene.alpha)[true_distance < scenes.BAND_PX].sum() / length
                found.setdefault((scene.kind, how, way), []).append(float(error))
    print("\nError of alpha: pixels of alpha wrong per pixel of contour (mean over ten sequences)\n")
    print("| edge | mask | mask itself | contour | auto | auto : mask |\n|---|---|---|---|---|---|")
    for kind in ("edge", "hair", "blur"):
        for how in ("exact", "coarse", "wobbling"):
            errors = [float(np.mean(found[kind, how, way])) for way in ("mask itself", "contour", "auto")]
            cells = " | ".join(f"{error:.2f}" for error in errors)
            print(f"| {kind} | {how} | {cells} | {errors[2] / errors[0]:.2f} |")


def cover_table(frame: int) -> None:
    """What a hole leaves uncovered of the object, and how large it is."""
    print("\nHoles for removal: share of the object's soft edge left outside, hole's area by the object's\n")
    print("| grown by | edge | hair | blur | area | refined: edge | hair | blur | area |\n|" + "---|" * 9)
    for grow in (3, 4, 5, 6, 7, 8):
        cells = []
        for style in ("hard", "auto"):
            left: dict[str, list[float]] = {}
            area = []
            for scene in scenes.known(frame):
                mask = scenes.coarse(scene.alpha > 0.5)
                wide = mask
                if style == "auto":
                    (alpha,) = alphas_of([scene.rgb], [mask], "auto", False)
                    wide = mask | (alpha * 255 >= FAINT)
                hole = soft_edge(wide, grow, 2.0).astype(np.float32) / 255
                outside = (scene.alpha < 1) & (np.abs(signed_distance(mask)) < 3 * scenes.BAND_PX)
                left.setdefault(scene.kind, []).append(
                    float((scene.alpha * (1 - hole))[outside].sum() / scene.alpha[outside].sum())
                )
                area.append(float((hole > 0).sum() / mask.sum()))
            cells += [f"{100 * np.mean(left[kind]):.2f} %" for kind in ("edge", "hair", "blur")]
            cells.append(f"{np.mean(area):.2f}")
        print(f"| {grow} px | {' | '.join(cells)} |")


def fill_table(frames: int = 16) -> None:
    """What growing costs: objects over another clip, removed by the classic engine, against that clip."""
    print("\nFilled holes: PSNR against the known background within 12 px of the object, by how much masks are grown\n")
    grown = (3, 4, 5, 6, 8)
    print(f"| object, over, edge | {' | '.join(f'{grow} px' for grow in grown)} |\n|---|{'---|' * len(grown)}")
    cases = (
        ("dance-twirl", "cows", "hair", scenes.strands),
        ("dog", "camel", "blur", scenes.blurred),
        ("camel", "goat", "edge", scenes.plain),
    )
    for name, other, kind, shape in cases:
        pictures, masks = scenes.davis(name, 10, 10 + frames)
        behind, _ = scenes.davis(other, 10, 10 + frames)
        rng = np.random.default_rng(1)
        shots = []
        for rgb, mask, back in zip(pictures, masks, behind, strict=True):
            inner = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(np.float32)
            front = foreground(rgb, inner * np.float32(0.999), min(mask.shape)).astype(np.float32)
            shots.append(scenes.composed(name, kind, shape(mask, rng), front, back.astype(np.float32), rng))
        given = [scenes.coarse(shot.alpha > 0.5) for shot in shots]
        soft = alphas_of([shot.rgb for shot in shots], given, "auto", True)
        wide = [mask | (alpha * 255 >= FAINT) for mask, alpha in zip(given, soft, strict=True)]
        cells = []
        for grow in grown:
            holes = [soft_edge(mask, grow, 2.0).astype(np.float32) / 255 for mask in wide]
            filled = classic.fill([shot.rgb for shot in shots], [hole > 0 for hole in holes])
            found = []
            for shot, hole, fill, back in zip(shots, holes, filled, behind, strict=True):
                result = shot.rgb + hole[..., None] * (fill.astype(np.float32) - shot.rgb)
                region = cv2.dilate((shot.alpha > 0.02).astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
                found.append(10 * np.log10(255**2 / float(np.square(result - back)[region].mean())))
            cells.append(f"{np.mean(found):.2f}")
        print(f"| {name}, {other}, {kind} | {' | '.join(cells)} |", flush=True)


def left_of_old(used: np.ndarray, front: np.ndarray, behind: np.ndarray, alpha: np.ndarray) -> float:
    """Share of the old background that a composite's edge pixels hold, 0..1: colours along the line front to behind."""
    way = behind - front
    edge = (alpha > 0.02) & (alpha < 0.98) & (np.abs(way).sum(axis=2) > 60)
    along = ((used - front) * way).sum(axis=2) / np.maximum((way * way).sum(axis=2), 1)
    return float((alpha * along.clip(0, 1))[edge].mean())


def spill_table(frame: int) -> None:
    """Old background in the composite: cut out of saturated green and blue with known truth, and of real clips."""
    found: dict[tuple[str, str], list[float]] = {}
    for scene in scenes.known(frame, ("edge", "hair")):
        for old_name, old in (("green", GREEN), ("blue", BLUE)):
            behind = np.full_like(scene.front, 0) + np.array(old, np.float32)
            rng = np.random.default_rng(frame)
            shot = scenes.composed(scene.name, scene.kind, scene.alpha, scene.front, behind, rng)
            mask = scenes.coarse(scene.alpha > 0.5)
            (soft,) = alphas_of([shot.rgb], [mask], "auto", False)
            for what, alpha in (("known alpha", scene.alpha), ("own matte", soft)):
                for way, used in (
                    ("naive", shot.rgb.astype(np.float32)),
                    ("own colours", foreground(shot.rgb, alpha, min(mask.shape)).astype(np.float32)),
                ):
                    place = f"{old_name} behind, {scene.kind}, {what}"
                    found.setdefault((place, way), []).append(left_of_old(used, scene.front, behind, alpha))
    for name in scenes.SEQUENCES:
        (rgb,), (mask,) = scenes.davis(name, frame, frame + 1)
        (alpha,) = alphas_of([rgb], [mask], "auto", False)
        front, behind = nearest_clear(rgb, mask)
        for way, used in (
            ("naive", rgb.astype(np.float32)),
            ("own colours", foreground(rgb, alpha, min(mask.shape)).astype(np.float32)),
        ):
            found.setdefault(("real background", way), []).append(left_of_old(used, front, behind, alpha))
    print("\nOld background left in the edge of a composite (share of its colour; mean over ten sequences)\n")
    print("| behind, edge, alpha | naive blend | own colours | own colours : naive |\n|---|---|---|---|")
    for place in dict.fromkeys(place for place, _ in found):
        naive, own = (float(np.mean(found[place, way])) for way in ("naive", "own colours"))
        print(f"| {place} | {100 * naive:.1f} % | {100 * own:.1f} % | {own / naive:.2f} |")


def nearest_clear(rgb: np.ndarray, mask: np.ndarray, clear_px: float = 5) -> tuple[np.ndarray, np.ndarray]:
    """Colours of the nearest clear object and clear background for every pixel, smoothed a little: float32."""
    distance = signed_distance(mask)
    smooth = cv2.medianBlur(rgb, 5).astype(np.float32)
    found = []
    for clear in (distance < -clear_px, distance > clear_px):
        if not clear.any():
            clear = mask if not found else ~mask
        _, labels = cv2.distanceTransformWithLabels(
            (~clear).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
        )
        places = np.zeros((int(labels.max()) + 1, 3), np.float32)
        places[labels[clear]] = smooth[clear]
        found.append(places[labels])
    return found[0], found[1]


def flicker_table(frames: int) -> None:
    """What changes from frame to frame in the error of alpha, along the motion; and lag."""
    print("\nEdge flicker: pixels of alpha that come and go per pixel of contour and frame; lag of the shape in px\n")
    names = list(STYLES)
    print(f"| clip | {' | '.join(names)} | lag, auto, smooth |\n|---|{'---|' * (len(names) + 1)}")
    for step in (0.0, 0.7, 2.3, 6.0):
        clip = scenes.moving(step)
        cells, lag = [], 0.0
        for style, smooth in STYLES.values():
            found = alphas_of(clip.pictures, clip.masks, style, smooth)
            cells.append(known_flicker(clip, found))
            lag = lag_px(clip, found)
        shown = " | ".join(f"{cell:.2f} ({cell / cells[0]:.2f})" for cell in cells)
        print(f"| blob, {step:g} px a frame | {shown} | {lag:+.2f} |")
    totals: dict[tuple[str, str], list[float]] = {}
    for name in scenes.SEQUENCES:
        pictures, masks = scenes.davis(name, 10, 10 + frames)
        rng = np.random.default_rng(3)
        for what, given in (
            ("DAVIS, annotation", masks),
            ("DAVIS, wobbling", [scenes.wobbled(mask, rng, 1.5) if mask.any() else mask for mask in masks]),
        ):
            flows = [flow(pictures[at], pictures[at - 1]) for at in range(1, len(pictures))]
            for way, (style, smooth) in STYLES.items():
                found = alphas_of(pictures, given, style, smooth)
                totals.setdefault((what, way), []).append(carried_flicker(found, flows))
    for what in ("DAVIS, annotation", "DAVIS, wobbling"):
        cells = [float(np.nanmean(totals[what, way])) for way in names]
        print(f"| {what} | {' | '.join(f'{cell:.2f} ({cell / cells[0]:.2f})' for cell in cells)} | |")


def known_flicker(clip: scenes.Moving, found: list[np.ndarray]) -> float:
    """Mean change of the error between neighbours, each error moved with the shape; ends of the clip left out."""
    height, width = clip.alphas[0].shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    changes = []
    for at in range(3, len(found) - 2):
        here, before = (found[index] - clip.alphas[index] for index in (at, at - 1))
        moved = cv2.remap(before, x - np.float32(clip.step_px), y, cv2.INTER_LINEAR)
        changes.append(np.abs(here - moved).sum() / (np.abs(signed_distance(clip.alphas[at] > 0.5)) < 1).sum() * 2)
    return float(np.mean(changes))


def lag_px(clip: scenes.Moving, found: list[np.ndarray]) -> float:
    """How far the shape lies behind the truth along its motion (below 0: ahead), mean over the clip's middle."""
    x = np.arange(clip.alphas[0].shape[1], dtype=np.float32)[None]
    middle = range(3, len(found) - 3)
    return float(
        np.mean(
            [
                (x * clip.alphas[at]).sum() / clip.alphas[at].sum() - (x * found[at]).sum() / found[at].sum()
                for at in middle
            ]
        )
    )


def flow(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return dis.calc(*(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in (here, there)), None)


def carried_flicker(found: list[np.ndarray], flows: list[np.ndarray]) -> float:
    """Mean difference between alpha and the former alpha along the picture's flow, per pixel of contour."""
    height, width = found[0].shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    changes = []
    for at in range(3, len(found) - 2):
        motion = flows[at - 1]
        carried = cv2.remap(found[at - 1], x + motion[..., 0], y + motion[..., 1], cv2.INTER_LINEAR)
        edge = float((np.abs(signed_distance(found[at] > 0.5)) < 1).sum()) / 2
        if edge > 50:
            changes.append(np.abs(found[at] - carried).sum() / edge)
    return float(np.mean(changes)) if changes else float("nan")


def speed_table() -> None:
    """Milliseconds a frame, best of three runs over the same frames."""
    print("\nTime of soft edges (auto, smooth), ms a frame: processor and wall, best of three; foreground colours\n")
    print("| clip | object's box | processor | wall | colours, wall |\n|---|---|---|---|---|")
    for name, scale in (("bmx-trees", 1), ("dance-twirl", 1), ("camel", 1), ("car-roundabout", 1), ("camel", 2.25)):
        pictures, masks = scenes.davis(name, 20, 30)
        if scale != 1:
            size = (1920, 1080)
            pictures = [cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC) for rgb in pictures]
            masks = [cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0 for mask in masks]
        runs = []
        for _ in range(3):
            wall, cpu = time.perf_counter(), time.process_time()
            found = alphas_of(pictures, masks, "auto", True)
            runs.append((time.process_time() - cpu, time.perf_counter() - wall))
        began = time.perf_counter()
        for rgb, alpha in zip(pictures, found, strict=True):
            own_colours(rgb, Matte.of(alpha))
        colours = time.perf_counter() - began
        box = cv2.boundingRect(masks[5].astype(np.uint8))
        milliseconds = [1000 * min(run[place] for run in runs) / len(pictures) for place in (0, 1)]
        print(
            f"| {name}, {masks[0].shape[1]}x{masks[0].shape[0]} | {box[2]}x{box[3]} | {milliseconds[0]:.0f} | "
            f"{milliseconds[1]:.0f} | {100 * colours:.0f} |"
        )


def shadow_table() -> None:
    """How much holes would grow by shadows: dark ground at the foot, and what of it goes where the object goes."""
    print("\nShadows: share of the object's area, mean and largest over every sixth frame\n")
    print("| clip | dark at the foot | goes with the object |\n|---|---|---|")
    for name in scenes.SEQUENCES:
        pictures, masks = scenes.davis(name, 0, 48)
        finder = Shadows(lambda at, p=pictures, m=masks: (p[at], m[at]), len(pictures))
        guessed, found = [], []
        for at in range(12, 36, 6):
            if masks[at].any():
                found.append(float(finder.found(at).sum() / masks[at].sum()))
                guessed.append(float((classic.shadowed(pictures[at], masks[at]) & ~masks[at]).sum() / masks[at].sum()))
        cells = [f"{np.mean(shares):.2f}, {max(shares):.2f}" for shares in (guessed, found)]
        print(f"| {name} | {cells[0]} | {cells[1]} |")


def draw(path: Path) -> None:
    """Parts of composites over green: the mask itself, the contour, the refined edge, with the object's own colours."""
    rows = []
    for name, frame, (x, y, wide, high) in (
        ("dog", 20, (330, 120, 150, 130)),
        ("camel", 40, (520, 95, 150, 130)),
        ("dance-twirl", 30, (560, 100, 150, 130)),
    ):
        pictures, masks = scenes.davis(name, frame - 2, frame + 3)
        cells = [pictures[2]]
        for style, smooth, own in (("hard", False, False), ("auto", True, False), ("auto", True, True)):
            alpha = alphas_of(pictures, masks, style, smooth)[2]
            front = foreground(pictures[2], alpha, min(alpha.shape)) if own else pictures[2]
            weight = alpha[..., None]
            cells.append(np.rint(weight * front + (1 - weight) * np.array(GREEN)).astype(np.uint8))
        crops = [cell[y : y + high, x : x + wide] for cell in cells]
        rows.append(np.hstack([cv2.resize(crop, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC) for crop in crops]))
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    print(f"written: {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default="alpha,cover,spill,flicker,shadow,speed")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    if not FOOTAGE.is_dir():
        print(f"real footage is missing: {FOOTAGE}")
        return 0
    if options.picture is not None:
        draw(options.picture.resolve())
        return 0
    parts = {
        "alpha": lambda: alpha_table(options.frames),
        "cover": lambda: cover_table(options.frames),
        "spill": lambda: spill_table(options.frames),
        "flicker": lambda: flicker_table(options.frames),
        "fill": fill_table,
        "shadow": shadow_table,
        "speed": speed_table,
    }
    for name in options.parts.split(","):
        parts[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
