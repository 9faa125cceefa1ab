"""A page's server in a thread, short real clips, and a browser: what the tests of the page share."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import uvicorn

from tam_edit.session import Edit
from tam_edit.web.app import build
from tam_edit.web.guard import Access
from tam_edit.web.serve import bound
from tam_edit.web.studio import Studio, StudioOptions
from tests.support import FOOTAGE

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--no-first-run",
]
# Where browsers test, others may be building: a slow machine is no failure.
PATIENCE_MS = 90_000


@dataclass
class Page:
    """A running server and what it serves."""

    studio: Studio
    access: Access
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.access.port}"


@contextlib.contextmanager
def served(folder: Path, *, token: str | None = None, upload_limit_bytes: int = 10**9) -> Iterator[Page]:
    """A server on a free port, stopped at the end."""
    listening = bound("127.0.0.1", 0)
    access = Access("127.0.0.1", int(listening.getsockname()[1]), token)
    studio = Studio(StudioOptions(folder, upload_limit_bytes))
    config = uvicorn.Config(build(studio, access), log_level="error", lifespan="off", ws="none", http="h11")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield Page(studio, access, folder)
    finally:
        server.should_exit = True
        thread.join()
        studio.close()
        listening.close()


def drawn_clip(path: Path, frames: int = 12, size_wh: tuple[int, int] = (160, 120)) -> Path:
    """A red disc that moves over a grey slope, as lossless Matroska: for tests that need no real picture."""
    import av

    width, height = size_wh
    rows, columns = np.mgrid[:height, :width]
    slope = (60 + columns * 0.5 + rows * 0.3).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        for index in range(frames):
            rgb = np.repeat(slope[..., None], 3, axis=2)
            disc = (columns - 40 - 4 * index) ** 2 + (rows - 60) ** 2 < 20**2
            rgb[disc] = (200, 30, 30)
            for packet in stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


def real_clip(path: Path, frames: int = 10, size_wh: tuple[int, int] = (320, 180)) -> Path:
    """The first frames of a real sequence (DAVIS, blackswan), made small, as H.264 with a keyframe every five."""
    import av
    from PIL import Image

    folder = FOOTAGE / "davis" / "JPEGImages" / "480p" / "blackswan"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "16", "g": "5"})
        stream.width, stream.height, stream.pix_fmt = *size_wh, "yuv420p"
        for file in sorted(folder.iterdir())[:frames]:
            with Image.open(file) as picture:
                rgb = np.asarray(picture.convert("RGB").resize(size_wh))
            for packet in stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


def classic_project(clip: Path, folder: Path) -> Edit:
    """A project that uses the engines without weights, whatever is installed."""
    from tam_edit.settings import Settings

    return Edit.create(clip, folder, settings=Settings("classic", "classic", "classic"))


def needs_browser() -> None:
    """Skip aloud without Chromium or Playwright."""
    pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install playwright")
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium is missing: apt-get install chromium")
