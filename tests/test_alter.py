"""Altered objects and lists of effects: what comes out, what stays, what is run, and results as sources."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tam_edit import Edit, errors
from tam_edit.effects import (
    Alter,
    Alteration,
    Blurred,
    Choice,
    Effect,
    Look,
    Pictured,
    Pixelated,
    Recolour,
    Remove,
    Replace,
)
from tam_edit.engine.report import frames_run
from tam_edit.making import OutputOptions
from tam_edit.media.probe import probe
from tam_edit.media.reader import ClipReader
from tam_edit.models.classic.oklab import to_oklab
from tam_edit.pipelines.alter import Blurring, Pixelating, Recolouring
from tam_edit.pipelines.encode import Layer
from tam_edit.pipelines.stack import merged, over
from tam_edit.pipelines.tracks import Box, Track
from tests.scenes import BALL_PX, BLUE, RED, SIZE_WH, ball_at, centre, truth, write_clip
from tests.support import Call, frames_of, ran

pytestmark = pytest.mark.usefixtures("quick_engines")
Rgb = NDArray[np.uint8]
LOSSLESS = OutputOptions(lossless=True)


@pytest.fixture(scope="module")
def two_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 frames with a red and a blue ball."""
    return write_clip(tmp_path_factory.mktemp("clips") / "two.mp4", frames=48, lanes=(RED, BLUE))


@pytest.fixture
def edit(two_clip: Path, tmp_path: Path) -> Edit:
    found = Edit.create(two_clip, tmp_path / "two.edit")
    for lane, name in enumerate(("red", "blue")):
        found.mark(name, frame=0, points=[centre(0, lane)])
    return found


def planes_of(path: Path) -> list[tuple[bytes, ...]]:
    """The decoded planes as they are stored, padding left out."""
    clip = probe(path, digest="x")
    with ClipReader(clip) as reader:
        return [
            tuple(
                np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width].tobytes()
                for plane in shot.native.planes
            )
            for shot in reader.frames(clip.span)
        ]


def away(frame: int, lane: int, px: int = 9) -> NDArray[np.bool_]:
    """Everything farther from a ball than an edge reaches."""
    return cv2.dilate(truth(frame, lane).astype(np.uint8), np.ones((2 * px + 1,) * 2)) == 0


def smile(path: Path, hole: bool = False) -> Path:
    rgba = np.zeros((20, 20, 4), np.uint8)
    rgba[..., 1], rgba[..., 3] = 200, 255
    if hole:
        rgba[:, :10, 3] = 0
    cv2.imwrite(str(path), rgba)
    return path


# One alteration


@pytest.mark.parametrize("how", [Recolour("#20c020"), Blurred(3), Blurred(), Pixelated(2), Pictured("smile")], ids=repr)
def test_only_the_object_is_altered(edit: Edit, two_clip: Path, tmp_path: Path, how: Alteration) -> None:
    if isinstance(how, Pictured):
        how = Pictured(str(smile(tmp_path / "smile.png")))
    report = edit.alter(tmp_path / "a.mkv", how, objects=["red"], options=LOSSLESS)
    before, after = planes_of(two_clip), planes_of(tmp_path / "a.mkv")
    for frame in (0, 20, 47):
        far = away(frame, 0).ravel()
        for old, new in zip(before[frame], after[frame], strict=True):
            assert (np.frombuffer(old, np.uint8)[far] == np.frombuffer(new, np.uint8)[far]).all()
        assert before[frame] != after[frame] or isinstance(how, Blurred | Pixelated), "one colour stays one colour"
    again = edit.alter(tmp_path / "b.mkv", how, objects=["red"], options=LOSSLESS)
    assert set(ran(again).values()) == {0} and ran(report)["encode"] == 48
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()
    other = Edit.open(tmp_path / "two.edit")
    other.alter(tmp_path / "c.mkv", how, objects=["blue"], options=LOSSLESS)
    assert (tmp_path / "a.mkv").read_bytes() != (tmp_path / "c.mkv").read_bytes()


def test_recolouring_gives_the_colour_and_keeps_light_and_shade(edit: Edit, tmp_path: Path) -> None:
    edit.alter(tmp_path / "a.mkv", Recolour("#20c020"), objects=["red"], options=LOSSLESS)
    result = frames_of(tmp_path / "a.mkv")
    for frame in (0, 20, 47):
        inner = cv2.erode(truth(frame).astype(np.uint8), np.ones((7, 7))) > 0
        assert np.abs(np.median(result[frame][inner], axis=0) - (0x20, 0xC0, 0x20)).max() < 12
    shades = np.repeat(np.arange(0, 256, 5, dtype=np.uint8)[:, None, None], 3, axis=2)
    made = to_oklab(Recolouring((200, 30, 30), {0: 0.6}).changed(shades, np.ones((52, 1), np.float32), 0, (0, 0)))
    assert (np.diff(made[:, 0, 0]) > -2e-3).all(), "what was lighter stays lighter"
    assert made[0, 0, 0] < 0.02 and made[-1, 0, 0] > 0.98, "black stays black, white white"


def test_blur_takes_the_detail_and_lends_nothing_from_outside(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    noise[:, 20:] = (0, 0, 255)
    alpha = np.zeros((40, 40), np.float32)
    alpha[:, :20] = 1
    made = Blurring(6, Track({0: Box((20, 20), (40, 40), (40, 40))}, True)).changed(noise, alpha, 0, (0, 0))
    assert made[:, :20].std(axis=(0, 1)).max() < 12 < noise[:, :20].std()
    assert abs(made[:, :20, 2].mean() - noise[:, :20, 2].mean()) < 8, "no blue from beside it"


def test_pixelation_cannot_be_told_back_and_goes_along() -> None:
    noise = np.random.default_rng(0)
    texture = noise.integers(0, 255, (48, 48, 3), np.uint8)
    alpha = np.ones((48, 48), np.float32)

    def made(x: int, y: int, content: Rgb) -> Rgb:
        box = Box((x + 24.0, y + 24.0), (48.0, 48.0), (48.0, 48.0))
        return Pixelating(6, Track({0: box}, True)).changed(content, alpha, 0, (x, y))

    first = made(10, 20, texture)
    blocks = {tuple(pixel) for row in first for pixel in row}
    assert len(blocks) <= 7 * 7, "at most so many colours as squares"
    # The same object elsewhere shows the same squares: nothing new is learned from it by moving.
    for x, y in ((11, 20), (13, 27), (40, 5)):
        assert (made(x, y, texture) == first).all()
    # Details smaller than a square that keep its mean are gone.
    swapped = texture.reshape(6, 8, 6, 8, 3)[:, ::-1, :, ::-1].reshape(48, 48, 3)
    assert (made(10, 20, np.ascontiguousarray(swapped)) == first).all()


def test_squares_are_as_large_where_the_object_is_small(edit: Edit, tmp_path: Path) -> None:
    track = Track({0: Box((20, 20), (10, 10), (60, 80)), 1: Box((20, 20), (60, 80), (60, 80))}, True)
    pixelating = Pixelating(6, track)
    assert pixelating._grid(0)[0] == pixelating._grid(1)[0] == 10
    assert Pixelating(64, track)._grid(0)[0] == 4, "never so fine that nothing is hidden"


def test_a_picture_takes_the_objects_place_and_follows(edit: Edit, tmp_path: Path) -> None:
    edit.alter(
        tmp_path / "a.mkv", Pictured(str(smile(tmp_path / "s.png", hole=True))), objects=["red"], options=LOSSLESS
    )
    result = frames_of(tmp_path / "a.mkv")
    corners = []
    for frame in (0, 20, 40):
        green = (result[frame][..., 1] > 150) & (result[frame][..., 0] < 60)
        x, y = np.argwhere(green)[:, ::-1].mean(axis=0)
        corners.append(x - ball_at(frame)[0])
        assert abs(y - centre(frame)[1]) < 2
        red = (result[frame][..., 0].astype(int) - result[frame][..., 1]) > 100
        assert not red[:30].any(), "where the picture is transparent, the object is gone all the same"
    assert np.ptp(corners) < 1.5 and BALL_PX / 2 < np.mean(corners) < BALL_PX, "its right half is opaque"


# Several in one pass


def test_several_effects_are_one_pass_and_one_encode(edit: Edit, two_clip: Path, tmp_path: Path) -> None:
    effects: list[Effect] = [
        Remove(Choice(("red",))),
        Replace("#204060", look=Look(grain=2.0)),
        Alter(Recolour("#e0e020"), Choice(("blue",))),
        Alter(Blurred(2), Choice(("blue",))),
    ]
    edit.set_effects(effects)
    assert json.loads((tmp_path / "two.edit" / "edit.json").read_text())["effects"][2]["recolour"] == "#e0e020"
    planned = edit.plan("render", tmp_path / "a.mkv", options=LOSSLESS)
    assert planned.stage("encode").frames_run + planned.stage("encode").frames_unknown == 48
    report = edit.render(tmp_path / "a.mkv", options=LOSSLESS)
    assert report.command == "render" and ran(report)["encode"] == 48
    result = frames_of(tmp_path / "a.mkv")
    for frame in (0, 25, 47):
        inner = cv2.erode(truth(frame, 1).astype(np.uint8), np.ones((9, 9))) > 0
        assert np.abs(np.median(result[frame][inner], axis=0) - (0xE0, 0xE0, 0x20)).max() < 14
        assert np.abs(result[frame][truth(frame)].mean(axis=0) - (0x20, 0x40, 0x60)).max() < 3, "the red one is gone"
    again = edit.render(tmp_path / "b.mkv", effects, options=LOSSLESS)
    assert set(ran(again).values()) == {0}
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()
    changed = edit.render(tmp_path / "c.mkv", [*effects[:3], Alter(Blurred(4), Choice(("blue",)))], options=LOSSLESS)
    assert ran(changed)["inpaint"] == ran(changed)["matte"] == 0, "only what the change touches"


def test_files_of_a_list_are_found_from_anywhere(edit: Edit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cv2.imwrite(str(tmp_path / "bg.png"), np.full((20, 30, 3), 99, np.uint8))
    monkeypatch.chdir(tmp_path)
    edit.set_effects([Replace("bg.png")])
    assert json.loads((tmp_path / "two.edit" / "edit.json").read_text())["effects"][0]["background"] == "../bg.png"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    edit.render(tmp_path / "a.mkv", options=LOSSLESS)
    assert np.abs(frames_of(tmp_path / "a.mkv")[5][62, 90].astype(int) - 99).max() < 3


def test_a_list_of_one_is_that_effect(edit: Edit, tmp_path: Path) -> None:
    edit.remove(tmp_path / "a.mkv", objects=["red"], options=LOSSLESS)
    report = edit.render(tmp_path / "b.mkv", [Remove(Choice(("red",)))], options=LOSSLESS)
    assert set(ran(report).values()) == {0}
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()


def test_later_effects_see_what_earlier_ones_made(edit: Edit, tmp_path: Path) -> None:
    green = Alter(Recolour("#20c020"), Choice(("red",)))
    edit.render(tmp_path / "a.mkv", [green, Alter(Pixelated(1), Choice(("red",)))], options=LOSSLESS)
    edit.render(tmp_path / "b.mkv", [Alter(Pixelated(1), Choice(("red",)))], options=LOSSLESS)
    x, y = centre(20)
    both, one = frames_of(tmp_path / "a.mkv")[20][y, x], frames_of(tmp_path / "b.mkv")[20][y, x]
    assert both[1] > both[0] + 80 and one[0] > one[1] + 80


def test_long_lists_stay_quick_to_plan_and_make(edit: Edit, tmp_path: Path) -> None:
    many: list[Effect] = [Alter(Blurred(1 + index / 8), Choice(("red",))) for index in range(16)]
    report = edit.render(tmp_path / "a.mkv", many, options=LOSSLESS)
    assert ran(report)["matte"] == 48 and ran(report)["encode"] == 48
    changed = [*many[:3], Alter(Blurred(9), Choice(("red",))), *many[4:]]
    assert ran(edit.render(tmp_path / "b.mkv", changed, options=LOSSLESS))["encode"] == 48, "a lower one counts too"


def test_layers_merge_as_if_laid_one_by_one() -> None:
    noise = np.random.default_rng(2)
    rgb = noise.integers(0, 255, (30, 40, 3), np.uint8)

    def layer(x: int, y: int, width: int, height: int) -> Layer:
        return Layer(
            noise.integers(0, 255, (height, width, 3), np.uint8), noise.random((height, width), np.float32), (x, y)
        )

    layers = [layer(2, 3, 20, 10), layer(10, 5, 25, 20), layer(0, 0, 40, 30)]
    step_by_step = rgb
    for item in layers[:2]:
        step_by_step = over(step_by_step, item)
    one = merged(layers[:2])
    assert one is not None and one.at_xy == (2, 3) and one.alpha.shape == (22, 33)
    assert np.abs(over(rgb, one).astype(int) - step_by_step).max() <= 1
    outside = np.ones((30, 40), dtype=bool)
    outside[3:25, 2:35] = False
    assert (over(rgb, one)[outside] == rgb[outside]).all()
    assert merged([]) is None and merged(layers[:1]) is layers[0]


@pytest.mark.parametrize(("pixel_format", "size_wh"), [("yuv420p10le", (96, 64)), ("yuv420p", (97, 63))])
def test_deep_and_odd_clips_keep_every_bit_outside(tmp_path: Path, pixel_format: str, size_wh: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(40, 200, (size_wh[1], size_wh[0], 1), np.uint8).repeat(3, axis=2)
    with av.open(str(tmp_path / "clip.mkv"), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        (stream.width, stream.height), stream.pix_fmt = size_wh, pixel_format
        for index in range(6):
            rgb = noise.copy()
            rgb[20:40, 30 + index : 50 + index] = RED
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pixel_format)
            frame.pts = index
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    edit = Edit.create(tmp_path / "clip.mkv", tmp_path / "clip.edit")
    edit.mark("box", frame=0, box=(30, 20, 50, 40))
    chain: list[Effect] = [Alter(Recolour("#2020c0")), Alter(Pixelated(3)), Alter(Blurred(2))]
    edit.render(tmp_path / "a.mkv", chain, options=LOSSLESS)
    for frame, (old, new) in enumerate(zip(shots(tmp_path / "clip.mkv"), shots(tmp_path / "a.mkv"), strict=True)):
        assert old[0].dtype == new[0].dtype
        for before, after in zip(old, new, strict=True):
            down, across = size_wh[1] / before.shape[0], size_wh[0] / before.shape[1]
            far = np.ones(before.shape, dtype=bool)
            rows = slice(int(11 / down), int(49 / down) + 1)
            far[rows, int((21 + frame) / across) : int((59 + frame) / across) + 1] = False
            assert (before[far] == after[far]).all() and (before != after).any()


def shots(path: Path) -> list[list[NDArray[Any]]]:
    """Every plane of every frame, at its own depth."""
    found = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            deep = "10le" in frame.format.name
            planes = []
            for plane in frame.planes:
                rows = np.frombuffer(plane, np.uint16 if deep else np.uint8).reshape(plane.height, -1)
                planes.append(rows[:, : plane.width].copy())
            found.append(planes)
    return found


# Results as sources


def test_a_projects_result_is_the_next_ones_source_bit_for_bit(edit: Edit, two_clip: Path, tmp_path: Path) -> None:
    edit.set_effects([Alter(Recolour("#20c020"), Choice(("red",)))])
    edit.render(tmp_path / "first.mkv", options=LOSSLESS)
    second = Edit.create(tmp_path / "two.edit", tmp_path / "second.edit")
    made = second.bench.source_path()
    assert made.parent == (tmp_path / "second.edit").resolve() and not list(tmp_path.glob(".*source*"))
    assert planes_of(made) == planes_of(tmp_path / "first.mkv"), "nothing is lost between the two"
    assert [second.source().time(frame) for frame in range(48)] == [edit.source().time(frame) for frame in range(48)]
    second.mark("blue", frame=0, points=[centre(0, 1)])
    second.remove(tmp_path / "both.mkv", options=LOSSLESS)
    first, both = planes_of(tmp_path / "first.mkv"), planes_of(tmp_path / "both.mkv")
    for frame in (0, 30):
        far = away(frame, 1).ravel()
        for old, new in zip(first[frame], both[frame], strict=True):
            assert (np.frombuffer(old, np.uint8)[far] == np.frombuffer(new, np.uint8)[far]).all()
    # A project without a list of effects hands on what removal makes.
    plain = Edit.create(two_clip, tmp_path / "plain.edit")
    plain.mark("red", frame=0, points=[centre(0)])
    third = Edit.create(tmp_path / "plain.edit", tmp_path / "third.edit")
    plain.remove(tmp_path / "removed.mkv", options=LOSSLESS)
    assert planes_of(third.bench.source_path()) == planes_of(tmp_path / "removed.mkv")


def test_times_that_are_no_whole_milliseconds_go_on_exactly(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "ntsc.mp4", frames=12, rate=Fraction(30000, 1001), pixel_format="yuv420p")
    first = Edit.create(clip, tmp_path / "a.edit")
    first.mark("red", frame=0, points=[centre(0)])
    second = Edit.create(tmp_path / "a.edit", tmp_path / "b.edit")
    assert second.bench.source_path().suffix == ".mov"
    times = [[edit.source().time(frame) for frame in range(12)] for edit in (first, second)]
    assert times[0] == times[1]
    first.remove(tmp_path / "a.mkv", options=LOSSLESS)
    assert planes_of(second.bench.source_path()) == planes_of(tmp_path / "a.mkv")


def test_a_change_of_the_first_project_is_told_in_the_second(edit: Edit, tmp_path: Path, call: Call) -> None:
    second = tmp_path / "second.edit"
    cv2.imwrite(str(tmp_path / "street.png"), np.full((64, 96, 3), 90, np.uint8))
    edit.set_effects([Remove(Choice(("red",))), Replace(str(tmp_path / "street.png"))])
    assert call("new", tmp_path / "two.edit", second)[0] == 0
    assert call("mark", second, "--object", "blue", "--point", "{},{}".format(*centre(0, 1)))[0] == 0
    told = f"{tmp_path / 'two.edit'} was changed after its result was taken"
    advice = f"tam-edit refresh {second}"

    def notes(*words: object) -> str:
        status, out, err = call(*words)
        assert status == 0, err
        return out

    remove = ("remove", second, "-o", tmp_path / "a.mkv", "--lossless")
    silent = [notes("status", second), notes("plan", second, "remove"), notes(*remove)]
    assert not any("was changed" in words for words in silent)
    edit.mark("red", frame=20, points=[centre(20, 0)])
    for words in (notes("status", second), notes("plan", second, "remove"), notes(*remove)):
        assert words.count(told) == 1 and advice in words
    edit.undo()
    assert told not in notes("status", second), "what was taken back is no change"
    cv2.imwrite(str(tmp_path / "street.png"), np.full((64, 96, 3), 10, np.uint8))
    assert told in notes("status", second), "a file that an effect names is another one now"
    before = planes_of(tmp_path / "a.mkv")
    assert "taken anew" in notes("refresh", second)
    assert told not in notes("status", second) and "object 'blue': marked on frame 0" in notes("status", second)
    assert told not in notes(*remove) and planes_of(tmp_path / "a.mkv") != before
    assert len(list(second.glob("source*"))) == 1 and not list(tmp_path.glob(".*source*"))
    source = json.loads(notes("status", second, "--json"))["source"]
    assert source["result_of"] == "../two.edit" and (second / source["path"]).exists()
    # What was said can be taken back as before; the clip stays.
    assert call("undo", second)[0] == 0
    assert "no objects yet" in notes("status", second)


def test_a_change_that_changes_no_pixel_keeps_the_clip(edit: Edit, tmp_path: Path, call: Call) -> None:
    second = Edit.create(tmp_path / "two.edit", tmp_path / "second.edit")
    lying = second.bench.source_path()
    edit.rename("red", "scarlet")
    assert any("was changed" in words for words in second.notes())
    assert not second.refresh() and second.bench.source_path() == lying and lying.exists()
    assert second.notes() == () and second.report.command == "render"


def test_a_first_project_that_is_gone_or_broken(edit: Edit, tmp_path: Path, call: Call) -> None:
    second = Edit.create(tmp_path / "two.edit", tmp_path / "second.edit")
    script = tmp_path / "two.edit" / "edit.json"
    text = script.read_text()
    script.write_text("{")
    assert any("cannot be said" in words and str(script) in words for words in second.notes())
    script.write_text(text)
    (tmp_path / "two.edit").rename(tmp_path / "moved.edit")
    assert second.notes() == (), "the copy is whole without it"
    with pytest.raises(errors.SourceMissing, match=r"two.edit is not there: bring it back, or change source.result_of"):
        second.refresh()
    with pytest.raises(errors.UsageError, match="not another project's result"):
        Edit.open(tmp_path / "moved.edit").refresh()


def test_a_project_without_a_result_hands_on_nothing(two_clip: Path, tmp_path: Path) -> None:
    Edit.create(two_clip, tmp_path / "empty.edit")
    with pytest.raises(errors.UsageError, match="no result to go on from"):
        Edit.create(tmp_path / "empty.edit", tmp_path / "second.edit")
    assert not (tmp_path / "second.edit").exists()


def test_a_project_behind_another_shows_its_effects(edit: Edit, two_clip: Path, tmp_path: Path) -> None:
    edit.set_effects([Replace("#206020")])
    front = Edit.create(two_clip, tmp_path / "front.edit")
    front.mark("red", frame=0, points=[centre(0)])
    front.replace(tmp_path / "a.mkv", tmp_path / "two.edit", options=LOSSLESS)
    shown = frames_of(tmp_path / "a.mkv")[10]
    assert np.abs(shown[0, 80].astype(int) - (0x20, 0x60, 0x20)).max() < 3
    x, y = centre(10, 1)
    assert shown[y, x, 2] > 180, "the other project's blue ball"
    edit.set_effects([Replace(str(tmp_path / "two.edit"))])
    with pytest.raises(errors.UsageError, match="without end"):
        edit.render(tmp_path / "b.mkv")


# Errors


@pytest.mark.parametrize(
    ("effects", "words"),
    [
        ([Alter(Pictured("nowhere.png"))], "nowhere.png: no such file"),
        ([Alter(Pixelated(), Choice(("dog",)))], "no object 'dog'"),
        ([Replace("#000000"), Remove(Choice(("red",)))], "put removals first"),
        ([Replace("nowhere.jpg")], "no such file"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    edit: Edit, tmp_path: Path, effects: list[Effect], words: str
) -> None:
    with pytest.raises(errors.TamEditError, match=words):
        edit.render(tmp_path / "a.mp4", effects)
    assert not (tmp_path / "a.mp4").exists()


def test_the_picture_of_everything_else_is_refused(edit: Edit, tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match="a picture follows objects"):
        edit.alter(tmp_path / "a.mp4", Pictured(str(smile(tmp_path / "s.png"))), invert=True)
    with pytest.raises(errors.UsageError, match="no effects are listed"):
        edit.render(tmp_path / "a.mp4")


# The command line


def test_commands_alter_and_render(call: Call, edit: Edit, tmp_path: Path) -> None:
    project = tmp_path / "two.edit"
    status, out, err = call("alter", project, "-o", tmp_path / "a.mkv", "--lossless", "--objects", "red", "--pixelate")
    assert status == 0, err
    status, out, err = call("alter", project, "-o", tmp_path / "a.mkv", "--lossless", "--recolour", "red")
    assert status == 2 and "write #RRGGBB" in err
    status, out, err = call("alter", project, "-o", tmp_path / "a.mkv")
    assert status == 2 and "--pixelate [N]" in err
    status, out, err = call("alter", project, "-o", tmp_path / "a.mkv", "--blur", "3", "--pixelate", "3")
    assert status == 2 and "one of" in err
    tree: dict[str, Any] = json.loads((project / "edit.json").read_text())
    tree["effects"] = [{"do": "alter", "picture": "smile.png", "objects": ["red"]}]
    (project / "edit.json").write_text(json.dumps(tree))
    smile(project / "smile.png")  # counts from the project's folder
    status, out, err = call("plan", project, "render", "--json")
    assert status == 0 and json.loads(out)["command"] == "render", err
    status, out, err = call("render", project, "-o", tmp_path / "b.mkv", "--lossless", "--json")
    assert status == 0 and json.loads(out)["outputs"] == [str(tmp_path / "b.mkv")], err
    tree["effects"][0]["objects"] = ["rad"]
    (project / "edit.json").write_text(json.dumps(tree))
    status, out, err = call("render", project, "-o", tmp_path / "c.mkv")
    assert status == 1 and "effects[0].objects[0]: no object 'rad'" in err


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--fit", "tile", "--scale", "0.5", "--offset", "3,-2"), 0, ""),
        (("--match-colour", "--grain", "--follow", "camera"), 0, ""),
        (("--match-colour", "foreground", "--grain", "2.5"), 0, ""),
        (("--fit", "cover"), 2, "--fit"),
        (("--trim", "5"), 2, "START:STOP"),
        (("--trim", "5:2"), 2, "a part begins"),
        (("--speed", "0"), 2, "speed 0"),
        (("--speed", "fast"), 2, "a number is needed"),
        (("--grain", "much"), 2, "a number is needed"),
    ],
)
def test_looks_on_the_command_line(
    call: Call, edit: Edit, tmp_path: Path, options: tuple[str, ...], status: int, words: str
) -> None:
    cv2.imwrite(str(tmp_path / "bg.png"), np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8))
    command = ("replace", tmp_path / "two.edit", "-o", tmp_path / "a.mkv", "--lossless")
    found, _, err = call(*command, "--background", tmp_path / "bg.png", *options)
    assert found == status and words in err, err
    if status == 0:
        planned, out, _ = call("plan", tmp_path / "two.edit", "replace", "--background", tmp_path / "bg.png", *options)
        assert planned == 0
        assert len(frames_of(tmp_path / "a.mkv")) == 48 and frames_of(tmp_path / "a.mkv")[0].shape[1::-1] == SIZE_WH


def test_plans_of_altering_know_what_waits(edit: Edit, tmp_path: Path) -> None:
    planned = edit.plan("alter", tmp_path / "a.mkv", how=Recolour("#102030"), options=LOSSLESS)
    assert planned.stage("object colour").frames_unknown == 48 and planned.stage("encode").frames_unknown == 48
    edit.alter(tmp_path / "a.mkv", Recolour("#102030"), options=LOSSLESS)
    planned = edit.plan("alter", tmp_path / "a.mkv", how=Recolour("#102030"), options=LOSSLESS)
    assert not any(frames_run(planned, stage.name) for stage in planned.stages)
