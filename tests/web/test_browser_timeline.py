"""The timeline and what hangs on it: keyframes, states, playing, plans, review, comparing, every export."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tam_edit.clip import FrameSpan
from tam_edit.pipelines.export import EXPORTS
from tam_edit.pipelines.review import Doubt
from tam_edit.web.jobs import Job
from tests.support import frames_of
from tests.web.browsing import Watched, area, click, colours, picture_of, pixels, run, shown, spot, state, track, until
from tests.web.support import Page, classic_project, drawn_clip, served

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.browser

# As the timeline is drawn: ruler, film strip, states, then a row for each object.
STATES_Y, FIRST_ROW_Y = 16 + 44 + 2, 16 + 44 + 6 + 11


def at_frame(tab: Tab, frame: float, y: float = FIRST_ROW_Y) -> tuple[float, float]:
    """Where a frame lies on the timeline when all of the clip is on it."""
    box = tab.locator("#timeline").bounding_box()
    assert box is not None
    frames = int(tab.get_attribute("#timeline", "aria-valuemax") or 0) + 1
    return box["x"] + (frame + 0.5) / frames * box["width"], box["y"] + y


def ink(tab: Tab, frame: float, y: float) -> list[int]:
    """The colour on the timeline there."""
    return colours(tab, "timeline", [at_frame(tab, frame, y)])[0]


def colour(tab: Tab, name: str) -> list[int]:
    text = tab.evaluate("(name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()", name)
    return [int(text[at : at + 2], 16) for at in (1, 3, 5)]


def keyframes(page: Page) -> list[int]:
    return [one["frame"] for one in state(page)["objects"][0]["prompts"]]


def test_keyframes_move_are_copied_and_deleted(watched: Watched, drawn: Page) -> None:
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    click(tab, 40, 60)
    until(lambda: area(tab) > 1000, "the mask")

    def dragged(start: int, end: int) -> None:
        tab.mouse.move(*at_frame(tab, start))
        tab.mouse.down()
        tab.mouse.move(*at_frame(tab, end), steps=5)
        tab.mouse.up()

    tab.keyboard.down("Control")
    dragged(0, 1)
    tab.keyboard.up("Control")
    until(lambda: keyframes(drawn) == [0, 1], "copied by dragging with Ctrl")
    dragged(1, 2)
    until(lambda: keyframes(drawn) == [0, 2], "moved by dragging")
    # The same by buttons, which the keyboard reaches.
    tab.keyboard.press("Home")
    for _ in range(3):
        tab.keyboard.press("ArrowRight")
    shown(tab, 3)
    tab.get_by_role("button", name="Move keyframe 2 here").press("Enter")
    until(lambda: keyframes(drawn) == [0, 3], "moved by a button")
    tab.keyboard.press("Home")
    shown(tab, 0)
    tab.keyboard.press("]")
    shown(tab, 3)
    tab.locator("#stage").focus()
    tab.keyboard.press("Delete")
    until(lambda: keyframes(drawn) == [0], "deleted by the key")
    tab.get_by_role("button", name="Copy keyframe 0 here").click()
    until(lambda: keyframes(drawn) == [0, 3], "copied by a button")
    tab.get_by_role("button", name="Delete keyframe 3").click()
    until(lambda: keyframes(drawn) == [0], "deleted by a button")
    for _ in range(2):
        tab.keyboard.press("Control+z")
    until(lambda: keyframes(drawn) == [0], "undone twice")
    tab.keyboard.press("Control+Shift+z")
    until(lambda: keyframes(drawn) == [0, 3], "done again")


def cut_clip(path: Path) -> Path:
    """Eight frames of the moving disc, then eight of a pattern that has nothing to do with it."""
    rows, columns = np.mgrid[:120, :160]
    pattern = np.stack([columns * 7 % 200, rows * 5 % 250, (rows + columns) * 3 % 100], axis=2).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "bgr0"
        for rgb in (*frames_of(drawn_clip(path.with_name("shot.mkv"), 8)), *[pattern] * 8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_the_timeline_shows_cuts_states_trust_and_absence(watched: Watched, tmp_path: Path) -> None:
    with served(tmp_path) as page:
        page.studio.adopt(classic_project(cut_clip(tmp_path / "cut.mkv"), tmp_path / "cut.edit"))
        tab = watched.tab(page.url)
        shown(tab, 0)
        assert state(page)["project"]["cuts"] == [8]
        click(tab, 40, 60)
        until(lambda: area(tab) > 1000, "the mask")
        until(lambda: ink(tab, 0.2, STATES_Y) == colour(tab, "--accent"), "what was said")
        run(tab, "Track")
        until(lambda: track(page)["states"] == "2" * 8 + "0" * 8, "the shot in which something was said is tracked")
        until(lambda: ink(tab, 2, STATES_Y) == colour(tab, "--good"), "what is tracked")
        assert ink(tab, 7.5, STATES_Y + 30) == colour(tab, "--focus"), "the cut"
        tab.keyboard.press("End")  # the playhead out of the way
        trusted = until(lambda: ink(tab, 2, FIRST_ROW_Y + 6), "trust")
        assert trusted not in (colour(tab, "--ground"), colour(tab, "--raised"), colour(tab, "--bad"))

        # Absent from frame 3 on: what was tracked there is out of date, which is broken in yellow.
        tab.fill("#number", "3")
        tab.keyboard.press("Enter")
        shown(tab, 3)
        tab.locator("#stage").focus()
        tab.keyboard.press("a")
        until(lambda: keyframes(page) == [0, 3], "absent is said")
        tab.keyboard.press("End")
        outdated = {tuple(ink(tab, 4 + step / 40, STATES_Y)) for step in range(40)}
        until(lambda: "1" in track(page)["states"], "out of date")
        outdated = until(
            lambda: (
                {tuple(ink(tab, 4 + step / 40, STATES_Y)) for step in range(40)}
                >= {tuple(colour(tab, "--warn")), tuple(colour(tab, "--ground"))}
            ),
            "the broken line",
        )
        assert outdated
        picture_of(tab, "timeline")
        run(tab, "Track")
        tab.wait_for_selector("#reused >> text=reused")
        # Where it has no pixels it is hatched, rather than trusted.
        gaps = {tuple(colour(tab, "--line")), tuple(colour(tab, "--raised"))}
        until(lambda: gaps <= {tuple(ink(tab, 5 + step / 40, FIRST_ROW_Y)) for step in range(40)}, "hatched")
        tab.keyboard.press("Home")
        shown(tab, 0)
        until(lambda: area(tab) > 1000, "still there before it is absent")
        tab.keyboard.press("PageDown")
        until(lambda: area(tab) == 0, "and gone after it")
        watched.close()


def test_a_long_run_shows_its_plan_and_what_was_reused(watched: Watched, tmp_path: Path) -> None:
    with served(tmp_path) as page:
        clip = drawn_clip(tmp_path / "long.mkv", 80, (96, 64))
        page.studio.adopt(classic_project(clip, tmp_path / "long.edit"))
        tab = watched.tab(page.url)
        shown(tab, 0)
        click(tab, 40, 60)
        until(lambda: area(tab) > 100, "the mask")
        tab.get_by_role("button", name="Track", exact=True).click()
        plan = tab.locator("#plan")
        plan.get_by_role("button", name="Start").wait_for()
        assert "80 of 80 frames will run, because " in plan.inner_text()
        assert tab.evaluate("document.activeElement.textContent") == "Start", "the keyboard is where one goes on"
        picture_of(tab, "plan")
        plan.get_by_role("button", name="Not now").click()
        assert page.studio.jobs.last is None and not plan.inner_text()

        with pytest.MonkeyPatch.context() as patch:
            former = Job.unit

            def slowly(job: Job, decision: Any) -> None:
                time.sleep(0.8)
                former(job, decision)

            patch.setattr(Job, "unit", slowly)
            tab.get_by_role("button", name="Track", exact=True).click()
            plan.get_by_role("button", name="Start").click()
            tab.locator("#job").get_by_text("left").wait_for()
            assert "tracking: " in tab.inner_text("#job") and " of 80 frames, about " in tab.inner_text("#job")
            tab.locator("#job progress").first.wait_for()
            tab.wait_for_selector("#status.good")
        tab.wait_for_selector(".toast >> text=Track: done")

        # Absent from frame 70 on: only what reads it runs again, and the plan and the end say so.
        tab.fill("#number", "70")
        tab.keyboard.press("Enter")
        shown(tab, 70)
        tab.locator("#stage").focus()
        tab.keyboard.press("a")
        until(lambda: len(keyframes(page)) == 2, "absent is said")
        tab.get_by_role("button", name="Remove", exact=True).click()
        plan.get_by_role("button", name="Start").wait_for()
        words = plan.inner_text()
        tracking = next(line for line in words.splitlines() if line.startswith("tracking"))
        assert 0 < int(tracking.split()[1]) < 80 and " of 80 frames will run, because " in tracking, words
        tab.keyboard.press("Escape")
        assert not plan.inner_text()
        number = state(page)["job"]["number"]
        tab.get_by_role("button", name="Track", exact=True).click()
        if int(tracking.split()[1]) > 60:
            plan.get_by_role("button", name="Start").click()
        until(lambda: (job := state(page)["job"])["number"] > number and job["status"] == "done", "the second run")
        report = state(page)["job"]["report"]
        propagated = next(one for one in report["stages"] if one["name"] == "propagate")
        assert propagated["frames_run"] < 80 and propagated["frames_reused"] > 0
        tab.wait_for_selector(f"#reused >> text={propagated['frames_reused']} reused")
        watched.close()


def test_playing_by_keys(watched: Watched, drawn: Page) -> None:
    tab = watched.tab(drawn.url)
    shown(tab, 0)

    def frame() -> int:
        return int(tab.evaluate("document.body.dataset.frame"))

    tab.select_option("#speed", "0.25")
    tab.locator("#stage").focus()
    tab.keyboard.press("Space")
    until(lambda: frame() > 0, "it plays on")
    tab.keyboard.press("Space")
    stopped = frame()
    assert tab.get_attribute("#play", "aria-label") == "Play"
    tab.keyboard.press("End")
    shown(tab, 11)
    tab.keyboard.press("j")
    until(lambda: frame() < 11, "it plays back")
    tab.keyboard.press("k")
    tab.keyboard.press("Home")
    shown(tab, 0)
    tab.keyboard.press("PageDown")
    shown(tab, 10)
    tab.keyboard.press("PageUp")
    shown(tab, 0)
    assert stopped > 0
    # With the hand on the timeline: scrubbing goes where the hand is.
    tab.mouse.move(*at_frame(tab, 2, 30))
    tab.mouse.down()
    for place in (4, 6, 7):
        tab.mouse.move(*at_frame(tab, place, 30))
        until(lambda place=place: frame() == place, f"frame {place}")
    tab.mouse.up()
    shown(tab, 7)


def test_the_review_queue(watched: Watched, drawn: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    click(tab, 40, 60)
    until(lambda: area(tab) > 1000, "the mask")
    run(tab, "Track")
    tab.wait_for_selector("#review >> text=Nothing doubtful")
    # The drawn disc is never in doubt: doubts as a hard clip has them are put in its place.
    found = [
        Doubt("object 1", frame, trust, FrameSpan(frame, frame + 2), "its outline came apart")
        for frame, trust in ((5, 0.2), (9, 0.4), (2, 0.45))
    ]
    monkeypatch.setattr("tam_edit.web.desk.doubts", lambda *_: found)
    drawn.studio.changed()
    tab.wait_for_selector("#review >> text=3 frames to look at")
    order = [text.split(",")[0] for text in tab.locator("#review li").all_inner_texts()]
    assert order == ["Frame 5", "Frame 9", "Frame 2"], "worst first"
    tab.locator("#stage").focus()
    tab.keyboard.press("n")
    shown(tab, 5)
    tab.keyboard.press("n")
    shown(tab, 9)
    tab.keyboard.press("Shift+N")
    shown(tab, 5)
    tab.get_by_role("button", name="Accept frame 5").click()
    tab.wait_for_selector("#review >> text=2 frames to look at")
    tab.get_by_role("button", name="Skip frame 2").click()
    tab.wait_for_selector("#review >> text=1 frame to look at")
    picture_of(tab, "review")
    tab.reload()
    shown(tab, 0)
    verdicts = {one["frame"]: one["verdict"] for one in state(drawn)["review"]}
    assert verdicts == {5: "accepted", 9: "open", 2: "skipped"}, "kept over a reload"
    tab.get_by_role("button", name="Correct object 1 on frame 9").click()
    shown(tab, 9)
    assert tab.evaluate("document.activeElement.id") == "stage", "the next click corrects"
    number = state(drawn)["job"]["number"]
    tab.keyboard.press("d")
    click(tab, 20, 20)
    until(lambda: keyframes(drawn) == [0, 9], "the correction")
    until(lambda: "1" in track(drawn)["states"], "what it touches is out of date, visibly")
    tab.keyboard.press("ArrowLeft")
    tab.wait_for_selector("#hint >> text=Out of date here")
    run(tab, "Track")
    job = state(drawn)["job"]
    propagated = next(one for one in job["report"]["stages"] if one["name"] == "propagate")
    assert job["number"] > number and propagated["frames_run"] > 0


def of(picture: NDArray[np.uint8], places: list[tuple[float, float]]) -> list[list[int]]:
    return [[int(value) for value in picture[int(y), int(x)]] for x, y in places]


def test_comparing_is_frame_accurate(watched: Watched, drawn: Page) -> None:
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    click(tab, 40, 60)
    until(lambda: area(tab) > 1000, "the mask")
    tab.get_by_text("More options").click()
    tab.get_by_label("lossless").check()
    run(tab, "Remove")
    made = drawn.studio.results
    assert made is not None
    new = frames_of(made.folder / "removed-001.mkv")
    old = frames_of(drawn.folder / "disc.mkv")
    tab.get_by_role("button", name="Compare removed-001.mkv with the source").click()
    tab.mouse.move(5, 5)
    slider = tab.get_by_role("slider", name="Where source and result meet")
    edge = slider.bounding_box()
    assert edge is not None
    for frame in (0, 3, 11):
        tab.fill("#number", str(frame))
        tab.keyboard.press("Enter")
        shown(tab, frame)
        x = 40 + 4 * frame  # through the middle of the disc
        slider.fill(str(round(1000 * (spot(tab, x, 0)[0] - edge["x"]) / edge["width"])))
        left = [(x - 12, 60), (x - 5, 52), (x - 5, 70), (3, 110)]
        right = [(x + 12, 60), (x + 5, 52), (x + 5, 70), (150, 8)]
        until(
            lambda left=left, right=right, frame=frame: (
                pixels(tab, left) == of(old[frame], left) and pixels(tab, right) == of(new[frame], right)
            ),
            f"frame {frame}: the source on the left of the split, the result on its right, every pixel its own",
        )
        assert of(old[frame], right[:3]) != of(new[frame], right[:3])
    picture_of(tab, "split")

    tab.select_option("#compare", "blink")
    places = [(84, 60), (80, 52), (3, 110)]
    for seen in (old, new, old):
        until(lambda seen=seen: pixels(tab, places) == of(seen[11], places), "it blinks between source and result")
    tab.select_option("#compare", "")
    tab.select_option("#overlay", "result")
    until(lambda: pixels(tab, places) == of(new[11], places), "the result alone")


def test_every_export_is_made_and_downloaded(watched: Watched, drawn: Page, tmp_path: Path) -> None:
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    click(tab, 40, 60)
    until(lambda: area(tab) > 1000, "the mask")
    run(tab, "Track")
    offered = tab.locator("select[name=format] option").evaluate_all("all => all.map((one) => one.value)")
    assert sorted(offered) == sorted(EXPORTS)
    for format in offered:
        tab.select_option("select[name=format]", format)
        run(tab, "Export")
        name = state(drawn)["job"]["output"]
        assert name.startswith(f"export-{format}-")
        with tab.expect_download() as waiting:
            tab.locator(f"#results a[href='/download/{name}']").click()
        saved = tmp_path / f"got-{waiting.value.suggested_filename}"
        waiting.value.save_as(saved)
        payload = saved.read_bytes()
        if saved.suffix == ".zip":
            with zipfile.ZipFile(io.BytesIO(payload)) as archive:
                assert archive.testzip() is None
                sizes = [entry.file_size for entry in archive.infolist()]
            assert sizes and all(sizes), format
        elif saved.suffix in (".mp4", ".mov", ".webm"):
            with av.open(str(saved)) as made:
                assert sum(1 for _ in made.decode(video=0)) == 12, format
        else:
            assert payload.lstrip().startswith(b"<"), format
    tab.reload()
    shown(tab, 0)
    assert tab.locator("#results li").count() == len(offered)

    # Pictures instead of a video, and a transparent cut-out.
    tab.get_by_text("More options").click()
    tab.select_option("select[name=container]", "pictures")
    run(tab, "Remove")
    tab.select_option("select[name=behind]", "transparent")
    run(tab, "Replace")
    for result in state(drawn)["results"][-2:]:
        answer = httpx.get(f"{drawn.url}/download/{result['name']}", timeout=60)
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert sum(name.endswith(".png") for name in archive.namelist()) == 12, result
