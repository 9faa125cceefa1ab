"""Measures the classic filling on real footage and draws the pictures of docs/classic-engine/filling.md.

python -m tests.bench.bench_classic_fill [--frames 50] [--kinds moving,fixed] [--sequences camel,cows]
python -m tests.bench.bench_classic_fill --speed
python -m tests.bench.bench_classic_fill --corridor
python -m tests.bench.bench_classic_fill --sheets [tennis,corridor]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from tam_edit.models import classic
from tests.support import FOOTAGE, ROOT

DAVIS = FOOTAGE / "davis"
SEQUENCES = sorted(path.name for path in (DAVIS / "JPEGImages/480p").glob("*"))
Frames = list[np.ndarray]


def pictures(folder: Path, size_wh: tuple[int, int] | None, count: int | None = None) -> Frames:
    found = []
    for path in sorted(folder.iterdir())[:count]:
        rgb = cv2.imread(str(path))[..., ::-1]
        found.append(cv2.resize(rgb, size_wh, interpolation=cv2.INTER_AREA) if size_wh else np.ascontiguousarray(rgb))
    return found


def masks_in(folder: Path, size_wh: tuple[int, int] | None, count: int | None = None, above: int = 0) -> Frames:
    found = []
    for path in sorted(folder.iterdir())[:count]:
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        found.append((cv2.resize(grey, size_wh, interpolation=cv2.INTER_NEAREST) if size_wh else grey) > above)
    return found


def clip(path: Path, start: int, stop: int, size_wh: tuple[int, int] | None = None) -> Frames:
    capture = cv2.VideoCapture(str(path))
    found = []
    for index in range(stop):
        taken, bgr = capture.read()
        if taken and index >= start:
            found.append(cv2.resize(bgr, size_wh, interpolation=cv2.INTER_AREA) if size_wh else bgr)
    return [np.ascontiguousarray(bgr[..., ::-1]) for bgr in found]


def psnr(first: np.ndarray, second: np.ndarray, mask: np.ndarray | None = None) -> float:
    error = (first.astype(np.float64) - second.astype(np.float64)) ** 2
    return float(10 * np.log10(255**2 / max(float((error if mask is None else error[mask]).mean()), 1e-9)))


def warp_error(frames: Frames, results: Frames, masks: Frames) -> float:
    """Mean difference in grey levels inside the hole between a frame and the next, warped by the truth's flow."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    height, width = masks[0].shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    found = []
    for index in range(len(frames) - 1):
        greys = [cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in frames[index : index + 2]]
        flow = dis.calc(greys[0], greys[1], None)
        u, v = x + flow[..., 0], y + flow[..., 1]
        mask = masks[index] & (u >= 0) & (v >= 0) & (u <= width - 1) & (v <= height - 1)
        if mask.any():
            warped = cv2.remap(results[index + 1].astype(np.float32), u, v, cv2.INTER_LINEAR)
            found.append(float(np.abs(warped - results[index]).mean(-1)[mask].mean()))
    return float(np.mean(found)) if found else float("nan")


def holes(sequence: str, kind: str, size_wh: tuple[int, int], count: int) -> Frames:
    if kind == "moving":
        other = SEQUENCES[(SEQUENCES.index(sequence) + 3) % len(SEQUENCES)]
        return masks_in(DAVIS / "Annotations/480p" / other, size_wh, count)
    width, height = size_wh
    mask = np.zeros((height, width), bool)
    mask[height * 3 // 8 : height * 5 // 8, width * 3 // 8 : width * 5 // 8] = True
    return [mask] * count


def scored(frames: Frames, results: Frames, masks: Frames) -> list[float]:
    with_hole = [index for index, mask in enumerate(masks) if mask.any()]
    whole = np.mean([psnr(frames[index], results[index]) for index in with_hole])
    inner = np.mean([psnr(frames[index], results[index], masks[index]) for index in with_hole])
    return [float(whole), float(inner), warp_error(frames, results, masks)]


def tables(kinds: list[str], sequences: list[str], count: int) -> None:
    for kind in kinds:
        say(f"\n{kind} holes, first {count} frames at 432x240\n")
        say("| sequence | PSNR | Telea | gain dB | hole PSNR | Telea | warp error | Telea | CPU s/frame |")
        say("|---|---|---|---|---|---|---|---|---|")
        rows = []
        for sequence in sequences:
            frames = pictures(DAVIS / "JPEGImages/480p" / sequence, (432, 240), count)
            masks = holes(sequence, kind, (432, 240), len(frames))
            frames = frames[: len(masks)]
            shown = [np.where(mask[..., None], np.uint8(0), rgb) for rgb, mask in zip(frames, masks, strict=True)]
            began = time.process_time()
            ours = scored(frames, list(classic.fill(shown, masks)), masks)
            spent = (time.process_time() - began) / len(frames)
            telea = scored(frames, [telea_of(*pair) for pair in zip(shown, masks, strict=True)], masks)
            rows.append([ours[0], telea[0], ours[0] - telea[0], ours[1], telea[1], ours[2], telea[2], spent])
            say(row(sequence, rows[-1]))
        say(row(f"mean of {len(rows)}", list(np.mean(rows, 0))))
        worst = min(values[2] for values in rows)
        ratio = np.mean([values[5] for values in rows]) / np.mean([values[6] for values in rows])
        say(f"\nWorst clip against Telea {worst:+.2f} dB; warp error {ratio:.2f} of Telea's.")


def telea_of(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.inpaint(rgb, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA))


def row(name: str, values: list[float]) -> str:
    return f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |"


def speed(count: int = 24) -> None:
    """One DAVIS sequence at growing sizes, and a small hole in a large picture; ratios within one run."""
    say("| picture | hole | wall s/frame | CPU s/frame | against 432x240 (CPU) |")
    say("|---|---|---|---|---|")
    first = 0.0
    for size_wh, small in (((432, 240), False), ((854, 480), False), ((854, 480), True), ((1920, 1080), True)):
        frames = pictures(DAVIS / "JPEGImages/480p/camel", size_wh, count)
        masks = masks_in(DAVIS / "Annotations/480p/cows", size_wh, count)
        if small:
            masks = [np.zeros((size_wh[1], size_wh[0]), bool) for _ in frames]
            for index, mask in enumerate(masks):
                left = size_wh[0] // 4 + index * size_wh[0] // 200
                mask[size_wh[1] // 3 : size_wh[1] // 2, left : left + size_wh[0] // 12] = True
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in classic.fill(frames, masks):
            pass
        wall, cpu = (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count
        first = first or cpu
        area = 100 * float(np.mean([mask.mean() for mask in masks]))
        say(f"| {size_wh[0]}x{size_wh[1]} | {area:.1f} % | {wall:.2f} | {cpu:.2f} | {cpu / first:.2f} |")


def people(frames: Frames, empty: np.ndarray) -> Frames:
    """Masks of what differs from the empty scene, grown a little."""
    found = []
    for rgb in frames:
        apart = cv2.GaussianBlur(np.abs(rgb.astype(np.float32) - empty).max(-1), (0, 0), 1.5)
        closed = cv2.morphologyEx((apart > 14).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
        _, labels, parts, _ = cv2.connectedComponentsWithStats(closed)
        keep = parts[:, cv2.CC_STAT_AREA] > 250
        keep[0] = False
        found.append(cv2.dilate(keep[labels].astype(np.uint8), np.ones((11, 11), np.uint8)) > 0)
    return found


def corridor_scene() -> tuple[Frames, Frames]:
    frames = clip(FOOTAGE / "removal/corridor.mp4", 0, 226)
    empty = np.median(np.stack(frames[15:45:2] + frames[208:222:2]), 0).astype(np.float32)
    none = np.zeros(frames[0].shape[:2], bool)
    return frames, [none if not 58 <= index <= 204 else mask for index, mask in enumerate(people(frames, empty))]


def corridor() -> None:
    frames, masks = corridor_scene()
    empties = [frames[index] for index in (20, 40, 210, 220)]
    filler = classic.Filler(lambda index: (frames[index], masks[index]), len(frames))
    rows = []
    for index in range(58, 205, 6):
        mask, result = masks[index], filler.frame(index)
        if not mask.any():
            continue
        rows.append(
            [
                np.mean([psnr(result, other, mask) for other in empties]),
                np.mean([psnr(empties[0], other, mask) for other in empties[2:]]),
                psnr(telea_of(frames[index], mask), empties[0], mask),
                np.mean([psnr(result, other) for other in empties]),
                np.mean([psnr(empties[0], other) for other in empties[2:]]),
                np.mean([psnr(result, other, ~mask) for other in empties]),
            ]
        )
    mean, worst = np.mean(rows, 0), np.min(rows, 0)
    say("| corridor, frames 58-204 | filled against empty | ceiling: empty against empty | Telea |")
    say("|---|---|---|---|")
    say(f"| inside the masks | {mean[0]:.2f} (worst {worst[0]:.2f}) | {mean[1]:.2f} | {mean[2]:.2f} |")
    say(f"| whole picture | {mean[3]:.2f} (worst {worst[3]:.2f}) | {mean[4]:.2f} | |")
    say(f"| outside the masks, untouched | {mean[5]:.2f} (worst {worst[5]:.2f}) | | |")


def grown(masks: Frames, radius: int) -> Frames:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return [cv2.dilate(mask.astype(np.uint8), disc) > 0 for mask in masks]


def clicked(frames: Frames, points: list[tuple[int, int]]) -> Frames:
    """Masks as a user gets them: clicks on the first frame, then propagation."""
    first = classic.segment(frames[0], points=points, labels=[1] * len(points), box=None)
    return [labels > 0 for labels in classic.propagate(frames, keyframes={0: first.astype(np.uint8)})]


def scenes(names: list[str]) -> Iterator[tuple[str, Frames, Frames]]:
    for name in names:
        if name in SEQUENCES:
            frames = pictures(DAVIS / "JPEGImages/480p" / name, None, 60)
            masks = masks_in(DAVIS / "Annotations/480p" / name, None, 60)
            if name == "car-roundabout":
                masks = [classic.shadowed(rgb, mask) for rgb, mask in zip(frames, masks, strict=True)]
            masks = grown(masks, 6)
        elif name == "tennis":
            frames = pictures(FOOTAGE / "removal/tennis/frames", None)
            masks = grown(masks_in(FOOTAGE / "removal/tennis/masks", None, above=127), 4)
        elif name == "wire":
            frames = pictures(FOOTAGE / "removal/wire/frames", None)
            masks = masks_in(FOOTAGE / "removal/wire/masks", None, above=127)
        elif name == "corridor":
            frames, masks = corridor_scene()
        elif name == "bikes":
            frames = clip(FOOTAGE / "clips/bikes.mp4", 30, 52)
            masks = grown(clicked(frames, [(275, 141), (265, 45), (240, 120)]), 5)
        elif name == "biker":
            frames = clip(FOOTAGE / "clips/biker.mp4", 30, 90, (854, 480))
            masks = grown(clicked(frames, [(460, 170), (480, 205)]), 5)
        else:
            raise SystemExit(f"no scene is called {name}")
        yield name, frames, masks


def sheets(names: list[str]) -> None:
    """docs/img/fill-NAME.png: before, mask, after at five times."""
    for name, frames, masks in scenes(names):
        with_hole = [index for index, mask in enumerate(masks) if mask.any()]
        times = [with_hole[round(part * (len(with_hole) - 1))] for part in (0.05, 0.25, 0.5, 0.75, 0.95)]
        filler = classic.Filler(lambda index, f=frames, m=masks: (f[index], m[index]), len(frames))
        columns = []
        for index in times:
            result = filler.frame(index)
            shown = frames[index].copy()
            shown[masks[index]] = (0.4 * shown[masks[index]] + 0.6 * np.array([255, 40, 40])).astype(np.uint8)
            columns.append(np.vstack([frames[index], shown, result]))
        sheet = np.hstack(columns)
        width = 1800
        sheet = cv2.resize(sheet, (width, sheet.shape[0] * width // sheet.shape[1]), interpolation=cv2.INTER_AREA)
        path = ROOT / "docs" / "img" / f"fill-{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), sheet[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
        say(f"{path}: frames {times}")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    if not FOOTAGE.is_dir():
        raise SystemExit(f"real footage is missing: {FOOTAGE}")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--kinds", default="moving,fixed")
    parser.add_argument("--sequences", default=",".join(SEQUENCES))
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--corridor", action="store_true")
    parser.add_argument("--sheets", nargs="?", const="car-roundabout,bmx-trees,tennis,corridor,bikes,biker")
    chosen = parser.parse_args()
    if chosen.speed:
        speed()
    elif chosen.corridor:
        corridor()
    elif chosen.sheets:
        sheets(chosen.sheets.split(","))
    else:
        tables(chosen.kinds.split(","), chosen.sequences.split(","), chosen.frames)


if __name__ == "__main__":
    main()
