"""The pixel aspect in Matroska and WebM, for codecs that tell none themselves, and where it stands in the file."""

from __future__ import annotations

import mmap
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tam_edit.errors import OutputError
from tam_edit.media import matroska
from tam_edit.media.alpha import write_grey
from tam_edit.media.probe import probe
from tests.media.clips import make_clip
from tests.media.test_join import packets, remake


@pytest.mark.parametrize(
    ("name", "wishes"),
    [
        ("r.mkv", {"lossless": True}),
        ("r.mkv", {"codec": "h264"}),
        ("r.mkv", {"codec": "vp9"}),
        ("r.webm", {"codec": "vp9"}),
    ],
)
@pytest.mark.parametrize("aspect", [Fraction(16, 11), Fraction(8, 9)])
def test_the_aspect_is_kept(tmp_path: Path, name: str, wishes: dict[str, object], aspect: Fraction) -> None:
    clip, result, joined = remake(make_clip(tmp_path / "a.mp4", sample_aspect=aspect), tmp_path / name, **wishes)
    assert clip.sample_aspect == result.sample_aspect == aspect
    assert (joined.warnings, result.frames) == ((), clip.frames)
    with av.open(str(tmp_path / name)) as made:
        assert "stereo_mode" not in made.streams.video[0].metadata


def test_its_checksum_fits_and_square_pixels_change_nothing(tmp_path: Path) -> None:
    for name, aspect in (("a", Fraction(4, 3)), ("b", Fraction(1))):
        path = make_clip(tmp_path / f"{name}.mp4", sample_aspect=aspect, sound=1)
        remake(path, tmp_path / f"{name}.mkv", lossless=True)
        with (
            (tmp_path / f"{name}.mkv").open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held,
        ):
            segment = matroska._find(held, matroska.Element(0, 0, len(held)), matroska.SEGMENT)
            tracks = matroska._find(held, segment, matroska.TRACKS)
            check = next(matroska._elements(held, tracks))
            assert check.id == matroska.CRC
            assert held[check.start : check.stop] == zlib.crc32(held[check.stop : tracks.stop]).to_bytes(4, "little")
            video = matroska._find(held, matroska._find(held, tracks, matroska.TRACK), matroska.VIDEO)
            names = [element.id for element in matroska._elements(held, video)]
            assert (matroska.DISPLAY_WIDTH in names) == (aspect != 1) and matroska.STEREO_MODE not in names
    assert packets(tmp_path / "a.mkv") == packets(tmp_path / "b.mkv")


def test_a_muxer_that_leaves_no_room_is_told(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv")
    with pytest.raises(OutputError, match="mp4"):
        matroska.write_aspect(path, (64, 48), Fraction(4, 3))


def test_mattes_have_it_too(tmp_path: Path) -> None:
    clip = probe(make_clip(tmp_path / "a.mp4", sample_aspect=Fraction(4, 3)), digest="d")
    width, height = clip.size_wh
    write_grey(tmp_path / "m.mkv", clip, (np.zeros((height, width), np.uint8) for _ in range(clip.frames)))
    assert probe(tmp_path / "m.mkv", digest="m").sample_aspect == Fraction(4, 3)


@pytest.mark.parametrize(
    ("ratio", "above", "below", "near"),
    [
        (Fraction(24, 11), 255, 255, Fraction(24, 11)),
        (Fraction(1000, 999), 255, 255, Fraction(1)),
        (Fraction(355, 113), 65535, 100, Fraction(22, 7)),
        (Fraction(1009, 5), 255, 65535, Fraction(202)),
    ],
)
def test_a_ratio_that_does_not_fit_is_nearly_told(ratio: Fraction, above: int, below: int, near: Fraction) -> None:
    found = matroska._nearest(ratio, above, below)
    assert found.numerator <= above and found.denominator <= below
    assert abs(found - near) < Fraction(1, 100)
