"""Frame-accurate reading: random access gives what reading from the start gives, whatever the stream is like."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tam_edit.clip import ClipSource, FrameSpan, Orientation
from tam_edit.errors import SourceChanged, SourceMissing
from tam_edit.media.layouts import to_working
from tam_edit.media.probe import probe
from tam_edit.media.reader import KEPT_FRAMES, ClipReader
from tests.media.clips import fingerprint, make_clip, native_frame, write_picture
from tests.support import FOOTAGE, needs_footage

LONG = [512 * index for index in range(60)]
GOP_8 = "keyint=8:min-keyint=4:bframes=3:scenecut=0"
STREAMS: dict[str, tuple[str, dict[str, Any]]] = {
    "b-frames": ("a.mp4", {}),
    "variable": ("a.mp4", {"pts": [0, 100, 700, 701, 900, 5000, 5200, 9000, 9100, 12000, 12800, 13000], "gop": 4}),
    "edit list": ("a.mp4", {"pts": [512 * (index - 9) for index in range(30)], "gop": 4}),
    "offset": ("a.mkv", {"pts": [1234 + 40 * index for index in range(30)], "time_base": Fraction(1, 1000)}),
    "open gop": ("a.mp4", {"options": {"x264-params": f"open-gop=1:{GOP_8}"}, "pts": LONG}),
    "open gop hevc": (
        "a.mp4",
        {"encoder": "libx265", "options": {"x265-params": f"open-gop=1:{GOP_8}:log-level=none"}, "pts": LONG},
    ),
    "intra refresh": ("a.mp4", {"options": {"x264-params": "intra-refresh=1:keyint=10:bframes=0"}, "pts": LONG}),
    "mpeg-ts": ("a.ts", {"pts": range(60), "time_base": Fraction(1, 25)}),
    "mpeg-2": ("a.mpg", {"encoder": "mpeg2video", "pts": range(40), "time_base": Fraction(1, 25)}),
    "bare": ("a.h264", {"pts": range(40), "time_base": Fraction(1, 25)}),
    "avi": ("a.avi", {"pts": range(40), "time_base": Fraction(1, 25)}),
    "vp9": ("a.webm", {"encoder": "libvpx-vp9", "pts": range(0, 2000, 50), "time_base": Fraction(1, 1000)}),
    "one gop": ("a.mp4", {"gop": 250, "pts": LONG}),
}


def in_order(clip: ClipSource) -> list[bytes]:
    with ClipReader(clip) as reader:
        found = [fingerprint(picture.native) for picture in reader.frames()]
        assert reader.seeks == 1  # nothing but the start
        assert reader.decoded == clip.frames
    return found


@pytest.mark.parametrize("kind", STREAMS)
def test_random_access_gives_the_frames_of_sequential_reading(tmp_path: Path, kind: str) -> None:
    name, changes = STREAMS[kind]
    clip = probe(make_clip(tmp_path / name, **changes), digest="d")
    expected = in_order(clip)
    assert len(set(expected)) == clip.frames
    chosen = random.Random(7)
    with ClipReader(clip) as reader:
        for _ in range(25):
            index = chosen.randrange(clip.frames)
            reader._kept.clear()  # nothing may come from the cache
            picture = reader.picture(index)
            assert fingerprint(picture.native) == expected[index], index
            assert (picture.index, picture.pts) == (index, clip.pts[index])


def test_the_frames_are_the_ones_that_went_in(tmp_path: Path) -> None:
    clip = probe(
        make_clip(tmp_path / "a.mkv", encoder="ffv1", time_base=Fraction(1, 1000), pts=range(0, 400, 40)), digest="d"
    )
    assert in_order(clip) == [fingerprint(native_frame(index, (96, 64), "yuv420p")) for index in range(10)]


def test_wrong_sync_frames_cost_time_but_never_give_a_wrong_frame(tmp_path: Path) -> None:
    clip = probe(make_clip(tmp_path / "a.mp4", pts=LONG, gop=20), digest="d")
    expected = in_order(clip)
    lying = replace(clip, sync_frames=tuple(range(clip.frames)))
    with ClipReader(lying) as reader:
        for index in (33, 7, 59, 20, 19):
            reader._kept.clear()
            assert fingerprint(reader.picture(index).native) == expected[index]


def test_a_seek_that_lands_late_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = probe(make_clip(tmp_path / "a.mp4", pts=LONG, gop=10), digest="d")
    expected = in_order(clip)
    shifted = replace(clip, sync_frames=(0, 5, 15, 25, 35, 45, 55))
    with ClipReader(shifted) as reader:
        real = reader._start_at

        def late(sync: int) -> None:
            real(sync)
            if sync and reader._running is not None:
                for _ in range(12):
                    next(reader._running)

        monkeypatch.setattr(reader, "_start_at", late)
        assert fingerprint(reader.picture(38).native) == expected[38]
        assert reader.seeks > 1


def test_near_reads_seek_once(tmp_path: Path) -> None:
    clip = probe(make_clip(tmp_path / "a.mp4", pts=LONG, gop=60), digest="d")
    with ClipReader(clip) as reader:
        for index in (30, 31, 30, 29, 28, 32, 33, 25, 34):
            reader.picture(index)
        assert reader.seeks == 1
        assert reader.decoded == 35


def test_the_cache_is_bounded(tmp_path: Path) -> None:
    clip = probe(make_clip(tmp_path / "a.mp4", pts=LONG), digest="d")
    with ClipReader(clip) as reader:
        for _ in reader.frames():
            assert len(reader._kept) <= KEPT_FRAMES


def test_spans_may_be_read_in_turns(tmp_path: Path) -> None:
    clip = probe(make_clip(tmp_path / "a.mp4", pts=LONG), digest="d")
    expected = in_order(clip)
    with ClipReader(clip) as reader:
        one, other = reader.frames(FrameSpan(0, 20)), reader.frames(FrameSpan(30, 50))
        for index, (first, second) in enumerate(zip(one, other, strict=True)):
            assert fingerprint(first.native) == expected[index]
            assert fingerprint(second.native) == expected[30 + index]


def test_rgb_is_upright_and_right(tmp_path: Path) -> None:
    orientation = Orientation(1, True)
    path = make_clip(
        tmp_path / "a.mkv",
        encoder="ffv1",
        pixel_format="yuv444p",
        display_matrix=orientation.to_display_matrix(),
        time_base=Fraction(1, 1000),
        pts=[0, 40],
        colour={"colorspace": 1, "color_range": 1},
    )
    clip = probe(path, digest="d")
    with ClipReader(clip) as reader:
        picture = reader.picture(1)
        rgb, small = picture.rgb(), picture.rgb((32, 48))
    y, u, v = (np.asarray(plane).astype(float) for plane in _planes(native_frame(1, (96, 64), "yuv444p")))
    luma, blue, red = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224  # ITU-T H.273, limited range, BT.709
    expected = np.stack([luma + 1.5748 * red, luma - 0.1873 * blue - 0.4681 * red, luma + 1.8556 * blue], axis=2).clip(
        0, 1
    )
    expected = orientation.apply(expected)
    assert rgb.shape == (96, 64, 3)
    assert np.abs(rgb / 255 - expected).max() < 2.5 / 255
    assert small.shape == (48, 32, 3)


def _planes(frame: Any) -> list[np.ndarray[Any, Any]]:
    from tests.media.clips import samples

    return samples(frame)


@pytest.mark.parametrize("full", [False, True])
def test_the_range_of_the_source_is_heard(tmp_path: Path, full: bool) -> None:
    path = make_clip(
        tmp_path / "a.mkv", encoder="ffv1", pixel_format="gray", time_base=Fraction(1, 1000), pts=[0, 40],
        colour={"color_range": 2 if full else 1},
    )  # fmt: skip
    clip = probe(path, digest="d")
    assert clip.colour.full_range == full
    with ClipReader(clip) as reader:
        picture = reader.picture(0)
        top = int(np.asarray(_planes(picture.native)[0]).max())
        assert abs(int(picture.rgb().max()) - round(top if full else (top - 16) * 255 / 219)) <= 1


def test_pictures_are_read_by_number(tmp_path: Path) -> None:
    for number in range(12):
        write_picture(tmp_path / f"{number}.png", number)
    clip = probe(tmp_path, digest="d", frame_rate=Fraction(10))
    with ClipReader(clip) as reader:
        for index in (11, 3, 10):
            native = to_working(reader.picture(index).native, clip.colour)
            assert fingerprint(native) == fingerprint(native_frame(index, (32, 24), "gbrp"))
    (tmp_path / "5.png").unlink()
    with ClipReader(clip) as reader, pytest.raises(SourceChanged, match="11 pictures"):
        reader.picture(0)


def test_a_vanished_or_exchanged_file_is_said(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", pts=LONG)
    clip = probe(path, digest="d")
    make_clip(path, pts=[100 * index for index in range(60)])
    with ClipReader(clip) as reader, pytest.raises(SourceChanged, match=r"a\.mp4"):
        reader.picture(40)
    path.unlink()
    with ClipReader(clip) as reader, pytest.raises(SourceMissing):
        reader.picture(0)


def test_a_number_outside_the_clip(tmp_path: Path) -> None:
    clip = probe(make_clip(tmp_path / "a.mp4"), digest="d")
    with ClipReader(clip) as reader, pytest.raises(IndexError, match="0 to 19"):
        reader.picture(20)


@needs_footage
@pytest.mark.parametrize("name", ["clips/nasa.mp4", "clips/bikes.mp4"])
def test_real_clips_at_random(name: str) -> None:
    clip = probe(FOOTAGE / name, digest="d")
    expected = in_order(clip)
    chosen = random.Random(3)
    with ClipReader(clip) as reader:
        for _ in range(8):
            index = chosen.randrange(clip.frames)
            assert fingerprint(reader.picture(index).native) == expected[index]
