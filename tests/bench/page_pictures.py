"""The pictures of docs/page.md: the page at work, comparing, in the light theme with scribbles, on a phone.

python -m tests.bench.page_pictures [FOLDER]
Needs the shared footage and Debian's Chromium.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tests.bench.bench_page import SEQUENCE, video
from tests.support import ROOT
from tests.web.browsing import Watched, area, drag, run, shown, state, track, until
from tests.web.support import CHROMIUM, Browsers, Page, classic_project, served

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

SIZE_WH, FRAMES = (640, 360), 24
ALONG: list[list[tuple[float, float]]] = [
    [(322, 68), (333, 130), (352, 200), (360, 240)],
    [(150, 225), (230, 240), (340, 255)],
]
BESIDE: list[list[tuple[float, float]]] = [
    [(150, 130), (230, 100), (298, 110)],
    [(372, 70), (372, 130), (400, 210)],
    [(150, 320), (240, 320), (340, 290)],
]


def keep(tab: Tab, path: Path) -> None:
    with Image.open(io.BytesIO(tab.screenshot())) as picture:
        # Of a palette it is half as large; this way to choose one keeps rare colours, and large areas exact.
        picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=4).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1000} kB")


def at_work(tab: Tab, page: Page, path: Path) -> None:
    """An object is marked by scribbles and named; its removal is at work."""
    shown(tab, 0)
    tab.locator("[data-tool=scribble]").click()
    for button, lines in (("left", ALONG), ("right", BESIDE)):
        for line in lines:
            drag(tab, line, "left" if button == "left" else "right")
    until(lambda: area(tab) > 1000 and _lines(page) == 5, "the mask")
    tab.once("dialog", lambda dialog: dialog.accept("swan"))
    tab.get_by_role("button", name="Rename").click()
    until(lambda: [one["name"] for one in state(page)["objects"]] == ["swan"], "the name")
    run(tab, "Track")
    tab.fill("#number", "9")
    tab.keyboard.press("Enter")
    shown(tab, 9)
    tab.get_by_role("button", name="Remove", exact=True).click()
    tab.locator("#plan").get_by_role("button", name="Start").click()
    tab.mouse.move(5, 5)
    tab.locator("#job").get_by_text("left").wait_for()
    tab.evaluate("for (const one of document.querySelectorAll('.toast')) one.remove()")
    keep(tab, path)
    tab.wait_for_selector("#status.good")
    tab.locator(".toast").first.wait_for(state="detached")


def comparing(tab: Tab, path: Path) -> None:
    tab.get_by_role("button", name="Compare removed-001.mp4 with the source").click()
    shown(tab, 9)
    tab.get_by_role("slider", name="Where source and result meet").fill("480")
    tab.wait_for_timeout(500)
    keep(tab, path)
    tab.locator("#stage").focus()
    tab.keyboard.press("Escape")


def light(tab: Tab, page: Page, path: Path) -> None:
    """The scribbles in the light theme, and a stretch that something said later put out of date."""
    tab.get_by_role("button", name="Light").click()
    tab.keyboard.press("End")
    shown(tab, FRAMES - 1)
    tab.keyboard.press("a")
    until(lambda: "1" in track(page)["states"], "out of date")
    tab.keyboard.press("Home")
    shown(tab, 0)
    tab.select_option("#overlay", "outline")
    tab.wait_for_timeout(1500)
    keep(tab, path)


def _lines(page: Page) -> int:
    return sum(len(one["scribbles"] + one["negative_scribbles"]) for one in state(page)["objects"][0]["prompts"])


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "img"
    if not SEQUENCE.is_dir() or not Path(CHROMIUM).exists():
        print(f"{SEQUENCE} and {CHROMIUM} are needed", file=sys.stderr)
        return 1
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as place, sync_playwright() as started, served(Path(place)) as page:
        clip = video(Path(place) / "swan.mp4", SIZE_WH, FRAMES)
        page.studio.adopt(classic_project(clip, Path(place) / "swan.edit"))
        browsers = Browsers(started)
        watched = Watched(browsers.browser())
        tab = watched.tab(page.url)
        at_work(tab, page, folder / "page-work.png")
        comparing(tab, folder / "page-compare.png")
        light(tab, page, folder / "page-light.png")
        phone = watched.tab(page.url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
        shown(phone, 0)
        phone.get_by_role("button", name="Frame on").tap()
        phone.wait_for_timeout(1000)
        keep(phone, folder / "page-phone.png")
        watched.close()
        browsers.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
