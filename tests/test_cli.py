"""The command line as scripts and people see it: exit statuses, one JSON object, messages, files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.scenes import centre, truth
from tests.support import Call

POINT = "--point={},{}".format(*centre(0))
pytestmark = pytest.mark.usefixtures("quick_engines")


@pytest.fixture
def project(call: Call, ball_clip: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "ball.edit"
    assert call("new", ball_clip, folder)[0] == 0
    assert call("mark", folder, "--object", "ball", POINT)[0] == 0
    return folder


def test_the_main_job_in_words(call: Call, project: Path, tmp_path: Path) -> None:
    status, out, _ = call("track", project)
    assert status == 0 and "propagate" in out and "engines: segmenter square" in out
    status, out, _ = call("remove", project, "-o", tmp_path / "a.mp4")
    assert status == 0 and f"written: {tmp_path / 'a.mp4'}" in out and (tmp_path / "a.mp4").exists()
    status, out, _ = call("plan", project, "remove")
    assert status == 0 and "nothing changed" in out and "not yet known" in out
    status, out, _ = call("replace", project, "-o", tmp_path / "b.mp4", "--background", "#336699")
    assert status == 0 and (tmp_path / "b.mp4").exists()
    status, out, _ = call("review", project, "--sheet", tmp_path / "sheet.png", "--limit", "2")
    assert status == 0 and "tam-edit mark" in out
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size[0] > 300


def test_json_is_one_object_on_stdout(call: Call, project: Path, tmp_path: Path) -> None:
    for words in (
        ("track", project),
        ("plan", project, "remove"),
        ("remove", project, "-o", tmp_path / "a.mp4"),
        ("replace", project, "-o", tmp_path / "b.mp4", "--background", "blur"),
        ("review", project),
        ("mark", project, "--object", "ball", "--frame", 9, "--absent"),
        ("unmark", project, "--object", "ball", "--frame", 9),
        ("rename", project, "ball", "moon"),
        ("undo", project),
        ("redo", project),
        ("undo", project),
        ("export", project, "--format", "davis", "-o", tmp_path / "masks"),
        ("cache", "show", project),
        ("cache", "verify", project),
        ("cache", "prune", project),
        ("models", "list"),
    ):
        status, out, _ = call(*words, "--json")
        told = json.loads(out)
        assert status == 0 and told["exit"] == 0, words
        assert told["command"], words
    status, out, _ = call("remove", project, "-o", tmp_path / "no" / "a.mp4", "--json")
    told = json.loads(out)
    assert status == told["exit"] == 1 and "no such folder" in told["error"] and told["command"] == "remove"
    status, out, _ = call("remove", "--json")
    assert status == 2 and json.loads(out)["exit"] == 2
    status, out, _ = call("cache", "show", tmp_path / "no", "--json")
    assert status == 1 and json.loads(out)["command"] == "cache show", "named as when it works"


def test_one_shot_by_every_kind_of_prompt(call: Call, ball_clip: Path, tmp_path: Path) -> None:
    Image.fromarray(truth(5)).save(tmp_path / "mask.png")
    x, y = centre(5)
    for number, prompt in enumerate(
        (
            ("--frame", 5, "--point", f"{x},{y}", "--not", "90,60"),
            ("--frame", 5, "--box", f"{x - 8},{y - 8},{x + 8},{y + 8}"),
            ("--frame", 5, "--mask", tmp_path / "mask.png"),
        )
    ):
        status, _, err = call("remove", ball_clip, "-o", tmp_path / f"{number}.mp4", *prompt)
        assert status == 0, err
    status, _, err = call("replace", ball_clip, "-o", tmp_path / "cut-out", "--background", "transparent", POINT)
    assert status == 0, err
    with Image.open(sorted((tmp_path / "cut-out").glob("*.png"))[0]) as picture:
        assert picture.mode == "RGBA" and picture.getpixel(centre(0))[3] == 255  # type: ignore[index]


def test_a_cut_out_of_everything_but_the_object(call: Call, cut_clip: Path, tmp_path: Path) -> None:
    folder, options = tmp_path / "ball.edit", ("--background", "transparent", "--invert")
    assert call("new", cut_clip, folder)[0] == 0
    assert call("mark", folder, "--object", "ball", "--frame", 30, "--point={},{}".format(*centre(30)))[0] == 0
    status, out, err = call("plan", folder, "replace", *options)
    assert status == 0 and "matte" in out, err
    status, out, err = call("replace", folder, "-o", tmp_path / "rest", *options, "--crf", 9, "--fit", "tile", "--json")
    report = json.loads(out)
    assert status == 0 and report["command"] == "replace", err
    assert "has no look" in report["warnings"][0] and "--crf are not used" in report["warnings"][1]
    for frame, inside in ((30, 0), (0, 255)):  # the first shot has no mark: all of it is kept
        with Image.open(tmp_path / "rest" / f"{frame:05d}.png") as picture:
            alpha = np.asarray(picture)[..., 3]
        assert alpha[centre(frame)[::-1]] == inside and alpha[0, 0] == 255


def test_masks_go_out_and_come_back(call: Call, project: Path, ball_clip: Path, tmp_path: Path) -> None:
    assert call("export", project, "--format", "davis", "-o", tmp_path / "masks")[0] == 0
    other = tmp_path / "other.edit"
    assert call("new", ball_clip, other)[0] == 0
    status, out, err = call("import", other, tmp_path / "masks", "--format", "davis", "--json")
    assert status == 0, err
    frames = next(iter(json.loads(out)["objects"].values()))
    assert frames == list(range(80))
    assert call("export", other, "--format", "davis", "-o", tmp_path / "again")[0] == 0
    before, after = (sorted(path for path in (tmp_path / name).rglob("*.png")) for name in ("masks", "again"))
    assert [path.read_bytes() for path in before] == [path.read_bytes() for path in after]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("remove", "CLIP", "-o", "a.mp4"), 2, "say where the object is"),
        (("remove", "CLIP", "-o", "a.mp4", "--point", "1"), 2, "X,Y"),
        (("remove", "CLIP", "-o", "a.mp4", "--box", "1,2,3"), 2, "X0,Y0,X1,Y1"),
        (("remove", "CLIP", "-o", "a.mp4", "--point", "900,1"), 2, "outside the picture"),
        (("remove", "CLIP", POINT), 2, "output"),
        (("remove", "nowhere.mp4", "-o", "a.mp4", POINT), 1, "nowhere.mp4"),
        (("remove", "https://example.com/clip.mp4", "-o", "a.mp4", POINT), 1, "is an address; download the clip"),
        (("remove", "EDIT", "-o", "a.mp4", POINT), 2, "tam-edit mark"),
        (("remove", "EDIT", "-o", "a.mp4", "--memory", "lots"), 2, "8GB"),
        (("remove", "EDIT", "-o", "a.mp4", "--memory", "0"), 2, "8GB"),
        (("remove", "EDIT", "-o", "a.mp4", "--weights", "xmem"), 2, "NAME=FILE"),
        (("remove", "EDIT", "-o", "a.mp4", "--dilate", "-3"), 2, "dilate"),
        (("replace", "EDIT", "-o", "a.mp4", "--background", "#12"), 2, "written #RRGGBB"),
        (("remove", "EDIT", "-o", "a.mp4", "--objects", "dog"), 2, "tam-edit: no object 'dog'"),
        (("remove", "EDIT", "-o", "a.mp4", "--objects", ""), 2, "no object is named: leave it out"),
        (("replace", "EDIT", "-o", "a.mp4", "--background", "blur", "--objects", ","), 2, "no object is named"),
        (("export", "EDIT", "-o", "a.mp4", "--format", "matte", "--objects", ""), 2, "no object is named"),
        (("remove", "EDIT", "-o", ""), 1, "the folder that you are in would be replaced"),
        (("export", "EDIT", "-o", ".", "--format", "davis"), 1, "the folder that you are in would be replaced"),
        (("plan", "EDIT", "remove", "--objects", "dog"), 2, "tam-edit: no object 'dog'"),
        (("remove", "EDIT", "-o", "a.mp4", "--device", "gpu"), 2, "device 'gpu': there are auto, cpu and cuda"),
        (("mark", "EDIT", "--object", "ball", POINT, "--preview", "a.jpg"), 2, "end the name in .png"),
        (("mark", "EDIT", "--object", "ball", "--mask", "m.png", "--preview", "m.png"), 1, "is made from it"),
        (("mark", "CLIP", "--object", "ball", POINT), 1, "is a file and no edit project"),
        (("import", "EDIT", "CLIP", "--format", "coco"), 1, "it is no JSON"),
        (("replace", "EDIT", "-o", "a.mp4"), 2, "background"),
        (("track", "EDIT", "--frames", "9:3"), 2, "A:B"),
        (("track", "EDIT", "--object", "dog"), 2, "no object 'dog'"),
        (("track", "nowhere.edit"), 1, "no edit project"),
        (("mark", "EDIT", "--object", "ball"), 2, "say one thing"),
        (("new", "CLIP", "EDIT"), 2, "not overwritten"),
        (("fly",), 2, "no command 'fly': 'tam-edit --help' lists all"),
        (("remov", "EDIT"), 2, "do you mean 'remove'?"),
    ],
)
def test_wrong_calls_say_what_to_do(
    words: tuple[str, ...], status: int, message: str, call: Call, project: Path, ball_clip: Path, tmp_path: Path
) -> None:
    named = {"CLIP": ball_clip, "EDIT": project, "a.mp4": tmp_path / "a.mp4"}
    got, _, err = call(*(named.get(word, word) for word in words))
    assert got == status, err
    assert message in err and "Traceback" not in err
    assert not (tmp_path / "a.mp4").exists()


def test_a_hand_edit_with_a_mistake_is_pointed_at(call: Call, project: Path, tmp_path: Path) -> None:
    path = project / "edit.json"
    good = path.read_text()
    path.write_text(good.replace('"points"', '"pionts"'))
    status, _, err = call("remove", project, "-o", tmp_path / "a.mp4")
    assert status == 1 and "objects[0].prompts[0].pionts" in err and "'points'" in err
    path.write_text(good[: len(good) // 2])
    status, _, err = call("track", project)
    assert status == 1 and "line" in err
    path.write_text(good)
    assert call("track", project)[0] == 0


def test_an_error_of_ours_is_kept_for_a_report(
    call: Call, project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("surprise")

    monkeypatch.setattr("tam_edit.session.Edit.track", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    status, _, err = call("track", project)
    assert status == 1 and "surprise" in err and "Traceback" not in err
    assert "RuntimeError" in next(tmp_path.glob("tam-edit-*.txt")).read_text()


def test_the_module_runs_too() -> None:
    result = subprocess.run([sys.executable, "-m", "tam_edit", "--version"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("tam-edit, version 0.")


def test_completion_is_there() -> None:
    tool = shutil.which("tam-edit", path=str(Path(sys.executable).parent))
    assert tool is not None
    result = subprocess.run(
        [tool],
        env={"_TAM_EDIT_COMPLETE": "bash_source", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "_tam_edit_completion" in result.stdout
