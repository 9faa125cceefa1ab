"""Prompts beyond a click: several boxes, scribbles, rough masks, candidates; on the command line and in Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tam_edit import Edit, errors
from tam_edit.pipelines import engines
from tam_edit.pipelines.prompts import SCRIBBLE_POINTS, boxes_inside, clicked, refused, spread_points
from tam_edit.saying import Saying
from tam_edit.script import Prompt, StoredMask
from tests.sam.support import small_sam
from tests.scenes import BALL_PX, BLUE, RED, SIZE_WH, ball_at, centre, picture, truth, write_clip
from tests.support import Call

LANES = (RED, BLUE)


def box(frame: int, lane: int, margin: int = 2) -> tuple[int, int, int, int]:
    x, y = ball_at(frame, lane)
    return x - margin, y - margin, x + BALL_PX + margin, y + BALL_PX + margin


def words(numbers: Any) -> str:
    return ",".join(map(str, numbers))


@pytest.fixture(scope="module")
def two_balls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "two.mp4", frames=6, lanes=LANES)


@pytest.fixture
def project(two_balls: Path, tmp_path: Path) -> Path:
    Edit.create(two_balls, tmp_path / "two.edit")
    return tmp_path / "two.edit"


def said(project: Path, name: str = "both") -> dict[str, Any]:
    """The last prompt of the script's text."""
    objects = json.loads((project / "edit.json").read_text())["objects"]
    return dict(next(item for item in objects if item["name"] == name)["prompts"][-1])


@pytest.mark.usefixtures("quick_engines")
def test_each_kind_on_the_command_line_lies_in_the_script(call: Call, project: Path, tmp_path: Path) -> None:
    mark = ("mark", project, "--object", "both")
    status, _, err = call(*mark, "--box", words(box(0, 0)), "--box", words(box(0, 1)))
    assert status == 0, err
    assert said(project) == {"frame": 0, "box": list(box(0, 0)), "boxes": [list(box(0, 1))]}

    line = [centre(1, 0), (centre(1, 0)[0], centre(1, 1)[1])]
    status, _, err = call(*mark, "--frame", 1, "--scribble", " ".join(map(words, line)))
    assert status == 0, err
    assert said(project) == {"frame": 1, "scribbles": [[list(point) for point in line]]}

    beside = [[float(x), 2.0] for x in (70, 90)]
    status, _, err = call(*mark, "--frame", 1, "--point", words(centre(1)), "--not-scribble", "70,2 90,2")
    assert status == 0, err
    assert said(project) == {"frame": 1, "points": [list(centre(1))], "negative_scribbles": [beside]}

    drawn = np.zeros((SIZE_WH[1], SIZE_WH[0]), np.uint8)
    x, y = ball_at(2)
    drawn[y + 3, x + 2 : x + 12] = 255
    Image.fromarray(drawn).save(tmp_path / "stroke.png")
    status, _, err = call(*mark, "--frame", 2, "--scribble", tmp_path / "stroke.png")
    assert status == 0, err
    assert len(said(project)["points"]) == SCRIBBLE_POINTS
    assert all(drawn[int(row), int(column)] for column, row in said(project)["points"])
    status, _, err = call(
        *mark, "--frame", 2, "--point", words(centre(2, 1)), "--not-scribble", tmp_path / "stroke.png"
    )
    assert status == 0, err
    assert all(drawn[int(row), int(column)] for column, row in said(project)["negative"])

    rough = truth(3)
    rough[:, : centre(3)[0]] = False
    Image.fromarray(rough).save(tmp_path / "rough.png")
    status, out, err = call(*mark, "--frame", 3, "--mask", tmp_path / "rough.png", "--polish")
    assert status == 0, err
    assert said(project)["polish"] is True
    assert f"{BALL_PX**2} pixels" in out, "the half of it was redrawn to the whole"
    status, out, _ = call(*mark, "--frame", 3, "--mask", tmp_path / "rough.png")
    assert status == 0 and f"{BALL_PX**2 // 2} pixels" in out, "without --polish it is taken as it is"

    status, _, err = call(*mark, "--frame", 4, "--point", words(centre(4)), "--candidate", 2)
    assert status == 2 and "there are 1" in err

    assert call("track", project)[0] == 0


@pytest.mark.usefixtures("quick_engines")
@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        (("--polish", "--point", "8,12"), "polish without a mask"),
        (("--scribble", "8,12 9"), "X,Y X,Y"),
        (("--scribble", "a dog"), "name a picture"),
        (("--scribble", "no.png"), "no such file"),
        (("--scribble", "8,12 800,12"), "outside the picture"),
        (("--point", "8,12", "--not-scribble", "8,12 800,12"), "outside the picture"),
        (("--not-scribble", "8,12 9,12"), "only what the object is not"),
        (("--box", "1,1,20,20", "--box", "9,9,3,3"), "X0 < X1"),
        (("--box", "1,1,20,20", "--box", "200,200,300,300"), "outside the picture"),
        (("--box", "1,1,20,20", "--box", "1,2,3"), "X0,Y0,X1,Y1"),
    ],
)
def test_what_cannot_be_meant_is_refused(prompt: tuple[str, ...], told: str, call: Call, project: Path) -> None:
    before = (project / "edit.json").read_bytes()
    status, _, err = call("mark", project, "--object", "both", *prompt)
    assert status == 2 and told in err
    assert (project / "edit.json").read_bytes() == before


def test_classic_joins_what_each_box_holds(project: Path) -> None:
    edit = Edit.open(project, engines=engines.EngineOptions())
    edit.override(segmenter="classic", tracker="classic", inpainter="classic")
    mask = edit.mark("both", boxes=[box(0, 0), box(0, 1)])
    wanted = truth(0, 0) | truth(0, 1)
    assert (mask & wanted).sum() / (mask | wanted).sum() > 0.85
    alone = edit.mark("one", box=box(0, 0), points=[centre(0)])
    assert (alone & truth(0, 1)).sum() == 0
    # A point beyond all boxes speaks for itself.
    with_point = edit.mark("both", boxes=[box(0, 0), box(0, 0, 1)], points=[centre(0, 1)])
    assert with_point[centre(0, 1)[::-1]] and with_point[centre(0, 0)[::-1]]
    scribbled = edit.mark("both", frame=1, scribbles=[[centre(1, 0), (centre(1, 0)[0] + 3, centre(1, 0)[1])]])
    assert (scribbled & truth(1)).sum() / (scribbled | truth(1)).sum() > 0.85
    # Both balls lie in the box; a line over one of them leaves the other.
    row = [(centre(1, 1)[0] - 3, centre(1, 1)[1]), (centre(1, 1)[0] + 3, centre(1, 1)[1])]
    around = (0, 0, *SIZE_WH)
    less = edit.mark("both", frame=1, points=[centre(1)], box=around, negative_scribbles=[row])
    assert (less & truth(1)).sum() > 0.85 * truth(1).sum() and not (less & truth(1, 1)).any()


def test_classic_redraws_a_rough_mask(project: Path) -> None:
    edit = Edit.open(project, engines=engines.EngineOptions())
    edit.override(segmenter="classic", tracker="classic", inpainter="classic")
    rough = np.roll(truth(0), (1, 2), axis=(0, 1))
    mask = edit.mark("ball", mask=rough, polish=True)
    before, after = ((found & truth(0)).sum() / (found | truth(0)).sum() for found in (rough, mask))
    assert after > before
    assert edit.report.stage("segment").frames_run == 1


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The small SAM with random weights, as the stages use it, and what it saw of one picture."""
    weights = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.save(small_sam().state_dict(), weights)
    options = engines.EngineOptions(weights={"sam-vit-b": weights})
    from tam_edit.settings import Settings

    found = engines.resolve(Settings(segmenter="sam", tracker="classic", inpainter="classic"), options).segmenter
    return found, found.embed(picture(0, lanes=LANES))


def test_sam_joins_boxes_and_polishes(sam: Any) -> None:
    segmenter, seen = sam
    first, second = (tuple(map(float, box(0, lane))) for lane in (0, 1))
    parts = [segmenter.answer(seen, Prompt(box=one))[0] for one in (first, second)]
    (both,) = segmenter.answer(seen, Prompt(box=first, boxes=(second,)))
    assert (both.mask == (parts[0].mask | parts[1].mask)).mean() > 0.99
    assert both.score == pytest.approx(min(part.score for part in parts), abs=1e-4)
    # A box may reach beyond the picture.
    wide = segmenter.answer(seen, Prompt(box=(-50.0, -50.0, 500.0, 500.0)))[0]
    whole = segmenter.answer(seen, Prompt(box=(0.0, 0.0, float(SIZE_WH[0]), float(SIZE_WH[1]))))[0]
    assert (wide.mask == whole.mask).all()
    (polished,) = segmenter.answer(seen, Prompt(mask=StoredMask.of(truth(0)), polish=True))
    assert polished.stability is not None and polished.mask.shape == truth(0).shape
    line = (tuple(map(float, centre(0))), (80.0, 60.0))
    (scribbled,) = segmenter.answer(seen, Prompt(scribbles=(line,)))
    (clicks,) = segmenter.answer(seen, Prompt(points=clicked(Prompt(scribbles=(line,)))))
    assert (scribbled.mask == clicks.mask).all()
    (lined,) = segmenter.answer(seen, Prompt(box=first, negative_scribbles=(line,)))
    (dotted,) = segmenter.answer(seen, Prompt(box=first, negative=clicked(Prompt(scribbles=(line,)))))
    assert (lined.mask == dotted.mask).all() and (lined.mask != parts[0].mask).any()


def test_points_of_a_scribble_lie_evenly_on_it() -> None:
    line = ((0.0, 0.0), (10.0, 0.0), (10.0, 10.0))
    points = clicked(Prompt(points=((3.0, 3.0),), scribbles=(line, ((7.0, 7.0),))))
    assert points == ((3.0, 3.0), (2.0, 0.0), (6.0, 0.0), (10.0, 0.0), (10.0, 4.0), (10.0, 8.0), (7.0, 7.0))
    beside = Prompt(points=((3.0, 3.0),), negative=((1.0, 1.0),), negative_scribbles=(line,))
    assert clicked(beside) == ((3.0, 3.0),) and refused(beside) == ((1.0, 1.0), *points[1:6])
    spread = spread_points(truth(0), 4)
    assert len(set(spread)) == 4 and all(truth(0)[int(y), int(x)] for x, y in spread)
    assert boxes_inside(Prompt(box=(-3, 1, 5, 99)), (64, 96)) == ((0.0, 1, 5, 64.0),)


@pytest.mark.usefixtures("quick_engines")
def test_python_takes_one_box_as_before(project: Path) -> None:
    edit = Edit.open(project)
    edit.mark("ball", 0, (), (), box(0, 0))
    assert edit.script.prompt("ball", 0) == Prompt(box=tuple(map(float, box(0, 0))))  # type: ignore[arg-type]
    edit.say("ball", Saying(1, box=box(1, 0), boxes=[box(1, 1)]))
    prompt = edit.script.prompt("ball", 1)
    assert prompt is not None and len(prompt.all_boxes) == 2
    with pytest.raises(errors.PromptError, match="say one thing"):
        edit.mark("ball", mask=truth(0), boxes=[box(0, 0)])
    with pytest.raises(errors.MaskEmpty, match="no stroke"):
        edit.mark("ball", scribbles=[np.zeros((64, 96), bool)])


@pytest.mark.usefixtures("quick_engines")
def test_python_takes_numpy_for_numbers_and_lists(project: Path) -> None:
    edit, (frame,) = Edit.open(project), np.array([2])
    clicked = edit.mark("both", frame=frame, points=np.array([centre(2, 0)]))  # type: ignore[arg-type]
    assert clicked.any() and said(project)["frame"] == 2
    assert np.array_equal(edit.mark("both", frame=frame, mask=clicked.tolist()), clicked)  # type: ignore[arg-type]
    for wrong, words in (
        ({"frame": 0.5, "points": [(5, 5)]}, "whole number"),
        ({"mask": np.ones(5)}, r"shape \[5\]"),
        ({"mask": 3}, r"shape \[\]"),
    ):
        with pytest.raises(errors.PromptError, match=words):
            edit.mark("both", **wrong)  # type: ignore[arg-type]
    with pytest.raises(errors.PromptError, match="object name 5"):
        edit.mark(5, points=[(5, 5)])  # type: ignore[arg-type]


@pytest.mark.usefixtures("quick_engines")
def test_a_click_on_the_page_keeps_what_the_page_cannot_say(project: Path) -> None:
    from tam_edit.web.desk import Desk

    edit = Edit.open(project)
    line = (tuple(map(float, centre(0, 1))),)
    edit.mark("both", box=box(0, 0), boxes=[box(0, 1)], scribbles=[line])
    desk = Desk(edit)
    desk.say("both", Saying(0, points=[centre(0)], box=box(0, 0, 1), scribbles=[line]))
    prompt = edit.script.prompt("both", 0)
    assert prompt is not None and prompt.points and prompt.scribbles == (line,) and len(prompt.all_boxes) == 2
    desk.say("both", Saying(0, points=[centre(0)]))
    prompt = edit.script.prompt("both", 0)
    assert prompt is not None and prompt.all_boxes == () and not prompt.scribbles, "what it says it takes away"
    desk.close()


def test_another_candidate_of_one_click(call: Call, project: Path) -> None:
    words_of = ("mark", project, "--object", "ball", "--point", words(centre(0)), "--segmenter", "classic", "--json")
    areas = []
    for number in range(3):
        status, out, err = call(*words_of, "--candidate", number)
        assert status == 0, err
        areas.append(json.loads(out)["area_px"])
        assert said(project, "ball").get("candidate", 0) == number
    assert len(set(areas)) > 1, "another reading of the click"
    status, _, err = call(*words_of, "--candidate", 3)
    assert status == 2 and "error" not in err
