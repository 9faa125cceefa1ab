"""Probing: exact times and tags of made and real clips, and what is said of broken ones."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tam_edit.clip import Orientation, StreamNote
from tam_edit.errors import (
    ClipEmpty,
    ClipTruncated,
    NoVideoStream,
    SourceError,
    SourceMissing,
    SourceUnreadable,
    UsageError,
)
from tam_edit.media.digests import digest_source, list_pictures
from tam_edit.media.probe import probe
from tam_edit.media.reader import ClipReader
from tests.media.clips import make_clip, native_frame, only_sound, write_picture
from tests.support import FOOTAGE, needs_footage

VARIABLE = [0, 100, 700, 701, 900, 5000, 5200, 9000, 9100, 12000, 12800, 13000]
LONG = [512 * index for index in range(100)]


def test_constant_rate(tmp_path: Path) -> None:
    clip = probe(make_clip(tmp_path / "a.mp4"), digest="d")
    assert clip.pts == tuple(range(0, 20 * 512, 512))
    assert (clip.time_base, clip.frame_rate, clip.last_duration) == (Fraction(1, 12800), Fraction(25), 512)
    assert clip.sync_frames == (0, 8, 16)
    assert (clip.kind, clip.codec, clip.pixel_format, clip.bit_depth) == ("video", "h264", "yuv420p", 8)
    assert (clip.coded_wh, clip.size_wh, clip.digest, clip.warnings) == ((96, 64), (96, 64), "d", ())


def test_variable_rate_with_b_frames(tmp_path: Path) -> None:
    assert probe(make_clip(tmp_path / "v.mp4", pts=VARIABLE), digest="d").pts == tuple(VARIABLE)


def test_start_offset(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "o.mp4",
        pts=[3333 + 512 * index for index in range(9)],
        container_options={"movie_timescale": "12800"},
    )
    clip = probe(path, digest="d")
    assert clip.pts[:2] == (3333, 3845)
    assert clip.time(0) == Fraction(3333, 12800)


def test_edit_list_hides_frames_before_the_start(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "e.mp4", pts=[512 * (index - 9) for index in range(24)], gop=4)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 24
    clip = probe(path, digest="d")
    assert clip.pts == tuple(range(0, 15 * 512, 512))


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_orientation(tmp_path: Path, turns: int, mirrored: bool) -> None:
    orientation = Orientation(turns, mirrored)
    matrix = None if orientation.is_identity else orientation.to_display_matrix()
    clip = probe(make_clip(tmp_path / "r.mp4", display_matrix=matrix), digest="d")
    assert clip.orientation == orientation
    assert clip.display_matrix == matrix
    assert clip.size_wh == ((64, 96) if turns % 2 else (96, 64))


def test_a_slanted_picture_is_said(tmp_path: Path) -> None:
    slant = (56756, 32768, 0, -32768, 56756, 0, 0, 0, 1 << 30)
    clip = probe(make_clip(tmp_path / "s.mp4", display_matrix=slant), digest="d")
    assert clip.orientation.is_identity
    assert clip.display_matrix == slant
    assert "quarter turn" in clip.warnings[0]


def test_colour_aspect_and_depth(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "c.mkv",
        encoder="libx265",
        options={"x265-params": "log-level=none"},
        pixel_format="yuv422p10le",
        colour={"colorspace": 9, "color_primaries": 9, "color_trc": 16, "color_range": 2},
        sample_aspect=Fraction(4, 3),
    )
    clip = probe(path, digest="d")
    assert (clip.colour.matrix, clip.colour.primaries, clip.colour.transfer) == (9, 9, 16)
    assert clip.colour.full_range
    assert (clip.bit_depth, clip.pixel_format, clip.sample_aspect) == (10, "yuv422p10le", Fraction(4, 3))
    assert clip.matrix == 9


def test_other_streams_are_listed(tmp_path: Path) -> None:
    clip = probe(make_clip(tmp_path / "m.mp4", sound=2, subtitles=1), digest="d")
    kinds = [(stream.kind, stream.codec) for stream in clip.streams]
    assert kinds == [("audio", "aac"), ("audio", "aac"), ("subtitle", "mov_text")]
    assert clip.streams[2] == StreamNote(3, "subtitle", "mov_text", "eng")


def test_an_attached_picture_is_not_the_film(tmp_path: Path) -> None:
    clip = probe(make_clip(tmp_path / "cover.mp4", cover=True), digest="d")
    assert (clip.codec, clip.frames) == ("h264", 20)
    assert [(stream.kind, stream.codec) for stream in clip.streams] == [("video", "mjpeg")]
    with pytest.raises(NoVideoStream):
        probe(only_sound(tmp_path / "song.m4a", cover=True), digest="d")


def test_interlaced_is_said(tmp_path: Path) -> None:
    clip = probe(make_clip(tmp_path / "i.mp4", interlaced=True, options={"x264-params": "tff=1"}), digest="d")
    assert clip.interlaced
    assert any("interlaced" in warning for warning in clip.warnings)


@pytest.mark.parametrize("name", ["bare.h264", "numbered.avi"])
def test_containers_without_picture_times_get_an_even_rate(tmp_path: Path, name: str) -> None:
    clip = probe(make_clip(tmp_path / name, pts=range(40), time_base=Fraction(1, 25)), digest="d")
    steps = {later - earlier for earlier, later in zip(clip.pts, clip.pts[1:], strict=False)}
    assert len(steps) == 1
    assert clip.frame_rate == 25
    assert not clip.seekable
    assert any("timestamps" in warning for warning in clip.warnings)


def test_on_picture_sees_every_upright_frame_small(tmp_path: Path) -> None:
    seen: list[tuple[int, tuple[int, ...]]] = []
    path = make_clip(tmp_path / "p.mp4", size_wh=(640, 400), display_matrix=Orientation(1).to_display_matrix())
    probe(path, digest="d", on_picture=lambda index, rgb: seen.append((index, rgb.shape)))
    assert seen == [(index, (320, 200, 3)) for index in range(20)]


def test_missing_unreadable_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match=r"no\.mp4"):
        probe(tmp_path / "no.mp4", digest="d")
    (tmp_path / "junk.mp4").write_bytes(b"hello " * 500)
    with pytest.raises(SourceUnreadable, match=r"junk\.mp4"):
        probe(tmp_path / "junk.mp4", digest="d")
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(SourceUnreadable, match="empty"):
        probe(tmp_path / "empty.mp4", digest="d")


def test_sound_alone_is_no_clip(tmp_path: Path) -> None:
    with pytest.raises(NoVideoStream, match="only audio"):
        probe(only_sound(tmp_path / "s.m4a"), digest="d")


@pytest.mark.parametrize("suffix", ["avi", "mkv"])
def test_no_frames(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"zero.{suffix}"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        output.start_encoding()
    with pytest.raises(ClipEmpty):
        probe(path, digest="d")


def cut(path: Path, part: float) -> Path:
    short = path.with_name("cut_" + path.name)
    held = path.read_bytes()
    short.write_bytes(held[: int(len(held) * part)])
    return short


@pytest.mark.parametrize(
    ("name", "options"),
    [("f.mp4", {"movflags": "+faststart"}), ("g.mp4", {"movflags": "frag_keyframe+empty_moov"}), ("m.mkv", {})],
)
def test_a_truncated_file_is_named_and_can_be_used(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    whole = make_clip(tmp_path / name, pts=LONG, container_options=options, sound=1)
    assert probe(whole, digest="d").frames == 100
    short = cut(whole, 0.6)
    with pytest.raises(ClipTruncated, match=r"\d+.* frames \(\d.* s\) could be read.*--allow-truncated"):
        probe(short, digest="d")
    clip = probe(short, digest="d", allow_truncated=True)
    assert 30 < clip.frames < 90
    assert set(clip.pts) <= set(probe(whole, digest="d").pts)
    assert any("breaks off" in warning for warning in clip.warnings)


@pytest.mark.parametrize("part", [0.2, 0.35, 0.5, 0.8, 0.97])
def test_truncation_is_found_wherever_it_falls(tmp_path: Path, part: float) -> None:
    whole = make_clip(tmp_path / "w.mp4", pts=LONG, container_options={"movflags": "+faststart"})
    with pytest.raises(ClipTruncated):
        probe(cut(whole, part), digest="d")


def test_a_file_cut_before_its_index(tmp_path: Path) -> None:
    with pytest.raises(ClipTruncated, match="no frame"):
        probe(cut(make_clip(tmp_path / "late.mp4", pts=LONG), 0.6), digest="d", allow_truncated=True)


def test_damage_in_the_middle(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "d.mp4", pts=LONG, container_options={"movflags": "+faststart"})
    held = bytearray(path.read_bytes())
    middle = len(held) // 2
    held[middle : middle + 300] = b"\x55" * 300
    path.write_bytes(bytes(held))
    with pytest.raises(ClipTruncated, match="cannot be decoded"):
        probe(path, digest="d")
    assert probe(path, digest="d", allow_truncated=True).frames < 100


@needs_footage
@pytest.mark.parametrize(
    ("name", "frames", "first"),
    [
        ("clips/bbb.webm", 720, Fraction(3, 1000)),
        ("clips/biker.mp4", 239, Fraction(0)),
        ("clips/bikes.mp4", 250, Fraction(0)),
        ("clips/juggle.mp4", 247, Fraction(0)),
        ("clips/nasa.mp4", 325, Fraction(0)),
        ("multi/dogs_jump/dogs_jump.mp4", 66, Fraction(0)),
        pytest.param("removal/corridor.mp4", 1394, Fraction(0), marks=pytest.mark.slow),
    ],
)
def test_real_clips_are_whole(name: str, frames: int, first: Fraction) -> None:
    clip = probe(FOOTAGE / name, digest="d")
    assert (clip.frames, clip.time(0), clip.warnings, clip.seekable) == (frames, first, (), True)


@needs_footage
def test_a_davis_folder() -> None:
    clip = probe(FOOTAGE / "davis/JPEGImages/480p/libby", digest="d", frame_rate=Fraction(24))
    assert (clip.kind, clip.frames, clip.size_wh) == ("pictures", 49, (854, 480))
    assert (clip.time(24), clip.warnings) == (Fraction(1), ())
    assert clip.colour.full_range


def test_pictures_are_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        write_picture(tmp_path / f"frame{number}.png", number)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_bytes(b"")
    assert [path.name for path in list_pictures(tmp_path)] == ["frame1.png", "frame2.png", "frame10.png"]


def test_pictures_without_a_rate_get_one_and_say_so(tmp_path: Path) -> None:
    for number in range(3):
        write_picture(tmp_path / f"{number}.png", number)
    clip = probe(tmp_path, digest="d")
    assert (clip.frame_rate, clip.frames, clip.codec, clip.pixel_format) == (25, 3, "png", "rgb24")
    assert len(clip.warnings) == 1
    assert "25" in clip.warnings[0]
    assert probe(tmp_path, digest="d", frame_rate=Fraction(30000, 1001)).time(2) == Fraction(2002, 30000)
    with pytest.raises(UsageError):
        probe(tmp_path, digest="d", frame_rate=Fraction(0))


@pytest.mark.parametrize("form", ["rgb48be", "gray16be"])
def test_sixteen_bit_pictures_keep_their_depth(tmp_path: Path, form: str) -> None:
    write_picture(tmp_path / "0.png", 0, form=form)
    clip = probe(tmp_path, digest="d")
    assert (clip.bit_depth, clip.pixel_format) == (16, form)


@pytest.mark.parametrize("suffix", ["jpg", "tif", "bmp", "webp", "png"])
def test_picture_kinds(tmp_path: Path, suffix: str) -> None:
    cv2 = pytest.importorskip("cv2")
    for number in range(2):
        value = np.full((20, 30, 3), 40 * number + 40, np.uint8)
        assert cv2.imwrite(str(tmp_path / f"{number}.{suffix}"), value)
    assert probe(tmp_path, digest="d").size_wh == (30, 20)


@pytest.mark.parametrize("exif", range(1, 9))
def test_pictures_are_turned_as_their_exif_says(tmp_path: Path, exif: int) -> None:
    from PIL import Image, ImageOps

    value = np.zeros((24, 40, 3), np.uint8)
    value[:12, :20] = (255, 0, 0)
    value[12:, :20] = (0, 255, 0)
    picture, tag = Image.fromarray(value), Image.Exif()
    tag[0x0112] = exif
    picture.save(tmp_path / "0.jpg", exif=tag, quality=100, subsampling=0)
    with Image.open(tmp_path / "0.jpg") as held:
        upright = np.asarray(ImageOps.exif_transpose(held))
    clip = probe(tmp_path, digest="d")
    with ClipReader(clip) as reader:
        rgb = reader.picture(0).rgb()
    assert rgb.shape == upright.shape
    assert np.abs(rgb.astype(int) - upright).mean() < 3


def test_pictures_of_two_sizes_are_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "0.png", 0)
    write_picture(tmp_path / "1.png", 1, wh=(40, 20))
    with pytest.raises(SourceUnreadable, match="one size"):
        probe(tmp_path, digest="d")


def test_an_empty_folder_and_a_broken_picture(tmp_path: Path) -> None:
    with pytest.raises(ClipEmpty, match="no pictures"):
        probe(tmp_path, digest="d")
    (tmp_path / "0.png").write_bytes(b"not a picture at all")
    with pytest.raises(SourceError, match=r"0\.png"):
        probe(tmp_path, digest="d")


def test_the_digest_knows_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    write_picture(folder / "0.png", 0)
    write_picture(folder / "1.png", 1)
    first = digest_source(folder)
    assert len(first) == 64
    other = tmp_path / "two"
    shutil.copytree(folder, other)
    assert digest_source(other) == first
    (other / "1.png").rename(other / "2.png")
    assert digest_source(other) != first
    assert digest_source(folder / "0.png") != digest_source(folder / "1.png")
    with pytest.raises(SourceMissing):
        digest_source(tmp_path / "no")


def test_native_frames_differ() -> None:
    assert bytes(native_frame(0, (32, 32), "gray").planes[0]) != bytes(native_frame(1, (32, 32), "gray").planes[0])


def test_hdr_values_that_will_be_lost_are_said(tmp_path: Path) -> None:
    display = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    path = make_clip(
        tmp_path / "h.mp4",
        encoder="libx265",
        pixel_format="yuv420p10le",
        options={"x265-params": f"log-level=none:hdr10=1:{display}"},
    )
    assert any("HDR" in warning for warning in probe(path, digest="d").warnings)
