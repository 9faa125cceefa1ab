"""E2FGVI's speed: a frame's seconds for each procedure, beside the plain arrangement of the same network, in one run.

    python -m tests.bench.bench_e2fgvi [--frames 40] [--rounds 1] [--only upstream,windowed,...]

Prints Markdown. "Plain" is tests/e2fgvi/plain.py on one usual window of the authors' procedure (11 neighbours and 2
references, which advances five frames): torchvision's deformable convolution, copies of rolled keys, nothing shared.
Weights are stand-ins, on which time does not depend. CPU seconds are the process's, over its threads; on a machine
that others use, set OMP_NUM_THREADS=1 and compare those.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from tam_edit.models import e2fgvi
from tests.e2fgvi import stand_in
from tests.e2fgvi.plain import PlainE2FGVI
from tests.support import PARITY

PARTS = ("encode", "flow_pair", "propagate", "transform", "decode")
Clip = tuple[list[NDArray[np.uint8]], list[NDArray[np.bool_]]]


@dataclass
class Spent:
    """Least wall seconds and CPU seconds a thread, and the wall seconds of each part of the network."""

    wall: float = float("inf")
    cpu: float = float("inf")
    parts: dict[str, float] = field(default_factory=dict)
    result: NDArray[np.uint8] | None = None


def clip(count: int, width: int, height: int, mask_of: Callable[[NDArray[np.bool_], int], NDArray[np.bool_]]) -> Clip:
    """The recorded clip, there and back, at a size; noise without ../shared."""
    if PARITY.is_dir():
        recording = np.load(PARITY / "e2fgvi_hq_clip.npz")
        frames, masks = recording["frames"], recording["masks"] > 0
    else:
        frames = np.random.default_rng(0).integers(0, 256, (14, height, width, 3), np.uint8)
        masks = np.zeros((14, height, width), bool)
        masks[:, height // 3 : height // 2, width // 3 : width // 2] = True
    order = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    picked = [order[index % len(order)] for index in range(count)]
    large = [cv2.resize(frames[i], (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8) for i in picked]
    holes = [cv2.resize(masks[i].astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) for i in picked]
    return large, [mask_of(hole > 0, index) for index, hole in enumerate(holes)]


def small_hole(mask: NDArray[np.bool_], index: int) -> NDArray[np.bool_]:
    """A hole of 70x100 pixels that walks."""
    hole = np.zeros_like(mask)
    hole[300:400, 400 + 6 * index : 470 + 6 * index] = True
    return hole


def timed(work: Callable[[], NDArray[np.uint8] | None], rounds: int, network: e2fgvi.E2FGVI | None = None) -> Spent:
    spent = Spent()
    for _ in range(rounds):
        parts = dict.fromkeys(PARTS, 0.0)
        if network is not None:
            for name in PARTS:
                setattr(network, name, _watched(getattr(type(network), name).__get__(network), name, parts))
        wall, cpu = time.perf_counter(), time.process_time()
        spent.result = work()
        wall, cpu = time.perf_counter() - wall, (time.process_time() - cpu) / torch.get_num_threads()
        if wall < spent.wall:
            spent.parts = parts
        spent.wall, spent.cpu = min(spent.wall, wall), min(spent.cpu, cpu)
    return spent


def _watched(method: Callable[..., object], name: str, parts: dict[str, float]) -> Callable[..., object]:
    def run(*args: object) -> object:
        start = time.perf_counter()
        result = method(*args)
        parts[name] += time.perf_counter() - start
        return result

    return run


def filling(network: e2fgvi.E2FGVI, shot: Clip, blend: str) -> Callable[[], NDArray[np.uint8]]:
    return lambda: np.stack(list(e2fgvi.fill(network, *shot, blend=blend)))


def plain_window() -> None:
    frames, _ = clip(13, 432, 240, lambda mask, _: mask)
    pictures = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    PlainE2FGVI(stand_in.state("hq"))(pictures[None], 11)


def psnr(result: NDArray[np.uint8] | None, exact: NDArray[np.uint8] | None, shot: Clip) -> str:
    """Of the filled pixels."""
    if result is None or exact is None:
        return "-"
    holes = np.stack(shot[1])
    error = np.mean((result[holes].astype(float) - exact[holes]) ** 2)
    return f"{10 * np.log10(255**2 / max(error, 1e-9)):.1f}"


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default="plain,upstream,windowed,windowed-bf16,small,small-bf16")
    options = parser.parse_args(arguments)
    wanted = options.only.split(",")
    shot = clip(options.frames, 432, 240, lambda mask, _: mask)
    large = clip(options.frames, 1280, 720, small_hole)
    jobs: list[tuple[str, str, str, Clip, str]] = [
        ("upstream", "432x240, upstream", "fp32", shot, "upstream"),
        ("windowed", "432x240, default", "fp32", shot, "windowed"),
        ("windowed-bf16", "432x240, default", "bf16", shot, "windowed"),
        ("small", "1280x720 small hole, default", "fp32", large, "windowed"),
        ("small-bf16", "1280x720 small hole, default", "bf16", large, "windowed"),
    ]
    print(f"{options.frames} frames, {torch.get_num_threads()} threads\n")
    print(
        "| procedure | precision | wall s/frame | CPU s/frame | of plain | PSNR to upstream | "
        + " | ".join(PARTS)
        + " |"
    )
    print("|---" * (6 + len(PARTS)) + "|")
    plain: Spent | None = None
    exact: NDArray[np.uint8] | None = None
    blank = " | - " * len(PARTS) + " |"
    if "plain" in wanted:
        plain = timed(lambda: plain_window(), options.rounds)
        print(f"| 432x240, plain window | fp32 | {plain.wall / 5:.2f} | {plain.cpu / 5:.2f} | 1 | -{blank}", flush=True)
    for name, title, precision, frames, blend in jobs:
        if name not in wanted:
            continue
        network = e2fgvi.load(stand_in.state("hq"), precision=precision)
        filling(network, (frames[0][:1], frames[1][:1]), "windowed")()
        spent = timed(filling(network, frames, blend), options.rounds, network)
        if name == "upstream":
            exact = spent.result
        agreement = psnr(spent.result, exact, frames) if blend == "windowed" and frames is shot else "-"
        ratio = f"{spent.cpu / options.frames / (plain.cpu / 5):.3f}" if plain else "-"
        shares = " | ".join(f"{spent.parts[part] / spent.wall:.0%}" for part in PARTS)
        print(
            f"| {title} | {precision} | {spent.wall / options.frames:.2f} | {spent.cpu / options.frames:.2f} "
            f"| {ratio} | {agreement} | {shares} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
