"""What attempts start from, made once: clips in several containers, projects, and results known to be right."""

from __future__ import annotations

import json
import random
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests import scenes
from tests.media.clips import make_clip
from tests.torture.box import Called, Ended, call

FRAMES = 12
BOX = "4,8,18,22"

CLIPS: dict[str, dict[str, Any]] = {
    "sound.mp4": {"sound": 1, "subtitles": 1},
    "titles.mkv": {"sound": 2, "subtitles": 1, "chapters": True},
    "old.avi": {"encoder": "mpeg4"},
    "broadcast.ts": {"encoder": "mpeg2video", "sound": 1},
    "archive.mkv": {"encoder": "ffv1", "pixel_format": "yuv422p10le"},
    "turned.mov": {"display_matrix": (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30), "metadata": {"title": "turned"}},
    "stills.mov": {"encoder": "mjpeg", "pixel_format": "yuvj420p"},
}


def make(folder: Path, _: random.Random) -> Ended:
    """Fill the folder of materials; an attempt like any other, but the first."""
    clip = scenes.write_clip(folder / "ball.mp4", frames=FRAMES)
    for name, made in CLIPS.items():
        rate = Fraction(25) if name != "old.avi" else Fraction(24)
        make_clip(folder / name, pts=tuple(range(FRAMES)), time_base=1 / rate, rate=rate, **made)
    calls = [
        call("new", clip, folder / "ball.edit"),
        call("mark", folder / "ball.edit", "--object", "ball", "--box", BOX),
        call("mark", folder / "ball.edit", "--object", "ball", "--frame", 9, "--point", "20,15", "--not", "80,50"),
    ]
    shutil.copytree(folder / "ball.edit", folder / "fresh.edit")
    calls += [
        call("remove", folder / "ball.edit", "-o", folder / "clean.mp4"),
        call("export", folder / "ball.edit", "--format", "davis", "-o", folder / "masks"),
    ]
    scenes.write_clip(folder / "long.mp4", frames=60)
    calls += [
        call("new", folder / "long.mp4", folder / "long.edit"),
        call("mark", folder / "long.edit", "--object", "ball", "--box", BOX),
    ]
    shutil.copytree(folder / "long.edit", folder / "long-done.edit")
    calls += [call("remove", folder / "long-done.edit", "-o", folder / "long-clean.mp4")]
    rich(folder)
    (folder / "jobs.toml").write_text(JOBS)
    wrong = [called for called in calls if called.status]
    return ("worked", "", "") if not wrong else ("broken test", wrong[0].said, "")


def rich(folder: Path) -> None:
    """A project whose script says a bit of everything."""
    shutil.copytree(folder / "ball.edit", folder / "rich.edit")
    tree = json.loads((folder / "rich.edit" / "edit.json").read_text())
    tree["objects"].append(
        {
            "name": "corner",
            "prompts": [
                {"frame": 0, "box": [60, 40, 80.5, 60], "boxes": [[62, 30, 70, 45]]},
                {"frame": 5, "mask": {"size_wh": [96, 64], "counts": masked()}},
                {"frame": 11, "absent": True},
            ],
        }
    )
    tree["settings"] = {"dilate_px": 3, "feather_px": 1.5, "segmenter": "auto"}
    tree["effects"] = [
        {"do": "remove", "objects": ["ball"]},
        {"do": "alter", "objects": ["corner"], "pixelate": 4},
    ]
    (folder / "rich.edit" / "edit.json").write_text(json.dumps(tree, indent=2))


def masked() -> str:
    import numpy as np

    from tam_edit.script import StoredMask

    mask = np.zeros((64, 96), dtype=bool)
    mask[40:60, 60:80] = True
    return StoredMask.of(mask).counts


JOBS = """\
[defaults]
effect = "remove"
output = "done/{name}-{effect}.mp4"

[[jobs]]
project = "*.edit"

[[jobs]]
clip = "clip*.mp4"
effect = "replace"
background = "#204060"
prompts = [
  { object = "ball", box = [4, 8, 18, 22] },
  { object = "ball", frame = 11, absent = true },
]

[[jobs]]
project = "ball.edit"
effect = "alter"
pixelate = 4
lossless = true
crf = 20

[[jobs]]
project = "ball.edit"
effect = "export"
format = "davis"
output = "masks/{name}"
"""


def of(folder: Path) -> Path:
    """Where the materials of an attempt's folder lie."""
    return folder.parent / "material-0"


def project(folder: Path, kind: str = "fresh", name: str = "ball") -> Path:
    """A copy of a project with its clip beside it: fresh (marked), ball (with all results in its cache), rich, long."""
    clip = "long.mp4" if kind.startswith("long") else "ball.mp4"
    shutil.copyfile(of(folder) / clip, folder / clip)
    shutil.copytree(of(folder) / f"{kind}.edit", folder / f"{name}.edit")
    return folder / f"{name}.edit"


def wrong_bytes(folder: Path, output: Path, expected: str = "clean.mp4") -> Ended | None:
    """What to tell when a result is not byte for byte the one that is right."""
    if not output.exists():
        return "wrong result", f"{output.name} is not there", ""
    if output.read_bytes() != (of(folder) / expected).read_bytes():
        return "wrong result", f"{output.name} is not as an undisturbed run writes it", ""
    return None


def left_over(folder: Path) -> Ended | None:
    """Half-written files that an ended process must not leave beside its results."""
    names = [path.name for path in folder.iterdir() if path.name.startswith(".") and ".part" in path.name]
    names += [path.name for path in folder.glob("*.edit/.edit.json-*")]
    return ("left over", ", ".join(names), "") if names else None


def ended(folder: Path, called: Called, output: Path, expected: str = "clean.mp4") -> Ended:
    """The verdict on a call that must give the right bytes, or say why not and leave nothing."""
    if found := called.broken() or left_over(folder):
        return found
    if called.status == 0:
        return wrong_bytes(folder, output, expected) or called.ended()
    return ("wrong result", f"failed, but {output.name} is there", "") if output.exists() else called.ended()
