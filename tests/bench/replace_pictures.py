"""Make the pictures of docs/replace.md and docs/export.md by the pages' own commands, or measure the camera.

`python -m tests.bench.replace_pictures [--work FOLDER | --camera]`: some minutes; writes docs/img/replace-*.jpg
and export.jpg.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from tam_edit import Edit
from tam_edit.pipelines.camera import camera_path
from tam_edit.pipelines.pictures import contact_sheet
from tam_edit.pipelines.recipes import tubes
from tam_edit.script import Prompt
from tests.support import ROOT

PAGES = (ROOT / "docs" / "replace.md", ROOT / "docs" / "export.md")
FRAME = 194
SHEETS = {
    "backgrounds": {"before": "bikes", "another shot": "street", "blur": "blurred", "tile": "tiles"},
    "matched": {"as it is": "taxi", "--match-colour --grain": "matched", "--match-colour foreground": "relit"},
    "altered": {"--recolour": "blue", "--blur": "soft", "--pixelate": "squares", "--picture": "figure"},
    "render": {"before": "bikes", "replaced and recoloured": "both"},
}
MOST_BYTES = 250_000


def commands() -> list[str]:
    """Every command of the pages, in order."""
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def run(folder: Path) -> None:
    """Run the pages' commands in a folder; stops at the first that fails."""
    for command in commands():
        print(command[:110], flush=True)
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env={"PATH": path}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{command}\n{done.stdout}{done.stderr}")


def sheet(folder: Path, name: str, cells: dict[str, str]) -> None:
    """One row or two of captioned results."""
    pictures = []
    for caption, result in cells.items():
        with Edit.once(folder / "demo" / f"{result}.mp4").pictures() as context:
            pictures.append((caption, context.rgb(FRAME)))
    write(f"replace-{name}", pictures)


def exports(folder: Path) -> None:
    """Three exports of one frame beside it."""
    with Edit.once(folder / "demo" / "bikes.mp4").pictures() as before:
        rgb = before.rgb(FRAME)
    with Edit.once(folder / "demo" / "matte.mp4").pictures() as mattes:
        matte = mattes.rgb(FRAME)
    davis = np.asarray(Image.open(folder / "demo" / "davis" / f"{FRAME:05d}.png").convert("RGB"))
    rgba = np.asarray(Image.open(folder / "demo" / "cut-out" / f"{FRAME:05d}.png")).astype(np.float32)
    rows, columns = np.indices(rgba.shape[:2]) // 16
    ground = np.where((rows + columns) % 2, 205, 245).astype(np.float32)[..., None]
    alpha = rgba[..., 3:] / 255
    cut = np.rint(rgba[..., :3] * alpha + ground * (1 - alpha)).astype(np.uint8)
    write("export", [("before", rgb), ("davis", davis), ("matte", matte), ("png", cut)])


def write(name: str, pictures: list[tuple[str, np.ndarray[Any, Any]]]) -> None:
    """One or two rows of captioned pictures as docs/img/NAME.jpg."""
    drawn = contact_sheet(pictures, columns=2 if len(pictures) != 3 else 3, width_px=400)
    path = ROOT / "docs" / "img" / f"{name}.jpg"
    _, jpeg = cv2.imencode(".jpg", drawn[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    path.write_bytes(jpeg.tobytes())
    print(f"{path.name}: {len(jpeg)} bytes")
    if len(jpeg) > MOST_BYTES:
        sys.exit(f"{path.name} is too large")


def camera(folder: Path) -> None:
    """How far the measured camera lies from the true one, at the frame's corners."""
    from tests import scenes
    from tests.test_looks import pan_clip

    clip, views = pan_clip(folder / "pan.mp4")
    edit = Edit.create(clip, folder / "pan.edit")
    engines = scenes.simple_engines()
    corners = np.array([[0, 239, 0, 239], [0, 0, 159, 159], [1, 1, 1, 1]], float)

    def work(context: Any, _: Any) -> list[str]:
        path = camera_path(context, tubes(context, edit.script, engines), context.shots[0])
        if path is None:
            raise AssertionError("a run knows its camera")
        found = []
        for frame in (10, 20, 39):
            true = views[frame] @ np.linalg.inv(views[0])
            mine = path.motion(frame) @ np.linalg.inv(path.motion(0))
            found.append(f"{np.abs((true @ corners)[:2] - (mine @ corners)[:2]).max():.2f}")
        return found

    edit.bench.change(lambda script: script.marked("square", 0, Prompt(points=((45.0, 75.0),))))
    errors = edit.bench.run("camera", work)
    still = [
        f"{np.abs(((views[at] @ np.linalg.inv(views[0]) - np.eye(3)) @ corners)[:2]).max():.0f}" for at in (10, 20, 39)
    ]
    print(f"| measured | {' / '.join(errors)} |")
    print(f"| a picture that stands | {' / '.join(still)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, help="Keep results here; a temporary folder unless given.")
    parser.add_argument("--camera", action="store_true", help="Only measure the camera.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.work or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if given.camera:
            camera(folder)
            return
        run(folder)
        for name, cells in SHEETS.items():
            sheet(folder, name, cells)
        exports(folder)


if __name__ == "__main__":
    main()
