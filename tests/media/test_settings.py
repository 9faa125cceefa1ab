"""What `choose` settles, and what it says aloud."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from tam_edit.clip import ClipSource, ColourTags
from tam_edit.errors import ContainerUnknown, UsageError
from tam_edit.media.settings import EncodeSettings, choose
from tests.test_clip import source

PLAIN = replace(
    source(), pixel_format="yuv420p", bit_depth=8, coded_wh=(640, 360), size_wh=(360, 640), colour=ColourTags(1, 1, 1)
)


def clip(pixel_format: str = "yuv420p", coded_wh: tuple[int, int] = (640, 360)) -> ClipSource:
    size_wh = (coded_wh[1], coded_wh[0])
    return replace(PLAIN, pixel_format=pixel_format, coded_wh=coded_wh, size_wh=size_wh)


@pytest.mark.parametrize(
    ("pixel_format", "output", "lossless", "codec", "stored", "said"),
    [
        ("yuv420p", "o.mp4", False, "h264", "yuv420p", 0),
        ("yuvj420p", "o.mp4", False, "h264", "yuv420p", 0),
        ("nv12", "o.mov", False, "h264", "yuv420p", 0),
        ("yuv422p", "o.mkv", False, "h264", "yuv422p", 0),
        ("yuv420p10le", "o.mp4", False, "hevc", "yuv420p10le", 0),
        ("p010le", "o.m4v", False, "hevc", "yuv420p10le", 0),
        ("yuv422p10le", "o.mkv", False, "hevc", "yuv422p10le", 0),
        ("yuv444p12le", "o.mp4", False, "hevc", "yuv444p12le", 0),
        ("yuv420p", "o.webm", False, "vp9", "yuv420p", 0),
        ("yuv420p10le", "o.webm", False, "av1", "yuv420p10le", 0),
        ("yuv440p", "o.mp4", False, "h264", "yuv444p", 1),
        ("yuv411p", "o.mp4", False, "h264", "yuv422p", 1),
        ("gbrp", "o.mp4", False, "h264", "yuv420p", 1),
        ("gray", "o.mp4", False, "h264", "yuv420p", 0),
        ("yuva420p", "o.mp4", False, "h264", "yuv420p", 1),
        ("yuv420p", "o.mkv", True, "ffv1", "yuv420p", 0),
        ("yuv444p10le", "o.mkv", True, "ffv1", "yuv444p10le", 0),
        ("yuva420p", "o.mkv", True, "ffv1", "yuva420p", 0),
        ("rgb24", "o.mkv", True, "ffv1", "bgr0", 0),
        ("rgba", "o.mkv", True, "ffv1", "bgra", 0),
        ("yuv420p", "o.mp4", True, "h264", "yuv420p", 0),
        ("yuv420p10le", "o.mp4", True, "hevc", "yuv420p10le", 0),
        ("rgb24", "o.mp4", True, "hevc", "gbrp", 0),
        ("yuv440p", "o.mp4", True, "h264", "yuv444p", 2),
    ],
)
def test_codec_and_format(pixel_format: str, output: str, lossless: bool, codec: str, stored: str, said: int) -> None:
    settings = choose(clip(pixel_format), output, lossless)
    assert (settings.codec, settings.pixel_format, len(settings.warnings)) == (codec, stored, said)
    assert not settings.upright


def test_odd_sizes() -> None:
    odd = clip(coded_wh=(101, 57))
    settings = choose(odd, "o.mp4")
    assert (settings.codec, settings.pixel_format) == ("h264", "yuv444p")
    assert "yuv444p" in settings.warnings[0]
    assert choose(odd, "o.webm").pixel_format == "yuv420p"
    assert choose(odd, "o.mkv", lossless=True).pixel_format == "yuv420p"
    kept = choose(odd, "o.mp4", lossless=True)
    assert (kept.codec, kept.pixel_format, kept.warnings) == ("vp9", "yuv420p", ())


@pytest.mark.parametrize("name", ["o.xyz", "o.gif", "frames/%05d.exr"])
def test_unknown_containers_are_named_with_what_works(name: str) -> None:
    with pytest.raises(ContainerUnknown, match=r"\.mp4.*\.mkv.*\.webm"):
        choose(clip(), name)


def test_a_codec_the_container_cannot_hold() -> None:
    with pytest.raises(ContainerUnknown, match=r"\.mkv"):
        choose(clip(), "o.mp4", codec="ffv1")
    with pytest.raises(UsageError, match="h264"):
        choose(clip(), "o.mp4", codec="cinepak")
    with pytest.raises(UsageError, match="lossless"):
        choose(clip(), "o.mov", codec="prores", lossless=True)


def test_crf_is_checked() -> None:
    assert choose(clip(), "o.mp4", crf=30).crf == 30
    assert dict(choose(clip(), "o.mp4", crf=30).options)["crf"] == "30"
    with pytest.raises(UsageError, match="51"):
        choose(clip(), "o.mp4", crf=52)
    assert "crf" in choose(clip(), "o.mkv", lossless=True, crf=3).warnings[0]


@pytest.mark.parametrize(
    ("output", "pattern"), [("frames/", "%05d.png"), ("frames", "%05d.png"), ("f/%04d.tif", "%04d.tif")]
)
def test_pictures(output: str, pattern: str) -> None:
    settings = choose(clip("yuv420p10le"), output)
    assert (settings.kind, settings.pattern, settings.upright) == ("pictures", pattern, True)
    assert settings.pixel_format in {"rgb48be", "rgb48le"}


def test_a_folder_that_exists_is_for_pictures(tmp_path: Path) -> None:
    assert choose(clip(), tmp_path).kind == "pictures"


def test_rgb_becomes_yuv_with_a_matrix_that_is_said() -> None:
    settings = choose(replace(clip("rgb24"), colour=ColourTags(0, 2, 2, True)), "o.mp4")
    assert settings.colour == ColourTags(6, 2, 2, full_range=False, range_tagged=True)


def test_settings_are_plain_values() -> None:
    one, other = choose(clip(), "a.mp4"), choose(clip(), "elsewhere/b.mp4")
    assert one == other
    assert hash(one) == hash(other)
    assert {field.name for field in fields(EncodeSettings)} >= {"codec", "pixel_format", "chunk_frames", "upright"}
