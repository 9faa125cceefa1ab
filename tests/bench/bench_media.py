"""How fast media work is: decoding, RGB, blending, encoding, joining, and what random access costs.

Run `python -m tests.bench.bench_media [CLIP] [--frames N]`; without a clip one of 640x360 is made. Times are user CPU
and wall seconds, the smaller of three runs; ratios compare rows of one run.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tam_edit.clip import ClipSource, FrameSpan
from tam_edit.media.join import join
from tam_edit.media.planes import blend, untouched, whole
from tam_edit.media.probe import probe
from tam_edit.media.reader import ClipReader
from tam_edit.media.segments import encode_segment
from tam_edit.media.settings import choose
from tests.media.clips import make_clip

Row = tuple[str, float, float, int]


def measure(name: str, frames: int, work: Callable[[], Any], runs: int = 3) -> Row:
    """(name, wall s, CPU s, frames), the smallest of some runs."""
    walls, cpus = [], []
    for _ in range(runs):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return name, min(walls), min(cpus), frames


def rows(clip: ClipSource, span: FrameSpan, folder: Path) -> list[Row]:
    """All measurements on the frames of a span."""
    with ClipReader(clip) as reader:
        held = list(reader.frames(span))
    width, height = clip.size_wh
    patch = np.full((height // 4, width // 4, 3), 128, np.uint8)
    alpha = np.ones(patch.shape[:2], np.float32)
    full = held[0].rgb()
    pixel_format = choose(clip, "r.mkv").pixel_format
    found = [
        measure("probe (decode once, times)", clip.frames, lambda: probe(clip.path, digest="")),
        measure("decode in order", len(span), lambda: decode(clip, span)),
        measure("to upright RGB", len(span), lambda: [picture.rgb() for picture in held]),
        measure(
            "blend a sixteenth of the picture",
            len(span),
            lambda: [blend(picture, patch, alpha, (9, 9), clip, pixel_format) for picture in held],
        ),
        measure("blend all of it", len(span), lambda: [whole(picture, full, clip, pixel_format) for picture in held]),
        measure("copy untouched", len(span), lambda: [untouched(picture, clip, pixel_format) for picture in held]),
    ]
    for wishes in ({"codec": "h264"}, {"lossless": True}, {"codec": "hevc"}, {"codec": "vp9"}):
        settings = choose(clip, "r.mkv", **wishes)  # type: ignore[arg-type]
        frames = [untouched(picture, clip, settings.pixel_format) for picture in held]
        stamps = clip.pts[span.start : span.stop]
        row = measure(
            f"encode {settings.codec}",
            len(span),
            lambda frames=frames, settings=settings, stamps=stamps: encode_segment(frames, settings, clip, stamps),
            runs=1,
        )
        found.append(row)
    settings = choose(clip, folder / "r.mkv")
    blobs = []
    with ClipReader(clip) as reader:
        for chunk in clip.span.chunks(settings.chunk_frames):
            frames = [untouched(picture, clip, settings.pixel_format) for picture in reader.frames(chunk)]
            blobs.append(encode_segment(frames, settings, clip, clip.pts[chunk.start : chunk.stop]))
    found.append(measure("join", clip.frames, lambda: join(blobs, clip, settings, folder / "r.mkv")))
    return found


def decode(clip: ClipSource, span: FrameSpan) -> None:
    with ClipReader(clip) as reader:
        for _ in reader.frames(span):
            pass


def random_access(clip: ClipSource, reads: int = 20) -> tuple[Row, float]:
    """Reads at random places: (row, frames decoded for each)."""
    chosen = random.Random(1)
    places = [chosen.randrange(clip.frames) for _ in range(reads)]
    decoded = 0

    def work() -> None:
        nonlocal decoded
        with ClipReader(clip) as reader:
            for index in places:
                reader.picture(index)
            decoded = reader.decoded

    row = measure("one frame at a random place", reads, work, runs=1)
    return row, decoded / reads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--frames", type=int, default=48)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = asked.clip or make_clip(
            folder / "made.mp4", pts=range(0, 96 * 512, 512), size_wh=(640, 360), gop=24, options={"preset": "veryfast"}
        )
        clip = probe(path, digest="")
        found = rows(clip, FrameSpan(0, min(asked.frames, clip.frames)), folder)
        access, decoded = random_access(clip)
    base = next(row for row in found if row[0].startswith("decode"))
    say = sys.stdout.write
    say(f"{path}: {clip.size_wh[0]}x{clip.size_wh[1]} {clip.pixel_format}, {clip.frames} frames\n\n")
    say("| work | frames/s | CPU ms per frame | CPU, decoding = 1 |\n|---|---:|---:|---:|\n")
    for title, wall, cpu, frames in [*found, access]:
        ratio = (cpu / frames) / (base[2] / base[3])
        say(f"| {title} | {frames / wall:.0f} | {1000 * cpu / frames:.2f} | {ratio:.1f} |\n")
    say(f"\nA read at a random place decodes {decoded:.1f} frames.\n")


if __name__ == "__main__":
    main()
