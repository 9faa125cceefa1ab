"""Clicks on the page are answered soon: what can be done while a person rests on a frame is not done again."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tam_edit.models import classic
from tam_edit.models.classic import segmentation
from tam_edit.pipelines.engines import ClassicSegmenter, EngineOptions, SamSegmenting
from tam_edit.saying import Saying
from tam_edit.script import Prompt
from tam_edit.session import Edit
from tam_edit.settings import Settings
from tam_edit.web.desk import Desk
from tests.sam.support import picture, small_sam
from tests.web.support import classic_project, drawn_clip


class Counted:
    """Counts the calls of a method while a test runs."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        """owner: a class, or one object of it."""
        self.calls = 0
        former = getattr(owner, name)

        def called(*given: Any, **named: Any) -> Any:
            self.calls += 1
            return former(*given, **named)

        patch.setattr(owner, name, called)


def test_sam_looks_once_and_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "small.pth"
    torch.save(small_sam().state_dict(), weights)
    edit = Edit.create(
        drawn_clip(tmp_path / "disc.mkv"),
        tmp_path / "disc.edit",
        settings=Settings("sam", "classic", "classic"),
        engines=EngineOptions(weights={"sam-vit-b": weights}),
    )
    looks, answers = Counted(monkeypatch, SamSegmenting, "embed"), Counted(monkeypatch, SamSegmenting, "answer")
    desk = Desk(edit)
    try:
        desk.prepare(3)
        assert (looks.calls, answers.calls) == (1, 0)
        desk.prepare(3)
        for number, point in enumerate([(40, 60), (80, 30)], start=1):
            desk.say("disc", Saying(3, [point], box=(20, 20, 140, 100)))
            assert (looks.calls, answers.calls) == (1, number)
        # The same clicks once more: nothing is asked at all.
        desk.say("disc", Saying(3, [(80, 30)], box=(20, 20, 140, 100)))
        assert (looks.calls, answers.calls) == (1, 2)
        assert desk.edit.script.prompt("disc", 3) is not None
    finally:
        desk.close()


def test_the_classic_engine_looks_ahead_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "_seen", type(segmentation._seen)())
    desk = Desk(classic_project(drawn_clip(tmp_path / "disc.mkv"), tmp_path / "disc.edit"))
    looks = Counted(monkeypatch, segmentation._Seen, "of")
    decoded = Counted(monkeypatch, desk._clicks.reader, "picture")  # the film strip has a reader of its own
    try:
        desk.prepare(2)
        assert looks.calls == 1
        before = decoded.calls
        desk.say("disc", Saying(2, [(48, 60)]))
        assert (looks.calls, decoded.calls) == (1, before), "neither looked at nor decoded again"
        desk.say("disc", Saying(5, [(60, 60)]))
        assert looks.calls == 2
    finally:
        desk.close()


def test_of_frames_rested_on_meanwhile_only_the_last_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(classic_project(drawn_clip(tmp_path / "disc.mkv"), tmp_path / "disc.edit"))
    began, go_on, looked = threading.Event(), threading.Event(), []

    def slow(_: Any, frame: int, __: Any) -> None:
        looked.append(frame)
        began.set()
        go_on.wait(30)

    monkeypatch.setattr("tam_edit.web.desk.look_ahead", slow)
    first = threading.Thread(target=desk.prepare, args=(1,))
    first.start()
    assert began.wait(30)
    desk.prepare(5)
    desk.prepare(7)
    go_on.set()
    first.join()
    desk.close()
    assert looked == [1, 7]


def test_fewer_readings_are_the_first_of_all() -> None:
    rgb, after = picture(90, 140, 3), picture(90, 140, 4)
    everything = classic.candidates(rgb, [(70, 40)], next_frame=after)
    for most in (1, 2):
        some = classic.candidates(rgb, [(70, 40)], next_frame=after, most=most)
        assert [one.score for one in some] == [one.score for one in everything[:most]]
        assert all(np.array_equal(one.mask, other.mask) for one, other in zip(some, everything, strict=False))
    # What is kept of a picture belongs to that picture, and to that neighbour.
    apart = classic.candidates(after, [(70, 40)], next_frame=rgb)
    segmentation._seen.clear()
    assert np.array_equal(classic.candidates(after, [(70, 40)], next_frame=rgb)[0].mask, apart[0].mask)
    prompt = Prompt(points=((70.0, 40.0),))
    assert len(ClassicSegmenter().candidates(rgb, prompt, after)) == 3
