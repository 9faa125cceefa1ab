"""A page's server in a thread, short real clips, and a browser: what the tests of the page share."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import uvicorn

from tam_edit.session import Edit
from tam_edit.web.app import build
from tam_edit.web.guard import Access
from tam_edit.web.serve import bound
from tam_edit.web.studio import Studio, StudioOptions
from tests.support import FOOTAGE

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--no-first-run",
    "--host-resolver-rules=MAP evil.example 127.0.0.1",  # a name whose owner points it here
]
# A browser that hangs fails its test after so long, rather than starving the machine.
LONGEST_TEST_S = 240.0
# Where browsers test, others may be building: a slow machine is no failure.
PATIENCE_MS = 60_000
LONGEST_RUN_S = 180.0


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
    config = uvicorn.Config(
        build(studio, access), log_level="error", lifespan="off", ws="none", http="h11", timeout_graceful_shutdown=3
    )
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


class Browsers:
    """One Chromium for many tests, begun anew after it was ended; its processes are known by a mark of ours."""

    def __init__(self, playwright: Any) -> None:
        self._playwright = playwright
        self._mark = f"--tam-edit-test={secrets.token_hex(8)}"
        self._browser: Browser | None = None

    def browser(self) -> Browser:
        if self._browser is None or not self._browser.is_connected():
            self._browser = self._playwright.chromium.launch(
                executable_path=CHROMIUM, args=[*CHROMIUM_ARGUMENTS, self._mark]
            )
        return self._browser

    def close(self) -> None:
        if self._browser is not None and self._browser.is_connected():
            self._browser.close()

    @contextlib.contextmanager
    def limited(self, seconds: float = LONGEST_TEST_S) -> Iterator[None]:
        """End the browser when this takes longer: whatever waits for it then fails."""
        ended = threading.Event()

        def end() -> None:
            ended.set()
            for process in self._processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if ended.is_set():
                pytest.fail(f"the browser was ended: the test took longer than {seconds:g} s")

    def _processes(self) -> list[int]:
        found = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and self._mark.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found
