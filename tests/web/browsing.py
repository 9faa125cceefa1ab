"""What the tests in a browser share: tabs whose console is watched, clicks in pixels of the clip, waiting, runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import httpx

from tests.support import ROOT
from tests.web.support import LONGEST_RUN_S, PATIENCE_MS, Page

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

PICTURES = ROOT / "ci-artifacts" / "page"


class Watched:
    """Opens tabs and notes whatever a person would see in the console; the test fails when there is any."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.complaints: list[str] = []
        self._forgiven: list[str] = []
        self.asked: list[str] = []

    def tab(self, url: str, **options: Any) -> Tab:
        options.setdefault("viewport", {"width": 1366, "height": 820})
        tab = self.browser.new_context(**options).new_page()
        return self.watch(tab, url)

    def forgive(self, *words: str) -> None:
        """Complaints with these words belong to the test, whenever they come: some are noted late."""
        self._forgiven += words

    def unforgiven(self) -> list[str]:
        return [one for one in self.complaints if not any(words in one for words in self._forgiven)]

    def close(self) -> None:
        if self.browser.is_connected():
            for context in self.browser.contexts:
                context.close()

    def picture_all(self, name: str) -> None:
        """What a test that failed left on the screen, for whoever looks for its cause."""
        from playwright.sync_api import Error

        contexts = self.browser.contexts if self.browser.is_connected() else []
        for number, tab in enumerate(tab for context in contexts for tab in context.pages):
            with contextlib.suppress(Error):
                picture_of(tab, f"{name}-{number}")

    def watch(self, tab: Tab, url: str) -> Tab:
        tab.set_default_timeout(PATIENCE_MS)

        def heard(message: Any) -> None:
            # The tests themselves read pixels back, and Chromium has advice about that.
            if message.type in ("error", "warning") and "willReadFrequently" not in message.text:
                self.complaints.append(f"{message.text} {message.location}")

        tab.on("console", heard)
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("request", lambda request: self.asked.append(request.url))
        tab.goto(url)
        return tab


def picture_of(tab: Tab, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    tab.screenshot(path=str(PICTURES / f"{name}.png"))


def shown(tab: Tab, frame: int) -> None:
    tab.wait_for_selector(f"#stage[data-shown='{frame}']")


def click(tab: Tab, x: float, y: float, **options: Any) -> None:
    """Click a pixel of the clip."""
    tab.mouse.click(*spot(tab, x, y), **options)


def spot(tab: Tab, x: float, y: float) -> tuple[float, float]:
    """Where a pixel of the clip lies on the screen."""
    box = tab.locator("#stage").bounding_box()
    assert box is not None
    left, top, wide, high = map(float, str(tab.get_attribute("#stage", "data-view")).split())
    return box["x"] + left + (x + 0.5) * wide, box["y"] + top + (y + 0.5) * high


def colours(tab: Tab, canvas: str, places: list[tuple[float, float]]) -> list[list[int]]:
    """What is drawn on a canvas at places of the screen, as RGB."""
    found = tab.evaluate(
        """([id, places]) => {
        const canvas = document.getElementById(id), box = canvas.getBoundingClientRect(), k = canvas.width / box.width;
        const seen = (x, y) => canvas.getContext('2d').getImageData((x - box.x) * k, (y - box.y) * k, 1, 1).data;
        return places.map(([x, y]) => [...seen(x, y)].slice(0, 3));
        }""",
        [canvas, places],
    )
    return [[int(value) for value in one] for one in found]


def pixels(tab: Tab, places: list[tuple[float, float]]) -> list[list[int]]:
    """The colours on the screen at pixels of the clip."""
    return colours(tab, "stage", [spot(tab, *place) for place in places])


def drag(tab: Tab, places: list[tuple[float, float]], button: Literal["left", "right"] = "left") -> None:
    """Draw from pixel to pixel of the clip."""
    tab.mouse.move(*spot(tab, *places[0]))
    tab.mouse.down(button=button)
    for x, y in places[1:]:
        tab.mouse.move(*spot(tab, x, y), steps=4)
    tab.mouse.up(button=button)


def area(tab: Tab) -> int:
    return int(tab.get_attribute("#stage", "data-area") or 0)


def until(holds: Callable[[], Any], what: str, patience_s: float = PATIENCE_MS / 1000) -> Any:
    """Wait for a slow machine too."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.05)
    raise AssertionError(f"never happened: {what}")


def track(page: Page) -> Any:
    return httpx.get(f"{page.url}/api/track", timeout=60).json()


def run(tab: Tab, name: str) -> None:
    """Press a button of the work panel, agree to the plan if it asks, and wait for the end."""
    place = "/".join(tab.url.split("/")[:3])
    former = httpx.get(f"{place}/api/state", timeout=60).json()["job"]
    number = former["number"] if former else 0

    tab.get_by_role("button", name=name, exact=True).first.click()

    def begun() -> bool:
        start = tab.locator("#plan").get_by_role("button", name="Start")
        if start.count():
            start.click()
        job = httpx.get(f"{place}/api/state", timeout=60).json()["job"]
        return bool(job and job["number"] > number and job["status"] not in ("running", "stopping"))

    until(begun, f"{name} ends", LONGEST_RUN_S)
    tab.wait_for_selector("#status.good")


def state(page: Page) -> Any:
    return httpx.get(f"{page.url}/api/state", timeout=60).json()
