"""The page in a real browser: from an uploaded clip to the downloaded video, two tabs, reloads, keys, a phone."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import httpx
import numpy as np
import pytest

from tests.support import ROOT, needs_footage
from tests.web.support import (
    PATIENCE_MS,
    Browsers,
    Page,
    classic_project,
    drawn_clip,
    needs_browser,
    real_clip,
    served,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.browser
PICTURES = ROOT / "ci-artifacts" / "page"


@pytest.fixture(scope="module")
def browsers() -> Iterator[Browsers]:
    needs_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        found = Browsers(started)
        yield found
        found.close()


@pytest.fixture
def browser(browsers: Browsers) -> Iterator[Browser]:
    with browsers.limited():
        yield browsers.browser()


class Watched:
    """Opens tabs and notes whatever a person would see in the console; the test fails when there is any."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.complaints: list[str] = []
        self.asked: list[str] = []

    def tab(self, url: str, **options: Any) -> Tab:
        options.setdefault("viewport", {"width": 1366, "height": 820})
        tab = self.browser.new_context(**options).new_page()
        return self.watch(tab, url)

    def close(self) -> None:
        if self.browser.is_connected():
            for context in self.browser.contexts:
                context.close()

    def watch(self, tab: Tab, url: str) -> Tab:
        tab.set_default_timeout(PATIENCE_MS)

        def heard(message: Any) -> None:
            if message.type in ("error", "warning"):
                self.complaints.append(f"{message.text} {message.location}")

        tab.on("console", heard)
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("request", lambda request: self.asked.append(request.url))
        tab.goto(url)
        return tab


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    found = Watched(browser)
    yield found
    found.close()
    assert found.complaints == []


@pytest.fixture
def drawn(watched: Watched, tmp_path: Path) -> Iterator[Page]:
    """A server with a small drawn clip open; its tabs are closed before it, or they would miss it aloud."""
    with served(tmp_path) as page:
        page.studio.adopt(classic_project(drawn_clip(tmp_path / "disc.mkv"), tmp_path / "disc.edit"))
        yield page
        watched.close()


def picture_of(tab: Tab, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    tab.screenshot(path=str(PICTURES / f"{name}.png"))


def shown(tab: Tab, frame: int) -> None:
    tab.wait_for_selector(f"#stage[data-shown='{frame}']")


def click(tab: Tab, x: float, y: float, **options: Any) -> None:
    """Click a pixel of the clip."""
    left, top, scale = tab.evaluate(
        """() => { const c = document.getElementById('stage').getBoundingClientRect();
        const [w, h] = document.getElementById('title').textContent.match(/(\\d+)×(\\d+)/).slice(1).map(Number);
        const s = Math.min(c.width / w, c.height / h);
        return [c.x + (c.width - w * s) / 2, c.y + (c.height - h * s) / 2, s]; }"""
    )
    tab.mouse.click(left + (x + 0.5) * scale, top + (y + 0.5) * scale, **options)


def area(tab: Tab) -> int:
    return int(tab.get_attribute("#stage", "data-area") or 0)


def until(holds: Callable[[], Any], what: str) -> Any:
    """Wait for a slow machine too."""
    end = time.monotonic() + PATIENCE_MS / 1000
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

    until(begun, f"{name} ends")
    tab.wait_for_selector("#status.good")


@needs_footage
def test_from_upload_to_download(watched: Watched, tmp_path: Path) -> None:
    clip = real_clip(tmp_path / "swan film.mp4")
    place = tmp_path / "server"
    with served(place) as page:
        tab = watched.tab(page.url)
        tab.get_by_text("Drop a video here").wait_for()
        picture_of(tab, "empty")
        tab.set_input_files("#clip", str(clip))
        shown(tab, 0)
        # The classic engines, whatever weights are installed here.
        tab.get_by_text("More options").click()
        for role in ("tracker", "inpainter", "segmenter"):
            tab.select_option(f"select[name={role}]", "classic")
        assert (place / "swan-film.edit" / "edit.json").is_file()

        click(tab, 139, 114)
        until(lambda: area(tab) > 50, "the click's mask is on the screen")
        first = area(tab)
        tab.wait_for_selector("#objects >> text=1 click")
        click(tab, 260, 160, button="right")
        tab.wait_for_selector("#objects >> text=2 clicks")
        picture_of(tab, "click")

        run(tab, "Track")
        until(lambda: track(page)["states"] == "2" * 10, "all is tracked")
        tab.keyboard.press("End")
        shown(tab, 9)
        until(lambda: area(tab) > 50, "the last frame has a mask")
        picture_of(tab, "tracked")

        # The worst frame, corrected with a brush; only what it touches runs again.
        trust = next(iter(track(page)["trust"].values()))
        worst = trust.index(min(trust))
        tab.fill("#number", str(worst))
        tab.keyboard.press("Enter")
        shown(tab, worst)
        before = until(lambda: area(tab), "the worst frame has a mask")
        tab.get_by_role("button", name="Brush").click()
        click(tab, 20, 20)
        until(lambda: area(tab) > before, "the stroke is in the mask")
        tab.wait_for_selector("#objects >> text=painted")
        run(tab, "Remove")
        report = httpx.get(f"{page.url}/api/state").json()["job"]["report"]
        propagated = next(one for one in report["stages"] if one["name"] == "propagate")
        assert "never run before" not in propagated["reasons"][0]
        assert first > 0

        tab.get_by_role("button", name=re.compile("^Compare removed")).click()
        tab.wait_for_selector("#split:not([hidden])")
        tab.get_by_role("slider", name="Where source and result meet").fill("300")
        picture_of(tab, "compare")
        tab.keyboard.press("Escape")
        with tab.expect_download() as waiting:
            tab.locator("#results a").first.click()
        saved = tmp_path / "downloaded.mp4"
        waiting.value.save_as(saved)
        with av.open(str(saved)) as made, av.open(str(clip)) as source:
            new = [frame.to_ndarray(format="rgb24") for frame in made.decode(video=0)]
            old = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
        assert len(new) == len(old) == 10
        # The swan has changed, the far corner of the water has not.
        assert np.abs(new[0][104:120, 125:155].astype(int) - old[0][104:120, 125:155]).mean() > 8
        assert np.abs(new[0][165:, 290:].astype(int) - old[0][165:, 290:]).mean() < 4
        watched.close()
        assert {url.split("/")[2] for url in watched.asked if url.startswith("http")} == {page.url.split("/")[2]}


def test_two_tabs_see_one_project(watched: Watched, drawn: Page) -> None:
    one, two = watched.tab(drawn.url), watched.tab(drawn.url)
    shown(one, 0)
    shown(two, 0)
    click(one, 40, 60)
    until(lambda: area(one) > 50, "the first tab's mask")
    until(lambda: area(two) == area(one), "the second tab's mask")
    two.keyboard.press("Control+z")
    until(lambda: area(one) == 0, "the second tab's undo in the first")
    one.keyboard.press("Control+Shift+z")
    until(lambda: area(two) > 50, "the first tab's redo in the second")


def test_a_reload_in_mid_run_loses_nothing(watched: Watched, drawn: Page) -> None:
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    click(tab, 40, 60)
    until(lambda: area(tab) > 50, "the mask")
    tab.get_by_role("button", name="Track", exact=True).click()
    until(lambda: drawn.studio.jobs.last is not None, "the run begins")
    tab.reload()
    shown(tab, 0)
    tab.wait_for_selector("#status.good")
    until(lambda: area(tab) > 50, "the mask after the reload")
    tab.wait_for_selector("#reused >> text=12 frames run")


def test_a_stopped_run_keeps_what_is_finished(watched: Watched, drawn: Page) -> None:
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    click(tab, 40, 60)
    until(lambda: area(tab) > 50, "the mask")
    run(tab, "Track")

    # Stopped as soon as anything of it has run: what was tracked is reused by the next run.
    from tam_edit.web.jobs import Job

    began: list[str] = []
    former = Job.unit

    def stopping(job: Job, decision: Any) -> None:
        former(job, decision)
        if (decision.stage == "inpaint" and decision.action == "run") or (
            decision.stage == "matte" and decision.action == "run"
        ):
            began.append(decision.stage)
            job.stop.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, "unit", stopping)
        tab.get_by_role("button", name="Remove", exact=True).click()
        until(lambda: stopped(drawn), "the run stops")
    assert began
    tab.wait_for_selector("#status >> text=stopped")
    run(tab, "Remove")
    report = httpx.get(f"{drawn.url}/api/state").json()["job"]["report"]
    stages = {stage["name"]: stage for stage in report["stages"]}
    assert stages["propagate"]["frames_run"] == 0
    assert stages[began[0]]["frames_reused"] > 0


def stopped(page: Page) -> bool:
    last = page.studio.jobs.last
    return last is not None and last.kind == "remove" and last.status == "stopped"


def test_keyboard_only(watched: Watched, drawn: Page) -> None:
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    tab.keyboard.press("ArrowRight")
    shown(tab, 1)
    tab.keyboard.press("End")
    shown(tab, 11)
    tab.keyboard.press("Home")
    shown(tab, 0)
    for _ in range(60):
        if tab.evaluate("document.activeElement.id") == "stage":
            break
        tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "stage"
    for _ in range(20):  # the cross starts in the middle, at 80,60
        tab.keyboard.press("Shift+ArrowLeft")
    tab.keyboard.press("Enter")
    until(lambda: area(tab) > 50, "the mask by the keyboard")
    tab.keyboard.press("e")
    assert tab.get_attribute("[data-tool=eraser]", "aria-pressed") == "true"
    tab.keyboard.press("o")
    assert tab.input_value("#overlay") == "outline"
    tab.keyboard.press("l")
    until(lambda: int(tab.evaluate("document.body.dataset.frame")) > 0, "it plays")
    tab.keyboard.press("k")
    tab.keyboard.press("[")
    shown(tab, 0)
    tab.keyboard.press("?")
    tab.wait_for_selector("#keys[open]")
    tab.keyboard.press("Escape")
    tab.get_by_role("button", name="Track", exact=True).focus()
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#status.good")
    tab.locator("#stage").focus()
    tab.keyboard.press("Delete")
    until(lambda: not httpx.get(f"{drawn.url}/api/state").json()["objects"][0]["prompts"], "the keyframe is deleted")
    tab.keyboard.press("Control+z")
    until(lambda: httpx.get(f"{drawn.url}/api/state").json()["objects"][0]["prompts"], "and comes back")


def test_a_browser_that_hangs_is_ended(browsers: Browsers) -> None:
    began = time.monotonic()
    with pytest.raises(pytest.fail.Exception, match="longer than 3 s"), browsers.limited(3):
        tab = browsers.browser().new_page()
        with pytest.raises(Exception, match=r"closed|crashed"):
            tab.evaluate("() => { for (;;); }")
    assert time.monotonic() - began < PATIENCE_MS / 1000
    assert browsers.browser().is_connected()


def test_every_option_of_the_form(watched: Watched, drawn: Page) -> None:
    """Alter, a list of effects rendered, settings and a colour: said on the page, done by the server."""
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    click(tab, 40, 60)
    until(lambda: area(tab) > 50, "the mask")
    tab.get_by_label("Colour of object 1").fill("#ff00ff")
    until(lambda: state(drawn)["objects"][0]["colour"] == "#ff00ff", "the colour is kept")
    tab.get_by_text("More options").click()
    tab.get_by_label("Shrink, px").fill("1")
    tab.get_by_label("Edge from").select_option("hard")
    tab.get_by_label("still in time").uncheck()
    tab.get_by_label("Refine doubtful masks").select_option("never")

    def kept() -> bool:
        now = state(drawn)["settings"]
        return (now["erode_px"], now["matte"], now["smooth"], now["refine"]) == (1, "hard", False, "never")

    until(kept, "the settings are kept")
    picture_of(tab, "options")
    run(tab, "Refine")
    assert state(drawn)["settings"]["refine"] == "always"
    tab.select_option("select[name=how]", "pixelate")
    run(tab, "Alter")
    tab.locator("#results >> text=altered-001.mp4").first.wait_for()
    tab.get_by_text("Several effects in one pass").click()
    tab.select_option("select[name=grain]", "auto")
    tab.fill("input[name=scale]", "200")
    tab.get_by_role("button", name="Add background").click()
    tab.wait_for_selector(".toast.bad >> text=0.01 to 100")
    refused = [words for words in watched.complaints if "400 (Bad Request)" in words and "/api/effects/add" in words]
    assert len(refused) == 1 and watched.complaints == refused, "the browser itself notes what was refused"
    watched.complaints.clear()
    tab.fill("input[name=scale]", "")
    tab.get_by_role("button", name="Add background").click()
    tab.wait_for_selector("#effects >> text=replace")
    assert state(drawn)["effects"][0]["grain"] == "auto"
    run(tab, "Render")
    tab.locator("#results >> text=rendered-002.mp4").first.wait_for()


def state(page: Page) -> Any:
    return httpx.get(f"{page.url}/api/state", timeout=60).json()


def test_a_phone(watched: Watched, drawn: Page) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
    tab = watched.tab(drawn.url, **phone)
    shown(tab, 0)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = tab.locator("#stage").bounding_box()
    assert box is not None
    assert box["width"] > 380
    tab.get_by_role("button", name="Last frame").tap()
    shown(tab, 11)
    picture_of(tab, "phone")


def test_the_theme_is_kept_and_labels_are_there(watched: Watched, drawn: Page) -> None:
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    assert tab.get_attribute("html", "data-theme") == "dark"
    tab.get_by_role("button", name="Light").click()
    tab.reload()
    shown(tab, 0)
    assert tab.get_attribute("html", "data-theme") == "light"
    picture_of(tab, "light")
    nameless = tab.evaluate(
        """() => [...document.querySelectorAll('button, input, select, canvas, a')].filter((one) =>
        !(one.getAttribute('aria-label') || one.textContent.trim() || (one.labels && one.labels.length) || one.title))
        .map((one) => one.outerHTML)"""
    )
    assert nameless == []


def test_other_sites_cannot_use_it(watched: Watched, drawn: Page, tmp_path: Path) -> None:
    """A page of another origin in the same browser: its requests are refused, its pictures stay empty."""
    with served(tmp_path / "other") as other:
        tab = watched.tab(other.url)  # another port is another origin
        tab.get_by_text("Drop a video here").wait_for()
        watched.complaints.clear()
        answer = tab.request.post(f"{drawn.url}/api/undo", headers={"Origin": other.url, "X-Tam-Edit": "1"}, data="{}")
        assert answer.status == 403
        tab.close()
    asked = httpx.get(f"{drawn.url}/api/state", headers={"Origin": other.url, "Sec-Fetch-Site": "cross-site"})
    assert asked.status_code == 403


def test_errors_are_said_and_a_lost_server_is_noticed(watched: Watched, tmp_path: Path) -> None:
    with served(tmp_path) as page:
        page.studio.adopt(classic_project(drawn_clip(tmp_path / "disc.mkv"), tmp_path / "disc.edit"))
        tab = watched.tab(page.url)
        shown(tab, 0)
        tab.keyboard.press("a")
        tab.wait_for_selector(".toast.bad >> text=Mark the object")
    tab.wait_for_selector("#lost:not([hidden])")
    watched.complaints[:] = [
        words for words in watched.complaints if "ERR_CONNECTION" not in words and "Failed to fetch" not in words
    ]
