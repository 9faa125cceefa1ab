"""The main job with simple engines: what comes out, and above all what is run again and what is not."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tam_edit import Edit, errors
from tam_edit.clip import FrameSpan
from tam_edit.effects import Pictured
from tam_edit.engine.report import frames_run
from tam_edit.making import OutputOptions
from tam_edit.pipelines.matte import NOWHERE, soft_edge
from tests.scenes import BLUE, RED, SIZE_WH, centre, picture, truth, write_clip
from tests.support import frames_of, ran

pytestmark = pytest.mark.usefixtures("quick_engines")


def marked(clip: Path, folder: Path, frame: int = 0) -> Edit:
    edit = Edit.create(clip, folder)
    edit.mark("ball", frame=frame, points=[centre(frame)])
    return edit


def test_a_click_gives_a_tube_and_a_clean_clip(ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    masks = edit.track()
    assert len(masks) == 80 and masks.objects == ("ball",)
    for frame in (0, 1, 40, 79):
        assert masks["ball"][frame].dtype == bool
        assert (masks["ball"][frame] == truth(frame)).mean() > 0.995
    report = edit.remove(tmp_path / "clean.mp4")
    assert report.outputs == (str(tmp_path / "clean.mp4"),)
    assert report.warnings == ("frames 0, 10, 20, 30 and 4 more stretches: a round number",)
    cleaned = frames_of(tmp_path / "clean.mp4")
    assert len(cleaned) == 80
    for frame in (0, 40, 79):
        there = cleaned[frame][truth(frame)].astype(int)
        assert (there[:, 0] - there[:, 2]).max() < 60, "no red is left"
        away = ~truth(frame)
        away[:30] = False
        assert np.abs(cleaned[frame][away].astype(int) - picture(frame)[away]).mean() < 3


def test_nothing_runs_twice_and_the_bytes_are_the_same(ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    first = edit.remove(tmp_path / "a.mp4")
    assert ran(first) == {
        "probe": 0,
        "segment": 0,
        "propagate": 80,
        "soften": 80,
        "matte": 80,
        "inpaint": 80,
        "encode": 80,
    }
    second = edit.remove(tmp_path / "b.mp4")
    assert set(ran(second).values()) == {0}
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    shutil.rmtree(tmp_path / "ball.edit" / "cache")
    third = Edit.open(tmp_path / "ball.edit").remove(tmp_path / "c.mp4")
    assert ran(third)["inpaint"] == 80
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "c.mp4").read_bytes()


def test_a_correction_runs_only_what_it_touched(ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    edit.override(matte="hard")  # what soft edges look at besides: test_matte.py
    before = edit.track()
    maps = [before.label_map(frame).copy() for frame in range(80)]
    edit.remove(tmp_path / "a.mp4")
    # A rim is added at frame 60; the colour tracker forgets it on the next frame.
    x, y = centre(60)
    edit.mark("ball", frame=60, box=(x - 9, y - 9, x + 9, y + 9))
    after = edit.track()
    edges = [[soft_edge(tube > 0, 2, 1.0) for tube in tubes] for tubes in (maps, after)]
    changed = {frame for frame in range(80) if (edges[0][frame] != edges[1][frame]).any()}
    assert 60 in changed
    report = edit.remove(tmp_path / "b.mp4")
    holes = set(frames_run(report, "inpaint"))
    # Chunks of 4 frames that read 3 frames to either side of themselves.
    expected = {
        frame
        for start in range(0, 80, 4)
        for frame in range(start, start + 4)
        if any(start - 3 <= moved < start + 7 for moved in changed)
        and any(edges[1][at].any() for at in range(start, start + 4))
    }
    assert holes == expected and len(holes) < 80
    assert set(frames_run(report, "encode")) == set(range(48, 80))
    assert "hole changed at" in " ".join(report.stage("inpaint").reasons)


def test_a_correction_that_changes_no_mask_runs_no_later_stage(ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    tube = edit.track()
    edit.remove(tmp_path / "a.mp4")
    edit.mark("ball", frame=40, mask=tube["ball"][40])
    report = edit.remove(tmp_path / "b.mp4")
    assert ran(report)["propagate"] > 0
    assert ran(report)["inpaint"] == ran(report)["encode"] == 0
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_correction_stays_between_its_neighbouring_keyframes(ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    for frame in (20, 60):
        edit.mark("ball", frame=frame, points=[centre(frame)])
    edit.track()
    edit.mark("ball", frame=40, points=[centre(40)])
    edit.track()
    again = set(frames_run(edit.report, "propagate"))
    assert again and again <= set(range(20, 61))


def test_unmark_and_undo_run_nothing(ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    edit.remove(tmp_path / "a.mp4")
    edit.mark("ball", frame=60, box=(10, 10, 50, 50))
    edit.remove(tmp_path / "b.mp4")
    edit.unmark("ball", frame=60)
    report = edit.remove(tmp_path / "c.mp4")
    assert set(ran(report).values()) == {0}
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "c.mp4").read_bytes()
    edit.undo()
    assert edit.script.prompt("ball", 60) is not None
    assert set(ran(edit.remove(tmp_path / "d.mp4")).values()) == {0}
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "d.mp4").read_bytes()
    edit.redo()
    assert edit.script.prompt("ball", 60) is None
    with pytest.raises(errors.UsageError, match="nothing to redo"):
        edit.redo()


def test_a_plan_says_what_the_run_then_does(ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    plan = edit.plan("remove")
    assert plan.planned and plan.stage("propagate").frames_run + plan.stage("propagate").frames_unknown == 80
    assert plan.stage("inpaint").frames_unknown == 80
    assert "must run first" in " ".join(plan.stage("inpaint").reasons)
    assert not list(tmp_path.glob("*.mp4"))
    edit.track()
    assert edit.plan("remove").stage("propagate").frames_run == 0
    edit.remove(tmp_path / "a.mp4")
    assert edit.plan("remove").frames_run == 0
    edit.override(feather_px=4.0)
    assert "feather_px went from 1.0 to 4.0" in " ".join(edit.plan("remove").stage("matte").reasons)


def test_tubes_stay_inside_their_shot(cut_clip: Path, tmp_path: Path) -> None:
    edit = marked(cut_clip, tmp_path / "ball.edit", frame=30)
    assert edit.cuts() == (20, 40)
    tube = edit.track()
    present = [frame for frame in range(60) if tube["ball"][frame].any()]
    assert present == list(range(20, 40))
    report = edit.remove(tmp_path / "a.mp4")
    assert list(frames_run(report, "inpaint")) == list(range(20, 40))


def test_absent_from_here_until_it_comes_back(ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    edit.track()
    edit.mark("ball", frame=30, absent=True)
    tube = edit.track()
    assert all(tube["ball"][frame].any() for frame in range(30)), "nothing is said of the time before"
    assert not any(tube["ball"][frame].any() for frame in range(30, 80))
    assert max(frames_run(edit.report, "propagate")) == 79
    edit.mark("ball", frame=60, points=[centre(60)])
    tube = edit.track()
    assert not tube["ball"][30].any() and tube["ball"][60].any() and tube["ball"][79].any()


def test_objects_that_enter_late_compete(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "two.mp4", frames=40, lanes=(RED, BLUE))
    edit = marked(clip, tmp_path / "two.edit")
    edit.mark("other", frame=17, points=[centre(17, lane=1)])
    tube = edit.track()
    assert tube.objects == ("ball", "other")
    for frame in (0, 16, 17, 39):
        assert (tube["ball"][frame] == truth(frame)).mean() > 0.99
        assert (tube["other"][frame] == truth(frame, lane=1)).mean() > 0.99
    alone = edit.track("other")  # a single name is no list of letters
    assert alone["other"][17].any() and not alone["ball"][17].any()
    report = edit.remove(tmp_path / "a.mp4", objects=["other"])
    assert ran(report)["inpaint"] == 40
    cleaned = frames_of(tmp_path / "a.mp4")
    assert cleaned[20][truth(20)][:, 0].mean() > 180, "the red ball stays"
    assert (cleaned[20][truth(20, 1)][:, 2].astype(int) - cleaned[20][truth(20, 1)][:, 0]).mean() < 60


def test_stop_and_go(ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    edit.track(frames=FrameSpan(0, 24))
    assert set(frames_run(edit.report, "propagate")) == set(range(24))
    tube = edit.track()
    assert min(frames_run(edit.report, "propagate")) >= 24
    whole = marked(ball_clip, tmp_path / "whole.edit").track()
    assert all((tube.label_map(frame) == whole.label_map(frame)).all() for frame in range(80))


def test_replacing_by_colour_picture_video_and_blur(ball_clip: Path, cut_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    edit.replace(tmp_path / "a.mp4", background="#20c040")
    result = frames_of(tmp_path / "a.mp4")
    assert len(result) == 80
    assert np.abs(result[40][:2, :2].astype(int) - (0x20, 0xC0, 0x40)).max() < 12
    assert result[40][centre(40)[1], centre(40)[0], 0] > 180
    edit.replace(tmp_path / "b.mp4", background=cut_clip)
    behind = frames_of(tmp_path / "b.mp4")
    assert np.abs(behind[70][40:, :].astype(int) - picture(10)[40:, :]).mean() < 6, "the video begins again at its end"
    report = edit.replace(tmp_path / "c.mp4", background="blur:5")
    assert ran(report)["inpaint"] == 80
    assert frames_of(tmp_path / "c.mp4")[40].std() < picture(40).std()
    other = tmp_path / "other.edit"
    marked(ball_clip, other)
    edit.replace(tmp_path / "d.mp4", background=other)
    assert len(frames_of(tmp_path / "d.mp4")) == 80
    with pytest.raises(errors.UsageError, match="no such file"):
        edit.replace(tmp_path / "e.mp4", background="nowhere.png")
    assert not (tmp_path / "e.mp4").exists()


def test_effects_share_the_segments_that_neither_touches(cut_clip: Path, tmp_path: Path) -> None:
    edit = marked(cut_clip, tmp_path / "ball.edit", frame=50)
    lossless = OutputOptions(lossless=True)
    edit.remove(tmp_path / "a.mkv", options=lossless)
    report = edit.replace(tmp_path / "b.mkv", background="#000000", options=lossless)
    # Segments of 24 frames; the object lives in frames 40 to 59 only.
    assert set(frames_run(report, "encode")) == set(range(24, 60))


def test_a_damaged_or_pruned_cache_costs_only_time(ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    edit.remove(tmp_path / "a.mp4")
    blobs = sorted((tmp_path / "ball.edit" / "cache" / "v1" / "blobs").rglob("*"))
    for blob in blobs:
        if blob.is_file():
            content = bytearray(blob.read_bytes())
            content[len(content) // 2] ^= 0xFF
            blob.write_bytes(content)
    report = edit.remove(tmp_path / "b.mp4")
    assert any("damaged" in words for words in report.warnings)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    edit.bench.store.prune(1)
    edit.mark("ball", frame=60, box=(10, 10, 50, 50))
    edit.remove(tmp_path / "c.mp4")
    records = sorted((tmp_path / "ball.edit" / "cache" / "v1" / "keys").rglob("*"))
    for record in records:
        if record.is_file():
            record.write_bytes(record.read_bytes()[:20])
    edit.unmark("ball", frame=60)
    edit.remove(tmp_path / "d.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "d.mp4").read_bytes()


def test_a_clip_without_a_project(ball_clip: Path, tmp_path: Path) -> None:
    edit = Edit.once(ball_clip)
    edit.mark("object", points=[centre(0)])
    edit.remove(tmp_path / "a.mp4")
    again = Edit.once(ball_clip)
    again.mark("object", points=[centre(0)])
    assert set(ran(again.remove(tmp_path / "b.mp4")).values()) == {0}, "the user's cache keeps what was made"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_a_correction_mends_the_mask_that_is_there(ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    edit.track()
    x, y = centre(50)
    mended = edit.mark("ball", frame=50, points=[(5, 60)])
    assert mended[y, x] and mended[60, 5]
    prompt = edit.script.prompt("ball", 50)
    assert prompt is not None and prompt.prior is not None
    assert edit.mark("ball", frame=50, points=[(5, 60)])[y, x], "saying it again keeps the same mask beneath"


def test_moviepy_gets_the_result(ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    clip = edit.clip()
    assert clip.size == SIZE_WH or tuple(clip.size) == SIZE_WH
    assert clip.duration == pytest.approx(3.2)
    frame = clip.get_frame(40 / 25)
    there = frame[truth(40)].astype(int)
    assert (there[:, 0] - there[:, 2]).max() < 60
    clip.close()


def test_review_needs_tracking_and_puts_the_worst_first(ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    with pytest.raises(errors.UsageError, match="track"):
        edit.review()
    edit.track()
    doubts = edit.review()
    assert [doubt.span for doubt in doubts] == [FrameSpan(50, 80)]
    worst = doubts[0].frame
    assert 60 < worst < 79, "amid the doubt, which grows towards the end"
    edit.mark("ball", frame=worst, points=[centre(worst)])
    edit.track()
    assert not edit.review()


@pytest.mark.parametrize(
    ("command", "error", "words"),
    [
        (lambda edit, at: edit.remove(at / "no" / "a.mp4"), errors.OutputUnwritable, "no such folder"),
        (lambda edit, at: edit.remove(at / "a.xyz"), errors.ContainerUnknown, "xyz"),
        (lambda edit, at: edit.remove(at / "a.mp4", objects=["dog"]), errors.PromptError, "no object 'dog'"),
        (lambda edit, at: edit.remove(at / "a.mp4", objects="dog"), errors.PromptError, "no object 'dog'"),
        (lambda edit, at: edit.mark("ball", frame=800, points=[(1, 1)]), errors.PromptError, "frames 0 to 79"),
        (lambda edit, at: edit.mark("ball", points=[(400, 1)]), errors.PromptError, "outside the picture"),
        (lambda edit, at: edit.mark("ball"), errors.PromptError, "say one thing"),
        (lambda edit, at: edit.mark("ball", negative=[(1, 1)]), errors.PromptError, "only what the object is not"),
        (lambda edit, at: edit.mark("a,b", points=[(1, 1)]), errors.PromptError, "commas"),
        (lambda edit, at: edit.mark("ball", mask=np.zeros((64, 96))), errors.MaskEmpty, "no pixel"),
        (lambda edit, at: edit.mark("ball", mask=np.ones((9, 9))), errors.PromptError, "9x9"),
        (lambda edit, at: edit.mark("ball", mask=at / "no.png"), errors.PromptError, "no such file"),
        (lambda edit, at: edit.mark("ball", points=[("a", 1)]), errors.PromptError, "points are"),
        (lambda edit, at: edit.unmark("ball", frame=3), errors.PromptError, "but on frames: \\[0\\]"),
        (lambda edit, at: edit.export("gif", at / "a"), errors.UsageError, "davis"),
        (lambda edit, at: edit.track(frames=FrameSpan(0, 900)), errors.UsageError, "80 frames"),
    ],
)
def test_errors_say_what_and_leave_nothing(
    command: object, error: type[Exception], words: str, ball_clip: Path, tmp_path: Path
) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    script = (tmp_path / "ball.edit" / "edit.json").read_bytes()
    with pytest.raises(error, match=words):
        command(edit, tmp_path)  # type: ignore[operator]
    assert (tmp_path / "ball.edit" / "edit.json").read_bytes() == script
    assert [path.name for path in tmp_path.iterdir()] == ["ball.edit"]


def test_no_result_lies_over_what_it_is_made_from(ball_clip: Path, cut_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    place, beach, frames = tmp_path / "ball.edit", tmp_path / "beach.mp4", tmp_path / "frames"
    shutil.copy(cut_clip, beach)
    edit.export("png", frames)
    other = marked(beach, tmp_path / "other.edit").project
    assert other is not None
    edit.track()
    before = {path: path.read_bytes() for path in (place / "edit.json", beach, frames / "00000.png")}
    owned = (place, place / "cache" / "a.mp4", place / "reports" / "%05d.png")
    attempts: list[Callable[[], object]] = [
        lambda: edit.export("coco", place / "edit.json"),
        lambda: edit.export("coco", place / ".history.json"),
        lambda: edit.replace(beach, background=beach),
        lambda: edit.replace(beach, background=other.folder),
        lambda: edit.replace(frames, background=frames),
        lambda: edit.alter(frames / "%05d.png", Pictured(str(frames / "00000.png"))),
        *(functools.partial(edit.remove, path) for path in owned),
    ]
    for attempt in attempts:
        with pytest.raises(errors.OutputIsSource, match=r"belongs to the project|made from it"):
            attempt()
    assert {path: path.read_bytes() for path in before} == before
    edit.remove(place / "result.mp4")
    assert (place / "result.mp4").exists(), "beside the project's own files there is room for results"


def test_a_folder_for_numbered_pictures_is_made(ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    edit.remove(tmp_path / "clean" / "f%03d.png")
    assert sorted(path.name for path in (tmp_path / "clean").iterdir()) == [f"f{index:03d}.png" for index in range(80)]
    with pytest.raises(errors.OutputUnwritable, match="no such folder"):
        edit.remove(tmp_path / "no" / "clean" / "f%03d.png")


def test_nothing_done_is_said(ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    assert NOWHERE not in edit.remove(tmp_path / "a.mp4").warnings
    edit.override(erode_px=500)
    assert NOWHERE in edit.remove(tmp_path / "b.mp4").warnings
    assert NOWHERE in edit.plan("remove").warnings, "known beforehand once the masks are there"
    other = Edit.create(ball_clip, tmp_path / "other.edit")
    other.mark("ball", absent=True)
    assert NOWHERE not in other.plan("remove").warnings, "not yet known"
    assert NOWHERE in other.export("matte", tmp_path / "c.mkv").warnings


def test_the_source_is_watched(ball_clip: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    shutil.copy(ball_clip, clip)
    edit = marked(clip, tmp_path / "ball.edit")
    with pytest.raises(errors.OutputIsSource):
        edit.remove(clip)
    (tmp_path / "link.mp4").symlink_to(clip)
    with pytest.raises(errors.OutputIsSource):
        edit.remove(tmp_path / "link.mp4")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    clip.rename(moved / "clip.mp4")
    with pytest.raises(errors.SourceMissing, match=r"source\.path"):
        edit.track()
    shutil.move(str(tmp_path / "ball.edit"), str(moved / "ball.edit"))
    (moved / "clip.mp4").rename(tmp_path / "x.mp4")
    (tmp_path / "x.mp4").rename(clip)
    # Folder and clip moved together keep finding each other, because the path is relative.
    (tmp_path / "both").mkdir()
    shutil.move(str(clip), str(tmp_path / "both" / "clip.mp4"))
    shutil.move(str(moved / "ball.edit"), str(tmp_path / "both" / "ball.edit"))
    found = Edit.open(tmp_path / "both" / "ball.edit")
    assert found.track()["ball"][3].any()
    write_clip(tmp_path / "both" / "clip.mp4", frames=10)
    with pytest.raises(errors.SourceChanged, match="content changed"):
        found.remove(tmp_path / "a.mp4")
    assert not (tmp_path / "a.mp4").exists()


def test_new_refuses_to_overwrite_and_leaves_no_half_project(ball_clip: Path, tmp_path: Path) -> None:
    marked(ball_clip, tmp_path / "ball.edit")
    with pytest.raises(errors.UsageError, match="not overwritten"):
        Edit.create(ball_clip, tmp_path / "ball.edit")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(errors.SourceError):
        Edit.create(tmp_path / "text.mp4", tmp_path / "text.edit")
    assert not (tmp_path / "text.edit").exists()
    with pytest.raises(errors.ScriptError, match="no edit project"):
        Edit.open(tmp_path)


def test_every_run_leaves_a_report(ball_clip: Path, tmp_path: Path) -> None:
    import json

    edit = marked(ball_clip, tmp_path / "ball.edit")
    edit.remove(tmp_path / "a.mp4")
    reports = [json.loads(path.read_text()) for path in sorted((tmp_path / "ball.edit" / "reports").glob("*.json"))]
    assert [report["command"] for report in reports] == ["mark", "remove"]
    wanted = {"command", "exit", "outputs", "engines", "stages", "seconds", "peak_rss_bytes", "warnings"}
    assert wanted <= reports[-1].keys()
    assert reports[-1]["engines"]["tracker"] == "colour"
    assert {"name", "frames_run", "frames_reused", "seconds", "reasons"} <= reports[-1]["stages"][0].keys()


def test_without_a_project_reasons_are_told_against_the_same_clip(
    ball_clip: Path, cut_clip: Path, tmp_path: Path
) -> None:
    def reasons(clip: Path, right: int) -> str:
        edit = Edit.once(clip)
        edit.mark("object", box=(2, 6, right, 24))
        return " ".join(edit.remove(tmp_path / "a.mp4").stage("propagate").reasons)

    assert "never run before" in reasons(ball_clip, 20)
    assert "never run before" in reasons(cut_clip, 20), "another clip's runs say nothing of this one's"
    assert "mask changed at frame 0" in reasons(ball_clip, 21)


def test_going_on_runs_no_pass_over_the_same_frames_again(ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    edit.track(frames=FrameSpan(0, 12))  # in the middle of a chunk of eight frames
    edit.track()
    reasons = " ".join(edit.report.stage("propagate").reasons)
    assert "picture is new" not in reasons and "never run before" in reasons
    whole = marked(ball_clip, tmp_path / "whole.edit")
    whole.track()
    whole.track(frames=FrameSpan(0, 12))
    assert "picture" not in " ".join(whole.report.stage("propagate").reasons)
