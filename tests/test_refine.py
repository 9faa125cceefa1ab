"""Refinement with a scripted tracker and segmenter: what is asked, what is kept, what runs again and what does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tam_edit import Edit, errors
from tam_edit.clip import FrameSpan
from tam_edit.engine.report import Report, frames_run
from tam_edit.masks import Mask, MaskTube
from tam_edit.pipelines.context import Rgb
from tam_edit.pipelines.engines import Engines
from tam_edit.pipelines.keyframes import Candidate
from tam_edit.pipelines.refine import LONGEST, NEAR, Rules
from tam_edit.script import Prompt
from tam_edit.settings import Settings
from tests.scenes import BLUE, RED, MeanFilling, ScriptedTracker, Tracking, centre, like, truth, write_clip
from tests.support import Call

TIRES = 10
"""Steps after which the scripted tracker sees only a half."""


class TiringTracker(ScriptedTracker):
    """Sees each object by its colour; some frames after it was last told, only its upper half, and knows that.

    It keeps the colour and the steps since it was told: [r, g, b, steps].
    """

    def step(
        self, frame: Rgb, masks: Mapping[int, Mask] | None = None, *, last: bool = False, cut: bool = False
    ) -> NDArray[np.float32]:
        self.kept = {label: kept + np.array([0, 0, 0, 1]) for label, kept in self.kept.items()}
        for label, mask in (masks or {}).items():
            colour = self.kept[label][:3] if label in self.kept else np.median(frame[mask], axis=0)
            self.kept[label] = np.append(colour, 0)
        planes = []
        for label in self.labels:
            seen = like(frame, self.kept[label][:3])
            if self.kept[label][3] > TIRES:
                seen[np.flatnonzero(seen.any(axis=1))[7:]] = False
            planes.append((masks or {}).get(label, seen))
        objects = np.stack(planes).astype(np.float32)
        return np.concatenate([1 - objects.max(axis=0, keepdims=True), objects]).astype(np.float32)

    def trust(self) -> Mapping[int, Any]:
        return {label: AgeTrust(int(self.kept[label][3])) for label in self.labels}


class AgeTrust:
    def __init__(self, age: int) -> None:
        self.age = age

    @property
    def combined(self) -> float:
        return 0.9 if self.age <= TIRES else max(0.0, 0.4 - self.age / 500)


class AnsweringSegmenter:
    """A click means its colour; a question about a mask is answered as the test wants it, and noted."""

    identity = "answering/1"
    looks_ahead = False

    def __init__(self, by_itself: bool = True, score: float = 0.9, stability: float | None = 0.95) -> None:
        self.rules = Rules(score_from=0.8, stability_from=0.85, overlap_from=0.4, by_itself=by_itself)
        self.score, self.stability = score, stability
        self.elsewhere = False
        self.asked: list[Prompt] = []

    def candidates(self, rgb: Rgb, prompt: Prompt, next_rgb: Rgb | None) -> tuple[Candidate, ...]:
        if prompt.prior is not None:
            self.asked.append(prompt)
        x, y = prompt.points[0]
        mask = like(rgb, rgb[int(y), int(x)])
        if prompt.prior is not None and self.elsewhere:
            mask = np.roll(mask, 30, axis=0)
        if prompt.prior is not None and self.stability is None and len(prompt.points) == 1:
            mask = np.zeros_like(mask)
        return (Candidate(mask, self.score, "whole", self.stability),)


TIRING = Tracking(TiringTracker, "tiring/1")


@pytest.fixture
def segmenter(monkeypatch: pytest.MonkeyPatch) -> AnsweringSegmenter:
    found = AnsweringSegmenter()
    names = {"segmenter": "answering", "tracker": "tiring", "inpainter": "mean"}
    engines = Engines(found, TIRING, MeanFilling(), names)
    monkeypatch.setattr("tam_edit.pipelines.engines.resolve", lambda settings, options: engines)
    return found


def marked(clip: Path, folder: Path, *frames: int) -> Edit:
    edit = Edit.create(clip, folder)
    for frame in frames:
        edit.mark("ball", frame=frame, points=[centre(frame)])
    return edit


def right(tube: MaskTube, frames: int = 80) -> set[int]:
    """Frames on which the ball's mask is the whole ball."""
    return {frame for frame in range(frames) if (tube["ball"][frame] == truth(frame)).mean() > 0.995}


def ran(report: Report, stage: str) -> int:
    return report.stage(stage).frames_run if stage in [item.name for item in report.stages] else 0


def test_an_accepted_answer_mends_the_frames_on_both_sides(
    segmenter: AnsweringSegmenter, ball_clip: Path, tmp_path: Path
) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit", 0)
    edit.override(refine="never")
    assert right(edit.track()) == set(range(TIRES + 1)) and not segmenter.asked
    edit.override(refine="auto")
    tube = edit.track()
    # Trust falls all the way: the last frame of the first 48 doubtful ones, and of the rest.
    first = TIRES + LONGEST
    expected = set(range(TIRES + 1)) | set(range(first - TIRES, first + TIRES + 1)) | set(range(79 - TIRES, 80))
    assert right(tube) == expected
    assert list(frames_run(edit.report, "refine")) == [first, 79]
    assert f"refined 2 masks: ball at frames {first}, 79" in edit.report.warnings
    told = edit.report.to_json()["refined"]
    assert [(item["object"], item["frame"], item["accepted"]) for item in told] == [
        ("ball", first, True),
        ("ball", 79, True),
    ]
    assert told[0]["trust"]["score"] == 0.9 and told[0]["tracked_trust"] < 0.5
    # It was asked with the tracked mask and with points that agree with it.
    for prompt, frame in zip(segmenter.asked, (first, 79), strict=True):
        assert prompt.prior is not None and 0 < prompt.prior.mask().sum() < truth(frame).sum()
        assert all(prompt.prior.mask()[int(y), int(x)] for x, y in prompt.points) and prompt.points
        assert not any(prompt.prior.mask()[int(y), int(x)] for x, y in prompt.negative) and prompt.negative
    # What lies before the first refined frame's chunk is not gone through again in the same direction.
    assert "tracker's memory" not in " ".join(edit.report.stage("propagate").reasons)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"score": 0.7}, "score below 0.80"),
        ({"stability": 0.5}, "stability below 0.85"),
        ({"stability": None}, "stability below 0.85"),
        ({"elsewhere": True}, "overlap below 0.40"),
    ],
)
def test_a_worse_answer_is_refused_and_told(
    change: dict[str, Any], words: str, segmenter: AnsweringSegmenter, ball_clip: Path, tmp_path: Path
) -> None:
    vars(segmenter).update(change)
    edit = marked(ball_clip, tmp_path / "ball.edit", 0)
    assert right(edit.track()) == set(range(TIRES + 1))
    assert f"left 2 masks as tracked: ball at frames {TIRES + LONGEST}, 79 ({words})" in edit.report.warnings
    assert segmenter.asked
    edit.track()
    assert edit.report.frames_run == 0
    assert any(words in told for told in edit.report.warnings), "a run that reuses the answer tells it too"


def test_never_always_and_auto(segmenter: AnsweringSegmenter, ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit", 0)
    rules = segmenter.rules
    for setting, by_itself, refined in (
        ("never", True, False),
        ("auto", False, False),
        ("always", False, True),
        ("auto", True, True),
    ):
        segmenter.rules = Rules(rules.score_from, rules.stability_from, rules.overlap_from, by_itself)
        edit.override(refine=setting)
        assert (79 in right(edit.track())) == refined, (setting, by_itself)
    with pytest.raises(errors.PromptError, match="refine 'sometimes': auto, never, always"):
        edit.override(refine="sometimes")


def test_nothing_is_refined_twice(segmenter: AnsweringSegmenter, ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit", 0)
    tube = edit.track()
    maps = [tube.label_map(frame).copy() for frame in range(80)]
    asked = len(segmenter.asked)
    again = Edit.open(tmp_path / "ball.edit")
    tube = again.track()
    assert again.report.frames_run == 0 and len(segmenter.asked) == asked
    assert all((tube.label_map(frame) == maps[frame]).all() for frame in range(80))
    assert any("refined 2 masks" in words for words in again.report.warnings)
    assert edit.plan("track").frames_run == 0
    assert [doubt.frame for doubt in edit.review()], "what is doubtful still is listed"


def test_a_correction_runs_only_what_it_touches(segmenter: AnsweringSegmenter, ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit", 0, 40)
    edit.track()
    refined = list(frames_run(edit.report, "refine"))
    assert any(frame < 40 for frame in refined) and any(frame > 50 for frame in refined)
    edit.mark("ball", frame=60, points=[centre(60)])
    tube = edit.track()
    assert set(frames_run(edit.report, "propagate")) <= set(range(40, 80))
    assert all(frame > 40 for frame in frames_run(edit.report, "refine"))
    assert edit.report.stage("refine").frames_reused > 0, "the answer before frame 40 is the same"
    assert {*range(60 - TIRES, 61 + TIRES)} <= right(tube)
    edit.unmark("ball", 60)
    edit.track()
    assert edit.report.frames_run == 0


def test_beside_a_persons_mark_nothing_is_refined(
    segmenter: AnsweringSegmenter, ball_clip: Path, tmp_path: Path
) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit", 0)
    edit.track()
    edit.mark("ball", frame=77, points=[centre(77)])
    edit.track()
    told = " ".join(words for words in edit.report.warnings if "refined" in words)
    assert told and not any(f" {frame}" in told for frame in range(77 - NEAR, 80))


def test_plans_and_reviews_know_that_refining_waits(
    segmenter: AnsweringSegmenter, ball_clip: Path, tmp_path: Path
) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit", 0, 40)
    plan = edit.plan("remove")
    assert plan.stage("refine").frames_unknown == 80 and plan.stage("matte").frames_unknown == 80
    with pytest.raises(errors.UsageError, match="track"):
        edit.review()
    edit.override(refine="never")
    edit.track()
    edit.override(refine="always")
    # Tracked, but not refined yet: the masks may still change.
    plan = edit.plan("remove")
    assert plan.stage("refine").frames_run > 0 and plan.stage("matte").frames_unknown == 80
    assert not segmenter.asked
    with pytest.raises(errors.UsageError, match="track"):
        edit.review()
    edit.remove(tmp_path / "a.mp4")
    assert edit.plan("remove").frames_run == edit.plan("remove").stage("matte").frames_unknown == 0
    # A correction behind 40 leaves what lies before as known as it was.
    edit.mark("ball", frame=60, points=[centre(60)])
    plan = edit.plan("remove")
    assert plan.stage("refine").unknown == (FrameSpan(40, 80),)
    assert plan.stage("matte").frames_unknown and plan.stage("matte").frames_reused >= 32
    frames = edit.remove(tmp_path / "b.mp4")
    assert set(frames_run(frames, "refine")) <= set(range(40, 80))


def test_a_correction_starts_from_the_refined_mask(
    segmenter: AnsweringSegmenter, ball_clip: Path, tmp_path: Path
) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit", 0)
    edit.track()
    edit.mark("ball", frame=79, points=[centre(79)], negative=[(2, 60)])
    prompt = edit.script.prompt("ball", 79)
    assert prompt is not None and prompt.prior is not None
    assert (prompt.prior.mask() == truth(79)).mean() > 0.995


def test_stopping_and_going_on(segmenter: AnsweringSegmenter, ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit", 0)
    tube = edit.track(frames=FrameSpan(0, 30))
    assert 29 in right(tube) and not tube["ball"][31].any()
    whole = edit.track()
    fresh = marked(ball_clip, tmp_path / "other.edit", 0).track()
    assert all((whole.label_map(at) == fresh.label_map(at)).all() for at in range(80))


def test_other_objects_keep_their_pixels(segmenter: AnsweringSegmenter, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "two.mp4", frames=40, lanes=(RED, BLUE))
    edit = Edit.create(clip, tmp_path / "two.edit")
    edit.mark("ball", points=[centre(0)])
    # The other object is said to be the ball's lower half: the answer must not take it.
    for frame in range(0, 40, TIRES):
        half = truth(frame)
        half[: centre(frame)[1] + 3] = False
        edit.mark("foot", frame=frame, mask=half)
    tube = edit.track()
    foot, ball = tube["foot"][30], tube["ball"][30]
    assert foot.sum() == 14 * 4 and not (foot & ball).any()


def test_every_shot_is_refined_by_itself(segmenter: AnsweringSegmenter, cut_clip: Path, tmp_path: Path) -> None:
    edit = marked(cut_clip, tmp_path / "cut.edit", 0)
    edit.track()
    assert list(frames_run(edit.report, "refine")) == [19], "nothing beyond the shot that is marked"
    edit.mark("ball", frame=20, points=[centre(20)])
    edit.track()
    assert list(frames_run(edit.report, "refine")) == [39]
    assert set(frames_run(edit.report, "propagate")) <= set(range(20, 40))


def test_the_setting_lies_in_the_script(segmenter: AnsweringSegmenter, ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit", 0)
    path = tmp_path / "ball.edit" / "edit.json"
    path.write_text(path.read_text().replace('"settings": {}', '"settings": {"refine": "never"}'))
    assert edit.script.settings.refine == "never"
    edit.track()
    assert ran(edit.report, "refine") == 0 and not segmenter.asked
    path.write_text(path.read_text().replace('"never"', '"sometimes"'))
    with pytest.raises(errors.ScriptError, match=r"settings: refine 'sometimes'"):
        edit.track()


def test_the_command_line_says_what_was_refined(
    segmenter: AnsweringSegmenter, ball_clip: Path, tmp_path: Path, call: Call
) -> None:
    folder = tmp_path / "ball.edit"
    edit = marked(ball_clip, folder, 0)
    segmenter.rules = Rules(0.8, 0.85, 0.4, by_itself=False)

    def said(*words: object) -> str:
        status, out, err = call(*words)
        assert status == 0
        return out + err

    assert "refined" not in said("track", folder)
    assert "refined 2 masks: ball at frames" in said("track", folder, "--refine", "always")
    assert "refined" not in said("track", folder, "--refine", "never")
    assert "refined 2 masks" in said("remove", folder, "--refine", "always", "-o", tmp_path / "a.mp4")
    assert edit.script.settings.refine == "auto", "an option of one run stays out of the script"


def test_sam_is_asked_with_what_it_saw_before(monkeypatch: pytest.MonkeyPatch, ball_clip: Path, tmp_path: Path) -> None:
    """Small random weights: its answers are worth nothing, and so all are left; each frame is looked at once."""
    import torch

    from tam_edit.pipelines import engines
    from tests.sam.support import small_sam

    weights = tmp_path / "small.pth"
    torch.save(small_sam().state_dict(), weights)
    options = engines.EngineOptions(weights={"sam-vit-b": weights})
    whole = engines.resolve(Settings(segmenter="sam", tracker="classic", inpainter="classic"), options)
    made = dataclasses.replace(whole, tracker=TIRING)
    monkeypatch.setattr("tam_edit.pipelines.engines.resolve", lambda settings, options: made)
    edit = Edit.create(ball_clip, tmp_path / "sam.edit")
    edit.mark("ball", mask=truth(0))
    tube = edit.track()
    assert right(tube) == set(range(TIRES + 1))
    assert edit.report.stage("embed").frames_run == edit.report.stage("refine").frames_run == 2
    told = edit.report.to_json()["refined"]
    assert [item["accepted"] for item in told] == [False, False] and all(item["why"] for item in told)
    edit.mark("ball", frame=3, mask=truth(3))
    edit.track()
    asked = edit.report.stage("embed")
    assert asked.frames_reused + asked.frames_run == edit.report.stage("refine").frames_run


def test_a_pruned_cache_costs_only_time(segmenter: AnsweringSegmenter, ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit", 0)
    tube = edit.track()
    maps = [tube.label_map(frame).copy() for frame in range(80)]
    edit.bench.store.prune(1)
    edit.mark("ball", frame=79, points=[centre(79)])
    again = edit.track()
    assert {*range(TIRES + 1), 79} <= right(again)
    edit.unmark("ball", 79)
    edit.bench.store.prune(1)
    whole = edit.track()
    assert all((whole.label_map(frame) == maps[frame]).all() for frame in range(80))
