"""Peak memory of the whole job against the clip's length: `python -m tests.bench.bench_memory [--classic]`.

Each length runs in a process of its own. Simple engines show what the frame around them takes; --classic
takes the real one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

LENGTHS = (200, 2000)
SIZE_WH = (320, 180)


def job(frames: int, classic: bool) -> dict[str, float]:
    """Make a clip, remove a ball from all of it, and say what it took."""
    from tam_edit import Edit
    from tam_edit.pipelines import engines
    from tests import scenes

    scenes.SIZE_WH = SIZE_WH
    if not classic:
        simple = scenes.simple_engines()
        engines.resolve = lambda settings, options: simple
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = scenes.write_clip(folder / "clip.mp4", frames=frames)
        edit = Edit.create(clip, folder / "a.edit")
        edit.mark("ball", mask=scenes.truth(0))
        report = edit.remove(folder / "out.mp4")
    return {"frames": frames, "seconds": report.seconds, "peak_mib": report.peak_rss_bytes / 2**20}


def main() -> None:
    classic = "--classic" in sys.argv
    rows = []
    for frames in LENGTHS:
        command = [sys.executable, "-m", "tests.bench.bench_memory", "--job", str(frames)]
        command += ["--classic"] if classic else []
        rows.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    print("| frames | peak MiB | of the shortest | ms a frame |\n|---:|---:|---:|---:|")
    for row in rows:
        share = row["peak_mib"] / rows[0]["peak_mib"]
        per_frame_ms = 1000 * row["seconds"] / row["frames"]
        print(f"| {row['frames']} | {row['peak_mib']:.0f} | {share:.2f} | {per_frame_ms:.1f} |")


if __name__ == "__main__":
    if "--job" in sys.argv:
        print(json.dumps(job(int(sys.argv[sys.argv.index("--job") + 1]), "--classic" in sys.argv)))
    else:
        main()
