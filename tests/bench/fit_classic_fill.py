"""Fits the costs in models/classic/fill_fuse.py (Say) to the truth of the DAVIS clips, by gradient descent.

python -m tests.bench.fit_classic_fill [--step 12] [--folds]

With --folds each clip is judged by costs fitted to the other half of the clips. Prints the costs to paste.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from tam_edit.models import classic
from tam_edit.models.classic import fill_fuse as fuse
from tam_edit.models.classic.fill_membrane import blurred, mean_size, membrane
from tam_edit.models.classic.fill_plate import plate, plate_frames
from tam_edit.models.classic.fill_reference import box_around, chosen
from tests.bench.bench_classic_fill import DAVIS, SEQUENCES, holes, masks_in, pictures

MOST = 14  # candidates a frame
PIXELS = 400  # drawn from each hole


@dataclass(frozen=True)
class Sample:
    """Pixels of one hole. colours: [C, N, 3]; evidence: [C, N, 7], validity first; around: [N, 2]; truth: [N, 3]."""

    clip: int
    kind: str
    colours: np.ndarray
    evidence: np.ndarray
    kinds: np.ndarray
    around: np.ndarray
    smooth: np.ndarray
    truth: np.ndarray


def sample(clip: int, kind: str, frames: list[np.ndarray], filler: classic.Filler, index: int) -> Sample:
    scene = filler._scene
    scene.picture(index)
    box = box_around(scene.small(index).hole, 40)
    hole = box.cut(scene.small(index).hole)
    rows, columns = np.nonzero(hole)
    pick = np.random.default_rng(index).choice(len(rows), PIXELS, replace=len(rows) < PIXELS)
    at = rows[pick], columns[pick]
    colours = np.zeros((MOST, PIXELS, 3), np.float32)
    evidence = np.zeros((MOST, PIXELS, 7), np.float32)
    kinds = np.full(MOST, -1)
    none = np.zeros(hole.shape, np.float32)
    inner = np.argwhere(hole)[:, ::-1].astype(np.float32) + np.array([box.x0, box.y0], np.float32)
    near = filler._near(index)
    picked = chosen(scene, index, inner, near.start, near.stop, filler.settings.references)
    references = [fuse.referred(scene, index, frame, box) for frame in picked]
    ring = fuse.ring_around(scene, index, box, filler.settings.guard_px)
    found = []
    for one in (*filler._chained(index, box), *references):
        colour = np.zeros((*hole.shape, 3), np.float32)
        asked = one.valid & (hole | ring)
        colour[asked] = fuse.colours(scene, one, asked)
        found.append((colour, one.valid, one.distance, one.drift, none, one.kind))
    wanted = hole | ring
    points = np.argwhere(wanted)[:, ::-1].astype(np.float32) + np.array([box.x0, box.y0], np.float32)
    made = plate(scene, index, points, plate_frames(index, filler._near(index), filler.settings.plate))
    colour, count = np.zeros((*hole.shape, 3), np.float32), none.copy()
    colour[wanted], count[wanted] = made.colour, made.count
    found.append((colour, count > 0.05, none, none, count, fuse.PLATE))
    for place, (rgb, valid, distance, drift, agreeing, which) in enumerate(found):
        here = ring & valid
        read = fuse.read_off(scene, index, box, rgb[here], here)
        if read is None:
            continue
        colours[place] = (rgb + read.correction)[at]
        parts = [valid.astype(np.float32), read.error, read.exposure, distance, drift, agreeing, none]
        evidence[place] = np.stack(parts, -1)[at]
        kinds[place] = which
    truth = box.cut(frames[index]).astype(np.float32)
    shown = box.cut(scene.small(index).rgb).astype(np.float32)
    ring = ~hole & (box.cut(scene.small(index).away) <= fuse.RING_PX)
    detail = mean_size(shown - blurred(shown, ~hole, 4.0))[..., None]
    texture = membrane(blurred(detail, ring, 4.0), ring)[..., 0]
    depth = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5)
    around = np.stack([depth, texture], -1)[at]
    return Sample(clip, kind, colours, evidence, kinds, around, membrane(shown, ~hole)[at], truth[at])


def gathered(step: int) -> list[Sample]:
    found = []
    for clip, name in enumerate(SEQUENCES):
        for kind, shift in (("moving", 3), ("moving", 7), ("fixed", 0)):
            frames = pictures(DAVIS / "JPEGImages/480p" / name, (432, 240), 50)
            if kind == "fixed":
                masks = holes(name, kind, (432, 240), len(frames))
            else:
                other = SEQUENCES[(clip + shift) % len(SEQUENCES)]
                masks = masks_in(DAVIS / "Annotations/480p" / other, (432, 240), 50)
            count = min(len(frames), len(masks))
            shown = [np.where(mask[..., None], np.uint8(0), rgb) for rgb, mask in zip(frames, masks, strict=False)]
            filler = classic.Filler(lambda index, f=shown, m=masks: (f[index], m[index]), count)
            times = [index for index in range(2, count, step) if masks[index].sum() >= 50]
            found.extend(sample(clip, kind, frames, filler, index) for index in times)
        sys.stderr.write(f"{name}: {len(found)} samples\n")
    return found


def fitted(samples: list[Sample], rounds: int = 120) -> dict[str, torch.Tensor]:
    """Costs that make the mean logarithm of the squared error least."""
    torch.manual_seed(0)
    costs = {"kind": torch.zeros(4), "error": torch.zeros(8), "smooth": torch.tensor([0.0, 0.0, 1.0, 1.0])}
    for values in costs.values():
        values.requires_grad_()
    optimiser = torch.optim.Adam(costs.values(), lr=0.05)
    for _ in range(rounds):
        loss = torch.stack([torch.log(squared(one, costs) + 5) for one in samples]).mean()
        loss = loss + 1e-3 * sum((values**2).sum() for values in costs.values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return costs


def squared(one: Sample, costs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean squared error of a sample's weighted mean under given costs."""
    evidence, around = torch.from_numpy(one.evidence), torch.from_numpy(one.around)
    error, exposure, distance, drift, count = evidence.unbind(-1)[1:6]
    terms = [error / 10, torch.log(error + 2), exposure / 10, torch.log(exposure + 2)]
    terms += [distance / 20, torch.log(distance + 1), drift, count / 10]
    cost = (torch.stack(terms, -1) * costs["error"]).sum(-1) + costs["kind"][torch.from_numpy(one.kinds)][:, None]
    cost = torch.where(evidence[..., 0] > 0, cost, torch.tensor(1e9))
    depth, texture = around.unbind(-1)
    flat = [torch.ones_like(depth), depth / 10, torch.log(depth + 1), torch.log(texture + 1)]
    smooth = (torch.stack(flat, -1) * costs["smooth"]).sum(-1)
    weight = torch.softmax(-torch.cat([cost, smooth[None]]), 0)
    colours = torch.cat([torch.from_numpy(one.colours), torch.from_numpy(one.smooth)[None]])
    result: torch.Tensor = (((weight[..., None] * colours).sum(0) - torch.from_numpy(one.truth)) ** 2).mean()
    return result


def said(name: str, samples: list[Sample], costs: dict[str, torch.Tensor]) -> None:
    for kind in ("moving", "fixed"):
        errors = [float(squared(one, costs).detach()) for one in samples if one.kind == kind]
        sys.stdout.write(f"{name} {kind}: hole PSNR {np.mean(10 * np.log10(255**2 / np.array(errors))):.2f}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", type=int, default=12)
    parser.add_argument("--folds", action="store_true")
    chosen = parser.parse_args()
    samples = gathered(chosen.step)
    if chosen.folds:
        for fold in range(2):
            costs = fitted([one for one in samples if one.clip % 2 != fold])
            said(f"clips left out, fold {fold}", [one for one in samples if one.clip % 2 == fold], costs)
    costs = fitted(samples)
    said("all clips", samples, costs)
    for key, values in costs.items():
        sys.stdout.write(f"{key} = {[round(float(value), 3) for value in values]}\n")
    sys.stdout.write("error terms: error/10, log(error+2), exposure/10, log(exposure+2), distance/20, ")
    sys.stdout.write("log(distance+1), drift, count/10; smooth terms: 1, depth/10, log(depth+1), log(texture+1)\n")


if __name__ == "__main__":
    main()
