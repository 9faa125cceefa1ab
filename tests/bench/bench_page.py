"""What the page costs: a click from request to mask beside the segmenter's own time, pictures while scrubbing, opening.

python -m tests.bench.bench_page [--clicks 6] [--frames 120]
Needs the shared footage, and for opening Debian's Chromium. The server runs in this process (for opening in one of its
own); wall time is the client's, CPU time the whole process's.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
from PIL import Image

from tam_edit.models import classic
from tam_edit.models.classic import segmentation
from tests.support import FOOTAGE
from tests.web.support import CHROMIUM, CHROMIUM_ARGUMENTS, Page, classic_project, served

OWN = {"X-Tam-Edit": "1"}
FIRST = "#stage[data-shown='0']"
SEQUENCE = FOOTAGE / "davis" / "JPEGImages" / "480p" / "blackswan"


def video(path: Path, size_wh: tuple[int, int], frames: int) -> Path:
    """Real pictures at a size, to and fro, as people's clips are: H.264 with a sync frame a second."""
    files = sorted(SEQUENCE.iterdir())
    order = [*range(len(files)), *range(len(files) - 2, 0, -1)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "18", "g": "24", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *size_wh, "yuv420p"
        for index in range(frames):
            with Image.open(files[order[index % len(order)]]) as picture:
                rgb = np.asarray(picture.convert("RGB").resize(size_wh))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall and CPU seconds, and what came of it."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return time.perf_counter() - wall, time.process_time() - cpu, found


def clicks(page: Page, client: httpx.Client, count: int) -> None:
    """Clicks on several frames that were rested on before, as a person does; then the same again, its answer kept."""
    rows: dict[str, list[tuple[float, float]]] = {}

    def note(name: str, wall: float, cpu: float) -> None:
        rows.setdefault(name, []).append((wall, cpu))

    def post(path: str, **values: Any) -> Any:
        answer = client.post(path, json=values, headers=OWN)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    desk = page.studio.open_desk
    for index in range(count):
        frame = 3 * index
        with desk.edit.pictures() as context:
            rgb, after = context.rgb(frame), context.rgb(frame + 1)
        segmentation._seen.clear()
        points = [[370 + index, 270]]
        wall, cpu, _ = timed(
            lambda rgb=rgb, after=after, points=points: classic.candidates(rgb, points, next_frame=after)
        )
        note("the segmenter alone", wall, cpu)
        segmentation._seen.clear()
        post("/api/rest", frame=frame)  # as the page does when nobody moves on

        def click(points: Any = points, frame: int = frame) -> Any:
            answer = post("/api/say", object="swan", frame=frame, points=points)
            return client.get(f"/map/{frame}/{answer['map']}.png").content

        wall, cpu, _ = timed(click)
        note("a click: request to mask", wall, cpu)
        post("/api/undo")
        wall, cpu, _ = timed(click)  # the segmenter's answer is kept: what remains is the page's own
        note("the same, its answer kept", wall, cpu)
        post("/api/undo")
        time.sleep(0.3)
    table(rows, "the segmenter alone")


def scrub(page: Page, client: httpx.Client, frames: int, width_px: int) -> None:
    """All frames of a 720p clip once through the picture route, as the page asks while scrubbing or playing."""
    digest = client.get("/api/state").json()["project"]["digest"]
    desk = page.studio.open_desk
    while desk.strip.done < frames:  # it has its own thread, and would be measured too
        time.sleep(0.1)

    def fetch(frame: int) -> int:
        return len(client.get(f"/frame/{digest}/{frame}.jpg?w={width_px}").raise_for_status().content)

    def ahead(order: list[int]) -> None:
        with ThreadPoolExecutor(6) as pool:  # as many as a browser opens
            list(pool.map(fetch, order))

    def decoded() -> None:
        from tam_edit.media.reader import ClipReader

        with ClipReader(desk.source) as reader:
            for frame in range(frames):
                reader.picture(frame).rgb()

    def strip() -> None:
        for frame in range(frames):
            client.get(f"/strip/{digest}/{frame}.jpg").raise_for_status()

    rows: dict[str, list[tuple[float, float]]] = {}
    forward, backward = list(range(frames)), list(range(frames))[::-1]
    jumps = [int(frame) for frame in np.random.default_rng(0).permutation(frames)][:40]
    for name, work, count in (
        ("decoding alone", decoded, frames),
        ("forward, six at a time", lambda: ahead(forward), frames),
        ("the same again (kept)", lambda: ahead(forward), frames),
        ("backward", lambda: ahead(backward), frames),
        ("jumps", lambda: ahead(jumps), len(jumps)),
        ("film strip, one at a time", strip, frames),
    ):
        if name in ("backward", "jumps"):
            desk.pictures.forget()
        wall, cpu, _ = timed(work)
        rows[name] = [(wall / count, cpu / count)]
    table(rows, "decoding alone", frames_a_second=True)


def opening(folder: Path, frames: int) -> None:
    """Until a 720p project's first picture is seen in Chromium: from the command on, and from the address on."""
    from playwright.sync_api import sync_playwright

    place = folder / "clip.edit"
    classic_project(video(folder / "clip.mp4", (1280, 720), frames), place)
    rows: dict[str, list[float]] = {}
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        for _ in range(3):
            began = time.perf_counter()
            words = [sys.executable, "-m", "tam_edit", "ui", str(place), "--no-browser", "--port", "0"]
            with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
                said = "" if server.stdout is None else server.stdout.readline()
                rows.setdefault("command to address", []).append(time.perf_counter() - began)
                address = said.split("the page: ")[1].split()[0]
                tab = browser.new_context().new_page()
                tab.goto(address)
                tab.wait_for_selector(FIRST)
                rows.setdefault("command to first picture", []).append(time.perf_counter() - began)
                fresh = browser.new_context().new_page()
                loads = {"page to first picture": partial(fresh.goto, address), "reloaded": fresh.reload}
                for name, load in loads.items():
                    began = time.perf_counter()
                    load()
                    fresh.wait_for_selector(FIRST)
                    rows.setdefault(name, []).append(time.perf_counter() - began)
                server.terminate()
        browser.close()
    print("| opening, 1280x720 | ms |")
    print("|---|---|")
    for name, seconds in rows.items():
        print(f"| {name} | {1000 * min(seconds):.0f} |")


def table(rows: dict[str, list[tuple[float, float]]], unit: str, frames_a_second: bool = False) -> None:
    least = {name: (min(one[0] for one in found), min(one[1] for one in found)) for name, found in rows.items()}
    last = " frames a second |" if frames_a_second else ""
    print(f"| | ms | CPU ms | CPU, {unit} = 1 |{last}")
    print("|---|---|---|---|" + ("---|" if frames_a_second else ""))
    for name, (wall, cpu) in least.items():
        rate = f" {1 / wall:.0f} |" if frames_a_second else ""
        print(f"| {name} | {1000 * wall:.0f} | {1000 * cpu:.0f} | {cpu / least[unit][1]:.2f} |{rate}")


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--clicks", type=int, default=6)
    reader.add_argument("--frames", type=int, default=120)
    given = reader.parse_args()
    if not SEQUENCE.is_dir():
        print(f"{SEQUENCE} is missing: the shared footage is needed", file=sys.stderr)
        return 1
    for size_wh, measure in (
        ((854, 480), lambda page, client: clicks(page, client, given.clicks)),
        ((1280, 720), lambda page, client: scrub(page, client, given.frames, 1280)),
        ((1280, 720), lambda page, client: scrub(page, client, given.frames, 960)),
    ):
        with (
            tempfile.TemporaryDirectory() as place,
            served(Path(place)) as page,
            httpx.Client(base_url=page.url, timeout=300) as client,
        ):
            clip = video(Path(place) / "clip.mp4", size_wh, given.frames if size_wh[1] > 480 else 60)
            page.studio.adopt(classic_project(clip, Path(place) / "clip.edit"))
            print(f"\n{size_wh[0]}x{size_wh[1]}\n")
            measure(page, client)
    if Path(CHROMIUM).exists():
        with tempfile.TemporaryDirectory() as folder:
            print()
            opening(Path(folder), given.frames)
    else:
        print(f"{CHROMIUM} is missing: opening was not measured", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
