"""The main job on real clips: frame counts, times, sound and other streams stay as they were; cuts are found.

The engines are simple ones, since it is everything around them that is looked at; the classic engine has tests of
its own, and tests/test_real_job.py does the whole job with it.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tam_edit import Edit
from tam_edit.making import OutputOptions
from tam_edit.media.probe import probe
from tam_edit.media.reader import ClipReader
from tests.support import FOOTAGE, needs_footage

pytestmark = [needs_footage, pytest.mark.usefixtures("still_engines")]

CLIPS = {
    "davis": ("davis/JPEGImages/480p/libby", "out.mp4"),
    "corridor": ("removal/corridor.mp4", "out.mp4"),
    "bbb": ("clips/bbb.webm", "out.mkv"),
    "nasa": ("clips/nasa.mp4", "out.mp4"),
    "biker": ("clips/biker.mp4", "out.mp4"),
}
BOX = (20, 20, 60, 60)


def copied_packets(path: Path) -> dict[str, list[bytes]]:
    """Payloads of all sound and subtitle streams, in order."""
    if path.is_dir():
        return {}
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type in ("audio", "subtitle")]
        found: dict[int, list[bytes]] = {stream.index: [] for stream in streams}
        if streams:
            for packet in container.demux(streams):
                if packet.size:
                    found[packet.stream.index].append(bytes(packet))
    return {f"{number}": packets for number, packets in enumerate(found.values())}


LONG = {"corridor", "bbb"}


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        pytest.param(
            name, effect, marks=[pytest.mark.slow] if name in LONG or (name, effect) == ("biker", "replace") else []
        )
        for name in CLIPS
        for effect in ("remove", "replace")
    ],
)
def test_everything_but_the_mask_stays(name: str, effect: str, tmp_path: Path) -> None:
    clip, result = FOOTAGE / CLIPS[name][0], tmp_path / CLIPS[name][1]
    edit = Edit.create(clip, tmp_path / "a.edit", frame_rate="24" if clip.is_dir() else None)
    edit.mark("thing", box=BOX)
    report = edit.remove(result) if effect == "remove" else edit.replace(result, background="#203040")
    before, after = edit.source(), probe(result, digest="x")
    assert after.frames == before.frames and after.size_wh == before.size_wh
    offset = [after.time(index) - before.time(index) for index in range(before.frames)]
    exact = result.suffix == ".mp4"
    assert max(offset) - min(offset) <= (0 if exact else Fraction(1, 1000))
    if not exact:
        assert any("milliseconds" in words for words in report.warnings) or max(offset) == min(offset) == 0
    assert copied_packets(result) == copied_packets(clip)
    assert after.sample_aspect == before.sample_aspect
    assert report.stage("encode").frames_run == before.frames


def test_lossless_keeps_every_bit_outside(tmp_path: Path) -> None:
    edit = Edit.create(FOOTAGE / "clips/biker.mp4", tmp_path / "a.edit")
    edit.mark("thing", frame=30, box=BOX)
    edit.override(dilate_px=3, feather_px=2.0)
    edit.remove(tmp_path / "a.mkv", options=OutputOptions(lossless=True))
    before, after = edit.source(), probe(tmp_path / "a.mkv", digest="x")
    tube = edit.track()
    with ClipReader(before) as old, ClipReader(after) as new:
        for index in (0, 30, 31, 200):
            wide = dilated(tube["thing"][index], 3 + 2 + 2)
            was, now = old.picture(index).native, new.picture(index).native
            assert was.format.name == now.format.name
            for number, (a, b) in enumerate(zip(planes(was), planes(now), strict=True)):
                step = a.shape[0] * 2 // wide.shape[0] if number else 2
                outside = ~wide if step == 2 else ~wide.reshape(a.shape[0], 2, a.shape[1], 2).any(axis=(1, 3))
                assert (a[outside] == b[outside]).all()
            assert (
                any((a != b).any() for a, b in zip(planes(was), planes(now), strict=True)) == tube["thing"][index].any()
            )


def test_the_bikes_clip_has_its_cuts() -> None:
    # 76 is a cut too, from the taxi's roof to the cyclist.
    assert Edit.once(FOOTAGE / "clips/bikes.mp4").cuts() == (30, 76, 137, 187, 242)


def test_masks_of_several_objects_that_enter_late(tmp_path: Path) -> None:
    edit = Edit.create(FOOTAGE / "multi/judo/frames", tmp_path / "judo.edit", frame_rate=24)
    said = edit.ingest("davis", FOOTAGE / "multi/judo/masks")
    assert sorted(min(frames) for frames in said.frames.values()) == [0, 5, 8, 13]
    tube = edit.track()
    for name, frames in said.frames.items():
        assert tube[name][min(frames)].any()


def planes(frame: av.VideoFrame) -> list[np.ndarray]:
    result = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        result.append(rows[:, : plane.width])
    return result


def dilated(mask: np.ndarray, by_px: int) -> np.ndarray:
    import cv2

    kernel = np.ones((2 * by_px + 1, 2 * by_px + 1), np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)
