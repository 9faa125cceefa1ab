"""The examples run as they are."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tam_edit import Edit
from tests.scenes import centre
from tests.support import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("quick_engines")
def test_examples(ball_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = map(str, centre(0))
    load("remove_object").main(str(ball_clip), x, y, str(tmp_path / "a.mp4"))
    assert "inpaint: 80 frames run" in capsys.readouterr().out and (tmp_path / "a.mp4").exists()
    load("replace_background").main(str(ball_clip), "4", "8", "18", "22", "#204060", str(tmp_path / "b.mp4"))
    assert (tmp_path / "b.mp4").exists()
    edit = Edit.create(ball_clip, tmp_path / "ball.edit")
    edit.mark("ball", points=[centre(0)])
    x, y = map(str, centre(79))
    load("mend_and_run_again").main(str(tmp_path / "ball.edit"), x, y, str(tmp_path / "c.mp4"))
    # The frame amid the doubt is mended; what was tracked well before it is not filled again.
    assert "filled again: 76 frames" in capsys.readouterr().out
    load("several_effects").main(str(tmp_path / "ball.edit"), "ball", "#406080", str(tmp_path / "d.mp4"))
    said = capsys.readouterr().out
    assert "likeness: 80 frames run" in said and "encode: 80 frames run" in said


def test_the_example_on_arrays(ball_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = map(str, centre(0))
    load("masks_as_arrays").main(str(ball_clip), x, y)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 5 and all("pixels" in line and " 0 pixels" not in line for line in said)


def test_every_example_is_run_here() -> None:
    source = Path(__file__).read_text()
    assert all(f'load("{path.stem}")' in source for path in EXAMPLES)
