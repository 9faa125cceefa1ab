"""Large, long and odd clips: `python -m tests.bench.bench_large [--full]` tells peak memory and seconds a frame.

Each row is a process of its own, which removes moving squares from a generated clip. The long clip has 3,000 frames
(30,000 with --full) beside one of a tenth: memory must not grow with the length. It is done with engines that cost
next to nothing, since what is asked is what everything around them keeps; the others with the classic engine. With
--full there are more frames in 4K than such a bound has room for, with 2 GB and with the usual 8 GB.
--only TEXT runs the rows with this in their title.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONG, LONG_FULL = 3_000, 30_000
LARGE_FULL = 30
TURNED = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)


@dataclass(frozen=True)
class Case:
    """One clip: its coded size, how many squares move in it, and which engines remove them."""

    title: str
    size_wh: tuple[int, int]
    frames: int
    rate: int = 25
    objects: int = 1
    turned: bool = False
    engines: str = "classic"
    memory_gb: int = 8


def cases(full: bool) -> list[Case]:
    long = LONG_FULL if full else LONG
    return [
        Case(f"{long // 10:,} frames", (320, 180), long // 10, engines="still"),
        Case(f"{long:,} frames", (320, 180), long, engines="still"),
        Case("4K", (3840, 2160), 6),
        Case("4K, twice as long", (3840, 2160), 12),
        Case("4K, --memory 2GB", (3840, 2160), 110 if full else 12, memory_gb=2),
        *([Case("4K, as long", (3840, 2160), LARGE_FULL)] if full else []),
        Case("phone, upright by its rotation", (1920, 1080), 12, rate=30, turned=True),
        Case("120 frames a second", (640, 360), 120, rate=120),
        Case("one frame", (640, 360), 1),
        Case("50 objects", (640, 360), 12, objects=50),
    ]


def squares(case: Case, frame: int) -> Iterator[tuple[int, int, int, int]]:
    """Where each object is on a coded frame: x, y, width, height."""
    columns = min(case.objects, 10)
    rows = -(-case.objects // columns)
    cell_wh = case.size_wh[0] // columns, case.size_wh[1] // rows
    side = max(min(cell_wh) // (3 if case.objects > 1 else 6), 4)
    travel = frame % max(min(cell_wh) - side - 4, 1)
    for number in range(case.objects):
        yield number % columns * cell_wh[0] + 2 + travel, number // columns * cell_wh[1] + 2 + travel // 2, side, side


def write(case: Case, path: Path) -> Path:
    """Encode the clip; frame by frame, so that any length can be made."""
    import av
    import cv2

    width, height = case.size_wh
    noise = np.random.default_rng(1).uniform(60, 190, (12, 22)).astype(np.float32)
    large = cv2.resize(noise, (width + 16, height), interpolation=cv2.INTER_CUBIC).clip(20, 230).astype(np.uint8)
    colours = np.random.default_rng(2).integers(0, 255, (case.objects, 3))
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=case.rate, options={"crf": "12", "preset": "ultrafast"})
        stream.width, stream.height = case.size_wh
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, case.rate)
        if case.turned:
            stream.set_display_matrix(TURNED)
        for index in range(case.frames):
            shift = abs(16 - index // 4 % 32)
            rgb = np.repeat(large[:, shift : shift + width, None], 3, axis=2)
            for (x, y, wide, high), colour in zip(squares(case, index), colours, strict=True):
                rgb[y : y + high, x : x + wide] = colour
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts = index
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def masks(case: Case, size_wh: tuple[int, int]) -> Iterator[NDArray[np.bool_]]:
    """The objects' masks on the first frame, upright."""
    for x, y, wide, high in squares(case, 0):
        coded = np.zeros((case.size_wh[1], case.size_wh[0]), dtype=bool)
        coded[y : y + high, x : x + wide] = True
        turned = (coded, np.rot90(coded), np.rot90(coded, 3))
        yield next(mask for mask in (turned[2:] if case.turned else turned) if mask.shape == size_wh[::-1])


def job(case: Case, folder: Path) -> dict[str, Any]:
    """Remove everything from a clip that is there, and say what it took."""
    from tam_edit import Edit
    from tam_edit.pipelines import engines
    from tam_edit.workbench import Surroundings
    from tests import scenes

    if case.engines == "still":
        still = scenes.still_engines()
        engines.resolve = lambda settings, options: still
    around = Surroundings(memory_bytes=case.memory_gb * 10**9)
    edit = Edit.create(folder / "clip.mp4", folder / "a.edit", surroundings=around)
    edit.override(segmenter="classic", tracker="classic", inpainter="classic")
    for number, mask in enumerate(masks(case, edit.source().size_wh)):
        edit.mark(f"square {number}", mask=mask)
    began, cpu = time.perf_counter(), time.process_time()
    report = edit.remove(folder / "out.mp4")
    told = {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    frames = Edit.create(folder / "out.mp4", folder / "b.edit").source().frames
    if frames != case.frames or report.exit:
        raise AssertionError(f"{frames} frames of {case.frames} came out")
    return told


def main() -> None:
    print("| clip | size | frames | objects | engines | `--memory` | peak MiB | s a frame | CPU s a frame |")
    print("|---|---|---:|---:|---|---:|---:|---:|---:|", flush=True)
    only = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else ""
    for case in cases("--full" in sys.argv):
        if only not in case.title:
            continue
        with tempfile.TemporaryDirectory() as name:
            write(case, Path(name) / "clip.mp4")
            command = [sys.executable, "-m", "tests.bench.bench_large", "--job", json.dumps(asdict(case)), name]
            told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        row = json.loads(told.splitlines()[-1])
        size = "x".join(map(str, case.size_wh[::-1] if case.turned else case.size_wh))
        speed = f"{row['seconds'] / case.frames:.3f} | {row['cpu'] / case.frames:.3f}"
        facts = f"{size} | {case.frames:,} | {case.objects} | {case.engines} | {case.memory_gb} GB"
        print(f"| {case.title} | {facts} | {row['peak_mib']:.0f} | {speed} |", flush=True)


if __name__ == "__main__":
    if "--job" in sys.argv:
        at = sys.argv.index("--job")
        given = json.loads(sys.argv[at + 1])
        print(json.dumps(job(Case(**{**given, "size_wh": tuple(given["size_wh"])}), Path(sys.argv[at + 2]))))
    else:
        main()
