"""The page in a real browser: from an uploaded clip to the downloaded video, two tabs, reloads, stops, other sites."""

from __future__ import annotations

import functools
import http.server
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest

from tests.support import needs_footage
from tests.web.browsing import Watched, area, click, picture_of, run, shown, state, track, until
from tests.web.support import PATIENCE_MS, Browsers, Page, classic_project, drawn_clip, real_clip, served

pytestmark = pytest.mark.browser


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
        tab.wait_for_selector(f"#stage[data-result='{worst}']")
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


def test_a_browser_that_hangs_is_ended(browsers: Browsers) -> None:
    began = time.monotonic()
    with pytest.raises(pytest.fail.Exception, match="longer than 3 s"), browsers.limited(3):
        tab = browsers.browser().new_page()
        with pytest.raises(Exception, match=r"closed|crashed"):
            tab.evaluate("() => { for (;;); }")
    assert time.monotonic() - began < PATIENCE_MS / 1000
    assert browsers.browser().is_connected()


FOREIGN = """async (victim) => {
  const loaded = (name, address) => new Promise((done) => {
    const one = document.createElement(name);
    one.onload = () => done(`${name} came`);
    one.onerror = () => done(`${name} refused`);
    one.src = address;
    document.body.append(one);
  });
  const tried = (what) => what.then(() => "came", () => "refused");
  const frame = document.createElement("iframe");
  frame.src = victim;
  document.body.append(frame);
  const post = { method: "POST", body: "{}" };
  return [
    await loaded("img", `${victim}/static/icon.svg`),
    await loaded("script", `${victim}/static/page.js`),
    await tried(fetch(`${victim}/api/state`)),
    await tried(fetch(`${victim}/api/undo`, { ...post, headers: { "X-Tam-Edit": "1" } })),
    await tried(fetch(`${victim}/api/undo`, { ...post, mode: "no-cors" })),
  ];
}"""


def test_other_sites_cannot_use_it(watched: Watched, drawn: Page, tmp_path: Path) -> None:
    """A page of another origin in the same browser: its requests are refused, its pictures stay empty."""
    watched.forgive("")  # Chromium says aloud what is refused
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    click(tab, 40, 60)
    until(lambda: area(tab) > 50, "the mask")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<!doctype html><title>another site</title><body>")
    handler = functools.partial(Quiet, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        other = watched.tab(f"http://127.0.0.1:{site.server_port}/")
        assert other.evaluate(FOREIGN, drawn.url) == ["img refused", "script refused", *["refused"] * 3]
        until(lambda: len(other.frames) == 2 and other.frames[1].url.startswith("chrome-error:"), "no frame of it")
        site.shutdown()
    assert len(state(drawn)["objects"]) == 1, "nothing was undone"
    # The same machine under a name that another site owns (DNS rebinding).
    answer = watched.tab("about:blank").goto(f"http://evil.example:{drawn.access.port}/")
    assert answer is not None and answer.status == 421


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Another site, which writes no log."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_a_token_opens_the_page_beyond_loopback(watched: Watched, tmp_path: Path) -> None:
    watched.forgive("status of 401")
    with served(tmp_path, token="open-sesame") as page:
        stranger = watched.tab("about:blank")
        answer = stranger.goto(page.url)
        assert answer is not None and answer.status == 401
        assert "open the page with the address that was printed" in stranger.inner_text("body")
        tab = watched.tab(f"{page.url}/?token=open-sesame")
        tab.get_by_text("Drop a video here").wait_for()
        assert tab.url == f"{page.url}/", "the token has left the address bar"
        assert "open-sesame" not in tab.evaluate("document.cookie"), "no script can read it"
        tab.reload()
        tab.get_by_text("Drop a video here").wait_for()
        watched.close()


def test_the_demo_opens(watched: Watched, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tam_edit",
        "ui",
        "--demo",
        "--no-browser",
        "--port",
        "0",
        "--folder",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = re.search(r"http://127\.0\.0\.1:\d+/", server.stdout.readline())
            assert address is not None
            tab = watched.tab(address[0])
            shown(tab, 0)
            assert tab.inner_text("#title").startswith("bikes.mp4, 250 frames")
            picture_of(tab, "demo")
            watched.close()
        finally:
            server.send_signal(signal.SIGINT)
    assert server.returncode == 0, "to be stopped is how a page ends"


def test_errors_are_said_and_a_lost_server_is_noticed(watched: Watched, tmp_path: Path) -> None:
    watched.forgive("ERR_CONNECTION", "Failed to fetch")
    with served(tmp_path) as page:
        page.studio.adopt(classic_project(drawn_clip(tmp_path / "disc.mkv"), tmp_path / "disc.edit"))
        tab = watched.tab(page.url)
        shown(tab, 0)
        tab.keyboard.press("a")
        tab.wait_for_selector(".toast.bad >> text=Mark the object")
    tab.wait_for_selector("#lost:not([hidden])")
