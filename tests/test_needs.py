"""A bound for memory that cannot hold is told."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from av.video.frame import VideoFrame

from tam_edit import Edit, limits
from tam_edit.media.probe import probe
from tam_edit.media.settings import choose
from tam_edit.pipelines.needs import least_bytes
from tam_edit.workbench import Surroundings
from tests import scenes


def test_a_bound_that_cannot_hold_is_told_before_and_after(tmp_path: Path, quick_engines: None) -> None:
    clip = scenes.write_clip(tmp_path / "a.mp4", frames=8)
    small = Edit.create(clip, tmp_path / "a.edit", surroundings=Surroundings(memory_bytes=100 << 20))
    small.mark("ball", mask=scenes.truth(0))
    for report in (small.plan("remove", tmp_path / "out.mp4"), small.remove(tmp_path / "out.mp4")):
        [words] = [words for words in report.warnings if "--memory" in words]
        assert words.startswith("pictures of 96x64 stored as h264 need about 0.3 GB of memory")
        assert "(0.1 GB)" in words
    large = Edit.open(tmp_path / "a.edit", surroundings=Surroundings(memory_bytes=1 << 30))
    assert not [words for words in large.remove(tmp_path / "out.mp4").warnings if "--memory" in words]


@pytest.mark.parametrize(("output", "least", "most"), [("out.mp4", 1.4e9, 2.8e9), ("out.mov", 1.4e9, 2.8e9)])
def test_what_4k_needs_is_as_measured(output: str, least: float, most: float, tmp_path: Path) -> None:
    clip = scenes.write_clip(tmp_path / "a.mp4", frames=2, pixel_format="yuv420p")
    source = Edit.create(clip, tmp_path / "a.edit").source()
    settings = choose(source, output)
    assert least < least_bytes((3840, 2160), 12, settings) < least_bytes((3840, 2160), 5000, settings) < most
    assert least_bytes((3840, 2160), 200, settings) == least_bytes((3840, 2160), 5000, settings)
    assert least_bytes((96, 64), 12, settings) < 0.4e9
    lossless = choose(source, "out.mkv", lossless=True)
    assert least_bytes((3840, 2160), 12, lossless) < least_bytes((3840, 2160), 12, settings)


def test_probing_holds_few_frames(tmp_path: Path) -> None:
    """Ninety were held until Python looked for circles: a gigabyte in 4K."""
    clip = scenes.write_clip(tmp_path / "a.mp4", frames=80)
    gc.collect()
    gc.disable()
    held: list[int] = []
    try:
        probe(clip, digest="", on_picture=lambda *_: held.append(_frames_there()))
    finally:
        gc.enable()
    assert len(held) == 80 and max(held) < 24


def _frames_there() -> int:
    return sum(isinstance(item, VideoFrame) for item in gc.get_objects())


def test_arrays_of_large_pictures_have_memory_of_their_own_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(limits, "_tell_allocator", lambda name, which, threshold: told.append(threshold))
    with limits.large_pictures_apart((854, 480)):
        assert not told, "networks at usual sizes find their memory again"
    with pytest.raises(ValueError, match="in between"), limits.large_pictures_apart((3840, 2160)):
        assert told == [4 << 20]
        raise ValueError("in between")
    assert told == [4 << 20, 32 << 20]
