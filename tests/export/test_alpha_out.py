"""Mattes and cut-outs read back with PyAV, PIL, OpenEXR and OpenTimelineIO: alpha, colour, times."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tam_edit.errors import MaskSizeMismatch, OutputError
from tam_edit.media.alpha import write_grey, ycc
from tam_edit.pipelines.export.pictures import linear_light
from tests.export.scenes import FRAMES, PTS, SIZE, clip, label_map, matte, picture, write

# A quarter of the pixels is soft, inside is whole and outside is far enough to be black.
SOFT = [(matte(i) > 0) & (matte(i) < 1) for i in range(FRAMES)]
NEAR = 8


def frames_of(path: Path, decoder: str | None = None) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if decoder is None:
            yield from container.decode(stream)
            return
        coder: Any = av.CodecContext.create(decoder, "r")
        for packet in container.demux(stream):
            yield from coder.decode(packet if packet.size else None)


def plane(frame: av.VideoFrame, index: int, kind: type) -> np.ndarray:
    found: Any = frame.planes[index]
    rows = np.frombuffer(found, kind).reshape(-1, found.line_size // np.dtype(kind).itemsize)
    return rows[: frame.height, : frame.width]


def rgb(frame: av.VideoFrame) -> np.ndarray:
    return frame.reformat(format="rgb24", src_colorspace=frame.colorspace).to_ndarray().astype(int)


def test_a_matte_in_matroska_is_exact(tmp_path: Path) -> None:
    result = write("matte", tmp_path / "m.mkv", matte=matte)
    found = list(frames_of(result.paths[0]))
    assert len(found) == FRAMES
    for index, frame in enumerate(found):
        assert frame.format.name == "gray"
        assert np.array_equal(plane(frame, 0, np.uint8), np.rint(matte(index) * 255))
    assert "milliseconds" in result.warnings[0]
    plain = write("matte", tmp_path / "plain.mkv", clip=clip(tuple(range(0, 280, 40)), Fraction(1, 1000)))
    assert plain.warnings == (), "its times fit"
    for index, frame in enumerate(frames_of(plain.paths[0])):
        assert np.array_equal(plane(frame, 0, np.uint8) == 255, label_map(index) > 0)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_matte_in_mp4_is_nearly_exact_and_keeps_times(tmp_path: Path, suffix: str) -> None:
    result = write("matte", tmp_path / f"m{suffix}", matte=matte)
    assert result.warnings == ()
    found = list(frames_of(result.paths[0]))
    assert [frame.pts * frame.time_base for frame in found] == [Fraction(stamp, 30000) for stamp in PTS]
    for index, frame in enumerate(found):
        assert np.abs(plane(frame, 0, np.uint8) - matte(index) * 255).max() <= 6
    hard = write("matte", tmp_path / f"hard{suffix}")
    for index, frame in enumerate(frames_of(hard.paths[0])):
        assert np.array_equal(plane(frame, 0, np.uint8) > 127, label_map(index) > 0)
    with av.open(str(result.paths[0])) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        assert sum(packet.duration * packet.time_base for packet in packets) == Fraction(7107 + 1001 - 1001, 30000)


def test_even_sizes_take_the_format_that_everything_plays(tmp_path: Path) -> None:
    source = clip(size_wh=(64, 48))
    write_grey(tmp_path / "even.mp4", source, (np.full((48, 64), 30 * i, np.uint8) for i in range(FRAMES)))
    found = list(frames_of(tmp_path / "even.mp4"))
    assert found[0].format.name in ("yuvj420p", "yuv420p")
    assert [int(plane(frame, 0, np.uint8).mean().round()) for frame in found] == [30 * i for i in range(FRAMES)]
    for count in (FRAMES - 1, FRAMES + 1):
        with pytest.raises(OutputError, match=r"(6|more than the clip's 7) "):
            write_grey(tmp_path / "bad.mp4", source, (np.zeros((48, 64), np.uint8) for _ in range(count)))


def test_prores_has_straight_alpha_and_the_clips_times(tmp_path: Path) -> None:
    (file,) = write("prores4444", tmp_path / "p.mov", matte=matte).paths
    found = list(frames_of(file))
    assert [frame.pts * frame.time_base for frame in found] == [Fraction(stamp, 30000) for stamp in PTS]
    with av.open(str(file)) as container:
        assert container.streams.video[0].codec_context.codec_tag == "ap4h"
    for index, frame in enumerate(found):
        assert frame.format.name.startswith("yuva444p1")
        top = 4095 if "12" in frame.format.name else 1023
        alpha = plane(frame, 3, np.uint16) / top
        assert np.abs(alpha - matte(index)).max() < 1 / 1000
        # Straight: on the soft edge too, colour is the picture's own and not darkened by alpha.
        error = np.abs(rgb(frame) - picture(index))
        assert error[SOFT[index]].max() <= 12 and error[matte(index) == 1].mean() < 2
        assert rgb(frame)[:, 90:][matte(index)[:, 90:] == 0].max() <= 3 or index > 4, "nothing of the background"
    hard = write("prores4444", tmp_path / "hard.mov").paths[0]
    for index, frame in enumerate(frames_of(hard)):
        assert np.array_equal(plane(frame, 3, np.uint16) > 500, label_map(index) > 0)


def test_webm_has_straight_alpha_that_libvpx_reads(tmp_path: Path) -> None:
    result = write("webm-alpha", tmp_path / "v.webm", matte=matte)
    assert "milliseconds" in result.warnings[0]
    with av.open(str(result.paths[0])) as container:
        assert container.streams.video[0].metadata["alpha_mode"] == "1"
    found = list(frames_of(result.paths[0], "libvpx-vp9"))
    assert [frame.pts for frame in found] == [round(stamp / 30) for stamp in PTS]
    for index, frame in enumerate(found):
        assert frame.format.name == "yuva420p"
        alpha = plane(frame, 3, np.uint8) / 255
        assert np.abs(alpha - matte(index)).max() < 0.1
        assert np.abs(rgb(frame) - picture(index))[SOFT[index]].mean() < 6, "straight: not darkened"
    hard = write("webm-alpha", tmp_path / "hard.webm").paths[0]
    for index, frame in enumerate(frames_of(hard, "libvpx-vp9")):
        assert np.array_equal(plane(frame, 3, np.uint8) > 127, label_map(index) > 0)


def test_png_has_straight_alpha_and_nothing_of_the_background(tmp_path: Path) -> None:
    (folder,) = write("png", tmp_path / "png", matte=matte).paths
    for index in range(FRAMES):
        with Image.open(folder / f"{index:05}.png") as read:
            assert read.mode == "RGBA"
            rgba = np.array(read)
        assert np.array_equal(rgba[:, :, 3], np.rint(matte(index) * 255))
        shown = matte(index) > 0
        assert np.array_equal(rgba[shown][:, :3], picture(index)[shown])
        far = np.ones_like(shown)
        for y, x in np.argwhere(shown):
            far[max(0, y - NEAR) : y + NEAR + 1, max(0, x - NEAR) : x + NEAR + 1] = False
        assert far.any() and not rgba[far].any()
        assert rgba[~far & ~shown][:, :3].any(), "a scaler finds colour beyond the edge"


def test_exr_is_premultiplied_linear_light(tmp_path: Path) -> None:
    OpenEXR = pytest.importorskip("OpenEXR")
    (folder,) = write("exr", tmp_path / "exr", matte=matte).paths
    assert len(list(folder.iterdir())) == FRAMES
    for index in (0, 3):
        with OpenEXR.File(str(folder / f"{index:05}.exr")) as read:
            pixels = read.channels()["RGBA"].pixels
        assert pixels.dtype == np.float16 and pixels.shape == (SIZE[1], SIZE[0], 4)
        found = pixels.astype(np.float64)
        assert np.abs(found[:, :, 3] - matte(index)).max() < 1 / 1024, "a half float's step"
        value = picture(index) / 255
        light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
        assert np.abs(found[:, :, :3] - light * matte(index)[:, :, None]).max() < 1e-3
        assert not found[matte(index) == 0].any()
    hard = write("exr", tmp_path / "hard").paths[0]
    with OpenEXR.File(str(hard / "00002.exr")) as read:
        assert np.array_equal(read.channels()["RGBA"].pixels[:, :, 3] == 1, label_map(2) > 0)
    assert (np.diff(linear_light()) > 0).all() and linear_light()[-1] == 1


def test_timelines_open_in_opentimelineio_with_the_matte_beside(tmp_path: Path) -> None:
    otio = pytest.importorskip("opentimelineio")
    steady = clip(tuple(range(0, FRAMES * 1001, 1001)))
    result = write("otio", tmp_path / "cut.otio", clip=steady, matte=matte)
    assert [path.name for path in result.paths] == ["cut.otio", "cut.matte.mov"] and not result.warnings
    timeline = otio.adapters.read_from_file(str(result.paths[0]))
    pictures, mattes = timeline.video_tracks()
    assert (pictures.name, mattes.name) == ("picture", "matte")
    assert mattes.metadata["tam-edit"]["role"] == "matte"
    rate = 30000 / 1001
    for track in (pictures, mattes):
        (found,) = track
        assert found.source_range == found.media_reference.available_range
        assert found.source_range.duration == otio.opentime.RationalTime(FRAMES, rate)
    assert pictures[0].media_reference.target_url == "file:///nowhere/source%20clip.mp4"
    beside = tmp_path / mattes[0].media_reference.target_url
    assert len(list(frames_of(beside))) == FRAMES
    varying = write("otio", tmp_path / "varying.otio")
    assert "varies" in varying.warnings[0]
    span = otio.adapters.read_from_file(str(varying.paths[0])).video_tracks()[0][0].source_range
    assert (span.start_time.value, span.duration.value, span.duration.rate) == (1001, 7107, 30000)


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    for format, name in (("prores4444", "a.mov"), ("webm-alpha", "a.webm"), ("matte", "a.mp4"), ("matte", "a.mkv")):
        first = write(format, tmp_path / name, matte=matte).paths[0].read_bytes()
        assert write(format, tmp_path / name, matte=matte).paths[0].read_bytes() == first, name


def test_a_matte_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MaskSizeMismatch, match="frame 0 is 5x4"):
        write("png", tmp_path / "out", matte=lambda _: np.zeros((4, 5), np.float32))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("matrix", "luma"), [(1, (0.2126, 0.7152, 0.0722)), (6, (0.299, 0.587, 0.114))])
def test_colours_become_the_ycbcr_of_the_standard(matrix: int, luma: tuple[float, float, float]) -> None:
    corners = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255]]], np.uint8)
    y, blue, red = ycc(corners, matrix, 10)
    assert y[0].tolist() == [64, 940, 64 + round(876 * luma[0]), 64 + round(876 * luma[2])]
    assert blue[0, [0, 1, 3]].tolist() == [512, 512, 960]
    assert red[0, [0, 1, 2]].tolist() == [512, 512, 960]
