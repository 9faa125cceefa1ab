"""What a batch costs a clip, and what it adds: `python -m tests.bench.bench_batch [--frames N] [--scale S]`.

The demo's passer-by, from real footage that installs with the package, removed by the classic engine: seconds and CPU
seconds a frame by stage, bytes on disk, several workers against one, and looking through what is finished already.
docs/scale.md builds on these figures.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av

from tam_edit import Edit
from tam_edit.batch.jobs import Job
from tam_edit.batch.running import Batch, Plan, run_here
from tam_edit.cli.demo import MARKED_FRAME, MARKED_NOT, MARKED_POINTS, demo_clip

FIRST = 180


def cut_clip(path: Path, frames: int, scale: float) -> tuple[int, int]:
    """Frames from the passer-by's shot as a clip of its own; returns its size."""
    with av.open(str(demo_clip())) as source, av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "18"})
        for index, frame in enumerate(source.decode(video=0)):
            if index < FIRST:
                continue
            if index >= FIRST + frames:
                break
            size = round(frame.width * scale / 2) * 2, round(frame.height * scale / 2) * 2
            if index == FIRST:
                stream.width, stream.height = size
                stream.pix_fmt = "yuv420p"
            small = frame.reformat(*size, format="yuv420p")
            small.pts, small.time_base = index - FIRST, Fraction(1, 25)
            output.mux(stream.encode(small))
        output.mux(stream.encode(None))
    return size


def project(folder: Path, clip: Path, name: str, scale: float) -> Job:
    edit = Edit.create(clip, folder / f"{name}.edit")
    edit.override(segmenter="classic")
    points = [[(x * scale, y * scale) for x, y in side] for side in (MARKED_POINTS, MARKED_NOT)]
    edit.mark("passer-by", MARKED_FRAME - FIRST, points[0], points[1])
    return Job(1, name, 1, "remove", str(folder / f"{name}.mp4"), str(folder / f"{name}.edit"))


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def batch_of(jobs: list[Job], workers: int) -> tuple[Batch, float, float]:
    """The batch, its wall seconds and the CPU seconds of its processes."""
    numbered = [Job(**{**vars(job), "number": number}) for number, job in enumerate(jobs, start=1)]
    batch = Batch(numbered, Plan(workers=workers))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    run_here(batch)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return batch, wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--copies", type=int, default=4)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        width, height = cut_clip(folder / "clip.mp4", given.frames, given.scale)
        rows: list[tuple[int, float, float]] = []
        for workers in (1, 2):
            jobs = [
                project(folder, folder / "clip.mp4", f"{workers}-{copy}", given.scale) for copy in range(given.copies)
            ]
            batch, wall, cpu = batch_of(jobs, workers)
            if batch.exit_status != 0:
                raise SystemExit(str(batch.to_json()))
            rows.append((workers, wall, cpu))
        frames = given.frames * given.copies
        print(f"{given.copies} clips of {given.frames} frames of {width}x{height}, classic engine\n")
        print("| workers | wall s a frame | CPU s a frame | wall against one worker |\n|---:|---:|---:|---:|")
        for workers, wall, cpu in rows:
            print(f"| {workers} | {wall / frames:.3f} | {cpu / frames:.3f} | {wall / rows[0][1]:.2f} |")
        print("\n| stage (2 workers) | s a frame |\n|---|---:|")
        stages = [stage for job in batch.to_json()["jobs"] for stage in job["stages"]]
        for stage in dict.fromkeys(item["name"] for item in stages):
            mine = [item for item in stages if item["name"] == stage]
            run = sum(item["frames_run"] for item in mine)
            if run:
                print(f"| {stage} | {sum(item['seconds'] for item in mine) / run:.3f} |")
        kept = bytes_of(Path(jobs[0].project)) / given.frames
        written = Path(jobs[0].output).stat().st_size / given.frames
        print(f"\ncache {kept / 1000:.1f} kB a frame, output {written / 1000:.1f} kB a frame")
        files = sum(path.is_file() for path in Path(jobs[0].project).rglob("*"))
        print(f"{files} files for each clip")
        for kind in ("keys", "blobs"):
            sizes = [path.stat().st_size for path in Path(jobs[0].project).rglob(f"{kind}/*/*")]
            print(f"of these {len(sizes)} {kind} with {sum(sizes) / given.frames / 1000:.1f} kB a frame")
        peak = batch.to_json()["peak_rss_bytes"]
        began = time.perf_counter()
        Batch([Job(**{**vars(job), "number": number}) for number, job in enumerate(jobs * 50)], Plan()).sort_out()
        looked = (time.perf_counter() - began) / (len(jobs) * 50)
        print(f"peak {peak / 2**20:.0f} MiB a worker; {1000 * looked:.1f} ms to see that a job is finished")


def walk(frames: int = 1500) -> None:
    """What knowing a finished clip of a minute costs, whoever made it: simple engines serve."""
    from tam_edit.batch.orders import carry_out
    from tam_edit.batch.shares import Order
    from tam_edit.batch.work import Hands
    from tam_edit.pipelines import engines
    from tests import scenes

    simple = scenes.still_engines()
    engines.resolve = lambda settings, options: simple
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        edit = Edit.create(scenes.write_clip(folder / "a.mp4", frames=frames), folder / "a.edit")
        edit.mark("ball", mask=scenes.truth(0))
        job = Job(1, "a", 1, "remove", str(folder / "out.mp4"), str(folder / "a.edit"))
        outcome = Hands(8 << 30).run(job)
        if outcome.status != "done":
            raise SystemExit(outcome.error)
        began = time.process_time()
        carry_out(Hands(8 << 30), Order("survey", job))
        took = time.process_time() - began
        files = sum(path.is_file() for path in (folder / "a.edit").rglob("*"))
    print(f"a clip of {frames} frames: {took:.2f} CPU s to go through its plan, {files} files")


if __name__ == "__main__":
    main()
    walk()
