"""Compositing: what is not replaced keeps every bit, what is replaced has the right colour, in every layout."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tam_edit.clip import ClipSource, Orientation
from tam_edit.media.join import join
from tam_edit.media.layouts import layout_of, to_working, working_format
from tam_edit.media.planes import blend, untouched, whole
from tam_edit.media.probe import probe
from tam_edit.media.reader import ClipReader, Picture
from tam_edit.media.segments import encode_segment
from tam_edit.media.settings import choose
from tests.media.clips import fingerprint, make_clip, samples

PLANAR = [
    f"yuv{chroma}p{depth}" for depth in ("", "10le") for chroma in ("420", "422", "444")
] + ["yuv440p", "yuv411p", "yuv420p12le", "gray", "gray10le", "gbrp10le", "yuva420p"]  # fmt: skip
ORIENTATIONS = [Orientation(), Orientation(1), Orientation(3, True), Orientation(2)]


def lossless_clip(
    folder: Path,
    pixel_format: str,
    wh: tuple[int, int] = (96, 64),
    orientation: Orientation | None = None,
    colour: dict[str, int] | None = None,
    frames: int = 4,
) -> ClipSource:
    path = make_clip(
        folder / "source.mkv",
        encoder="ffv1",
        pixel_format=pixel_format,
        size_wh=wh,
        time_base=Fraction(1, 1000),
        pts=range(0, 40 * frames, 40),
        display_matrix=orientation.to_display_matrix() if orientation and not orientation.is_identity else None,
        colour=colour or {"colorspace": 1, "color_range": 1},
    )
    clip = probe(path, digest="d")
    assert clip.pixel_format == pixel_format
    return clip


def pictures(clip: ClipSource) -> list[Picture]:
    with ClipReader(clip) as reader:
        return list(reader.frames())


def feathered(height: int, width: int) -> NDArray[np.float32]:
    """1 inside, a ramp, and a border of exact zeros."""
    y = np.minimum(np.arange(height), np.arange(height)[::-1])
    x = np.minimum(np.arange(width), np.arange(width)[::-1])
    return np.clip((np.minimum.outer(y, x) - 2) / 4, 0, 1).astype(np.float32)


def covered(alpha: NDArray[np.float32], at_xy: tuple[int, int], clip: ClipSource, index: int) -> NDArray[np.bool_]:
    """Which samples of a coded plane have a pixel with alpha above 0, by brute force."""
    layout = layout_of(clip.pixel_format)
    upright = np.zeros(clip.size_wh[::-1], np.float32)
    x, y = at_xy
    upright[y : y + alpha.shape[0], x : x + alpha.shape[1]] = alpha
    coded = clip.orientation.undo(upright)
    if layout.family != "yuv" or index in (0, 3):
        return coded > 0
    step_x, step_y = 1 << layout.shift_x, 1 << layout.shift_y
    height, width = -(-coded.shape[0] // step_y), -(-coded.shape[1] // step_x)
    return np.array(
        [
            [coded[r * step_y : (r + 1) * step_y, c * step_x : (c + 1) * step_x].max() > 0 for c in range(width)]
            for r in range(height)
        ]
    )


@pytest.mark.parametrize("wh", [(96, 64), (101, 57)])
@pytest.mark.parametrize("pixel_format", PLANAR)
def test_lossless_round_trip_keeps_every_bit_outside(tmp_path: Path, pixel_format: str, wh: tuple[int, int]) -> None:
    orientation = ORIENTATIONS[(PLANAR.index(pixel_format) + wh[0]) % 4]
    clip = lossless_clip(tmp_path, pixel_format, wh, orientation)
    destination = tmp_path / "result.mkv"
    settings = choose(clip, destination, lossless=True)
    assert (settings.codec, settings.pixel_format, settings.warnings) == ("ffv1", pixel_format, ())
    alpha, at_xy = feathered(21, 27), (11, 8)
    fill = np.random.default_rng(1).integers(0, 256, (21, 27, 3), dtype=np.uint8)
    frames = [blend(picture, fill, alpha, at_xy, clip, settings.pixel_format) for picture in pictures(clip)]
    blobs = [
        encode_segment(frames[:2], settings, clip, clip.pts[:2]),
        encode_segment(frames[2:], settings, clip, clip.pts[2:]),
    ]
    join(blobs, clip, settings, destination)
    result = probe(destination, digest="r")
    assert (result.pts, result.size_wh, result.orientation) == (clip.pts, clip.size_wh, clip.orientation)
    assert result.colour == clip.colour
    for before, after in zip(pictures(clip), pictures(result), strict=True):
        for index, (old, new) in enumerate(zip(samples(before.native), samples(after.native), strict=True)):
            inside = covered(alpha, at_xy, clip, index)
            np.testing.assert_array_equal(old[~inside], new[~inside])
            if index < layout_of(pixel_format).colour_planes:
                assert (old[inside] != new[inside]).mean() > 0.5
            else:
                np.testing.assert_array_equal(old, new)  # the source's own transparency


@pytest.mark.parametrize("pixel_format", PLANAR)
def test_untouched_pictures_stay_bit_for_bit(tmp_path: Path, pixel_format: str) -> None:
    clip = lossless_clip(tmp_path, pixel_format, (101, 57))
    for picture in pictures(clip):
        assert fingerprint(untouched(picture, clip, pixel_format)) == fingerprint(picture.native)
        empty = np.zeros((9, 9), np.float32)
        same = blend(picture, np.full((9, 9, 3), 99, np.uint8), empty, (3, 3), clip, pixel_format)
        assert fingerprint(same) == fingerprint(picture.native)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le", "yuv444p", "yuv411p", "gbrp10le", "yuv420p12le"])
@pytest.mark.parametrize("wh", [(96, 64), (101, 57)])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_flat_colour_comes_back_flat(
    tmp_path: Path, pixel_format: str, wh: tuple[int, int], orientation: Orientation
) -> None:
    clip = lossless_clip(tmp_path, pixel_format, wh, orientation, frames=2)
    picture = pictures(clip)[0]
    flat = np.empty((*clip.size_wh[::-1], 3), np.uint8)
    flat[:] = (200, 90, 30)
    made = Picture(0, 0, whole(picture, flat, clip, pixel_format), clip, picture._reformatter)
    assert np.abs(made.rgb().astype(int) - flat).max() <= 2


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 7, 9])
@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv444p10le"])
def test_our_matrices_are_swscales(tmp_path: Path, pixel_format: str, matrix: int, full: bool) -> None:
    colour = {"colorspace": matrix, "color_range": 2 if full else 1}
    clip = lossless_clip(tmp_path, pixel_format, colour=colour, frames=2)
    assert (clip.matrix, clip.colour.full_range) == (matrix, full)
    picture = pictures(clip)[0]
    rgb = np.random.default_rng(2).integers(20, 236, (64, 96, 3), dtype=np.uint8)
    made = Picture(0, 0, whole(picture, rgb, clip, pixel_format), clip, picture._reformatter)
    assert np.abs(made.rgb().astype(int) - rgb).max() <= 2


def test_fills_of_every_kind_agree(tmp_path: Path) -> None:
    clip = lossless_clip(tmp_path, "yuv444p10le", frames=2)
    picture = pictures(clip)[0]
    eight = np.random.default_rng(3).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    made = [
        fingerprint(whole(picture, fill, clip, "yuv444p10le"))
        for fill in (eight, eight.astype(np.uint16) * 257, eight.astype(np.float32) / 255)
    ]
    assert made[0] == made[1] == made[2]


def test_half_alpha_is_half_way(tmp_path: Path) -> None:
    clip = lossless_clip(tmp_path, "yuv444p", frames=2)
    picture = pictures(clip)[0]
    fill = np.full((64, 96, 3), 255, np.uint8)
    half = np.full((64, 96), 0.5, np.float32)
    old, new = samples(picture.native)[0], samples(blend(picture, fill, half, (0, 0), clip, "yuv444p"))[0]
    assert np.abs(new - (old.astype(float) + 235) / 2).max() <= 0.51


def test_subsampled_chroma_takes_the_mean_alpha(tmp_path: Path) -> None:
    clip = lossless_clip(tmp_path, "yuv420p", frames=2)
    picture = pictures(clip)[0]
    alpha = np.zeros((64, 96), np.float32)
    alpha[20, 30] = 1.0  # one of the four pixels of one chroma sample
    red = np.zeros((64, 96, 3), np.uint8)
    red[..., 0] = 255
    old, new = samples(picture.native), samples(blend(picture, red, alpha, (0, 0), clip, "yuv420p"))
    changed = np.argwhere(old[2] != new[2])
    assert changed.tolist() == [[10, 15]]
    assert abs(new[2][10, 15] - (0.75 * old[2][10, 15] + 0.25 * 240)) <= 0.51
    assert np.argwhere(old[0] != new[0]).tolist() == [[20, 30]]


def test_garbage_under_zero_alpha_does_not_bleed(tmp_path: Path) -> None:
    clip = lossless_clip(tmp_path, "yuv420p", frames=2)
    picture = pictures(clip)[0]
    alpha = np.zeros((20, 20), np.float32)
    alpha[5:15, 5:15] = 1.0
    clean = np.full((20, 20, 3), 120, np.uint8)
    dirty = clean.copy()
    dirty[alpha == 0] = (255, 0, 255)
    one = blend(picture, clean, alpha, (31, 17), clip, "yuv420p")
    other = blend(picture, dirty, alpha, (31, 17), clip, "yuv420p")
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize("at_xy", [(-5, -7), (90, 60), (500, 3), (-30, 0)])
def test_parts_beyond_the_edge_are_left_out(tmp_path: Path, at_xy: tuple[int, int]) -> None:
    clip = lossless_clip(tmp_path, "yuv420p", (101, 57), Orientation(1), frames=2)
    picture = pictures(clip)[0]
    fill, alpha = np.full((20, 20, 3), 200, np.uint8), np.ones((20, 20), np.float32)
    canvas = np.zeros((100 + clip.size_wh[1], 100 + clip.size_wh[0]), np.float32)
    x, y = at_xy[0] + 50, at_xy[1] + 50
    canvas[max(y, 0) : max(y + 20, 0), max(x, 0) : max(x + 20, 0)] = 1.0
    inner = canvas[50 : 50 + clip.size_wh[1], 50 : 50 + clip.size_wh[0]].copy()
    expected = blend(picture, np.full((*inner.shape, 3), 200, np.uint8), inner, (0, 0), clip, "yuv420p")
    assert fingerprint(blend(picture, fill, alpha, at_xy, clip, "yuv420p")) == fingerprint(expected)


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    clip = lossless_clip(tmp_path, "yuv420p", frames=2)
    with pytest.raises(ValueError, match="one size"):
        blend(pictures(clip)[0], np.zeros((4, 4, 3), np.uint8), np.ones((4, 5), np.float32), (0, 0), clip, "yuv420p")


@pytest.mark.parametrize(
    ("pixel_format", "through"),
    [
        ("yuv420p", "nv12"), ("yuv420p", "nv21"), ("yuv422p", "nv16"), ("yuv444p", "nv24"),
        ("yuv420p10le", "p010le"), ("yuv422p10le", "p210le"), ("yuv444p10le", "p410le"),
        ("yuv422p", "yuyv422"), ("yuv422p", "uyvy422"),
        ("gbrp", "rgb24"), ("gbrp", "bgr0"), ("gbrap", "rgba"), ("gbrap", "argb"), ("gbrp16le", "rgb48le"),
        ("gbrp16le", "rgb48be"), ("gray16le", "gray16be"),
    ],
)  # fmt: skip
def test_packed_formats_become_planar_without_loss(pixel_format: str, through: str) -> None:
    from tam_edit.clip import ColourTags
    from tests.media.clips import native_frame

    planar = native_frame(3, (98, 58), pixel_format)
    colour = ColourTags(matrix=1)
    # One thread: packing 4:2:2, swscale writes past the end of a row, and so over what another thread made of the next.
    packed = planar.reformat(format=through, src_colorspace=1, dst_colorspace=1, threads=1)
    assert working_format(through) == pixel_format
    assert fingerprint(to_working(packed, colour)) == fingerprint(planar)


def test_upright_frames_for_containers_without_rotation(tmp_path: Path) -> None:
    clip = lossless_clip(tmp_path, "yuv420p", (96, 64), Orientation(1, True), frames=2)
    picture = pictures(clip)[0]
    turned = untouched(picture, clip, "yuv420p", upright=True)
    assert (turned.width, turned.height) == clip.size_wh
    for old, new in zip(samples(picture.native), samples(turned), strict=True):
        np.testing.assert_array_equal(clip.orientation.apply(old), new)
