"""Segments and joining: no seam, exact times, copied streams, and nothing left behind when it fails."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tam_edit.clip import ClipSource, Orientation
from tam_edit.errors import OutputError, OutputIsSource, OutputUnwritable, StoreError
from tam_edit.media import placing
from tam_edit.media.join import JoinResult, join
from tam_edit.media.picture_output import write_pictures
from tam_edit.media.planes import untouched
from tam_edit.media.probe import probe
from tam_edit.media.reader import ClipReader
from tam_edit.media.segments import encode_segment, unpack
from tam_edit.media.settings import EncodeSettings, choose
from tests.media.clips import fingerprint, make_clip, native_frame, write_picture
from tests.support import FOOTAGE, ROOT, needs_footage

VARIABLE = [0, 100, 700, 701, 900, 5000, 5200, 9000, 9100, 12000, 12800, 13000]
OFFSET = {"pts": [3333 + 512 * index for index in range(20)], "container_options": {"movie_timescale": "12800"}}


def segments(clip: ClipSource, settings: EncodeSettings, size: int = 7) -> list[bytes]:
    found = []
    with ClipReader(clip) as reader:
        for span in clip.span.chunks(size):
            frames = (
                untouched(picture, clip, settings.pixel_format, upright=settings.upright)
                for picture in reader.frames(span)
            )
            found.append(encode_segment(frames, settings, clip, clip.pts[span.start : span.stop]))
    return found


def remake(path: Path, destination: Path, size: int = 7, **wishes: Any) -> tuple[ClipSource, ClipSource, JoinResult]:
    """Decode, encode in segments, join: (source, result as probed, what join said)."""
    clip = probe(path, digest="d")
    settings = choose(clip, destination, **wishes)
    result = join(segments(clip, settings, size), clip, settings, destination)
    assert hidden_files(destination.parent) == []
    return clip, probe(destination, digest="r"), result


def hidden_files(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.startswith(".")]


def times(clip: ClipSource) -> list[Fraction]:
    return [clip.time(index) for index in range(clip.frames)]


def packets(path: Path, kinds: tuple[str, ...] = ("audio", "subtitle")) -> list[list[tuple[Fraction, bytes]]]:
    found: dict[int, list[tuple[Fraction, bytes]]] = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size and packet.stream.type in kinds and packet.pts is not None:
                found.setdefault(packet.stream.index, []).append((packet.pts * packet.time_base, bytes(packet)))
    return [held for _, held in sorted(found.items())]


def video_packets(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_no_seam_between_segments(tmp_path: Path, codec: str, suffix: str) -> None:
    path = make_clip(tmp_path / "a.mp4", pts=[512 * index for index in range(40)])
    clip, result, said = remake(path, tmp_path / f"r.{suffix}", size=11, codec=codec)
    assert times(result) == times(clip)
    assert result.last_duration * result.time_base == clip.last_duration * clip.time_base
    assert said.warnings == ()
    held = video_packets(tmp_path / f"r.{suffix}")
    assert len(held) == 40
    stamps = [packet.dts for packet in held if packet.dts is not None]
    assert all(later > earlier for earlier, later in itertools.pairwise(stamps))
    assert all(packet.dts is None or packet.dts <= packet.pts for packet in held)
    assert any(later.pts < earlier.pts for earlier, later in itertools.pairwise(held))  # it has B-frames
    assert {0, 11, 22, 33} <= set(result.sync_frames)


def test_every_segment_can_be_entered(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", pts=[512 * index for index in range(40)])
    _, result, _ = remake(path, tmp_path / "r.mp4", size=10)
    with ClipReader(result) as reader:
        expected = [fingerprint(picture.native) for picture in reader.frames()]
    for index in (10, 20, 30):
        with ClipReader(result) as reader:
            assert fingerprint(reader.picture(index).native) == expected[index]
            assert reader.decoded <= 3  # from its own sync frame


def test_joined_pictures_are_those_of_the_segments_alone(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", pts=[512 * index for index in range(30)])
    clip, result, _ = remake(path, tmp_path / "r.mkv", size=10, lossless=True)
    with ClipReader(clip) as one, ClipReader(result) as other:
        for before, after in zip(one.frames(), other.frames(), strict=True):
            assert fingerprint(before.native) == fingerprint(after.native)


@pytest.mark.parametrize("changes", [{"pts": VARIABLE, "last_duration": 333}, OFFSET], ids=["variable", "offset"])
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_times_are_exact_in_mp4(tmp_path: Path, changes: dict[str, Any], codec: str) -> None:
    path = make_clip(tmp_path / "a.mp4", **changes)
    clip, result, said = remake(path, tmp_path / "r.mp4", codec=codec)
    assert times(result) == times(clip) == [Fraction(stamp, 12800) for stamp in changes["pts"]]
    assert said.warnings == ()
    again = probe(tmp_path / "r.mp4", digest="x")
    assert again.duration == clip.duration


def test_uneven_rates_are_exact(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mov", pts=range(20), time_base=Fraction(1001, 30000), rate=Fraction(30000, 1001))
    clip, result, _ = remake(path, tmp_path / "r.mp4")
    assert times(result) == times(clip) == [Fraction(1001 * index, 30000) for index in range(20)]
    assert result.frame_rate == Fraction(30000, 1001)


def test_an_edit_list_is_applied(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", pts=[512 * (index - 9) for index in range(24)], gop=4)
    clip, result, _ = remake(path, tmp_path / "r.mp4")
    assert result.frames == 15
    assert times(result) == times(clip)


def test_matroska_says_when_milliseconds_are_not_enough(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", pts=[stamp for stamp in VARIABLE if stamp != 701])
    clip, result, said = remake(path, tmp_path / "r.mkv")
    assert len(said.warnings) == 1
    assert "milliseconds" in said.warnings[0]
    for expected, found in zip(times(clip), times(result), strict=True):
        assert abs(expected - found) <= Fraction(1, 2000)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize(("turns", "mirrored"), [(1, False), (2, True), (3, True), (0, True)])
def test_rotation_aspect_and_colour_are_kept(tmp_path: Path, suffix: str, turns: int, mirrored: bool) -> None:
    matrix = Orientation(turns, mirrored).to_display_matrix()
    colour = {"colorspace": 9, "color_primaries": 9, "color_trc": 14, "color_range": 2}
    path = make_clip(tmp_path / "a.mp4", display_matrix=matrix, sample_aspect=Fraction(4, 3), colour=colour)
    clip, result, _ = remake(path, tmp_path / f"r.{suffix}")
    assert (result.orientation, result.size_wh) == (Orientation(turns, mirrored), clip.size_wh)
    assert result.display_matrix == clip.display_matrix == matrix
    assert (result.sample_aspect, result.colour) == (Fraction(4, 3), clip.colour)


def test_a_slanted_matrix_is_kept_to_the_bit(tmp_path: Path) -> None:
    slant = (56756, 32768, 0, -32768, 56756, 0, 0, 0, 1 << 30)
    _, result, _ = remake(make_clip(tmp_path / "a.mp4", display_matrix=slant), tmp_path / "r.mp4")
    assert result.display_matrix == slant


def test_all_other_streams_are_copied(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", sound=2, subtitles=2, chapters=True, metadata={"title": "A day"}, cover=True)
    _, _, said = remake(path, tmp_path / "r.mp4")
    assert said.warnings == ()
    before, after = packets(path), packets(tmp_path / "r.mp4")
    assert len(before) == 4
    assert after == before
    with av.open(str(path)) as one, av.open(str(tmp_path / "r.mp4")) as other:
        assert other.metadata["title"] == "A day"
        assert [chapter["metadata"] for chapter in other.chapters()] == [{"title": "One"}]
        assert [stream.language for stream in one.streams] == [stream.language for stream in other.streams]
        assert [stream.disposition for stream in one.streams] == [stream.disposition for stream in other.streams]


def test_streams_a_container_cannot_hold_are_named(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", sound=1, subtitles=1)
    _, result, said = remake(path, tmp_path / "r.webm")
    assert result.codec == "vp9"
    left_out = [warning for warning in said.warnings if "left out" in warning]
    assert any("stream 1 (audio, aac)" in warning for warning in left_out)
    assert any("stream 2 (subtitle, mov_text)" in warning for warning in left_out)


def test_matroska_to_matroska_keeps_attachments_and_text(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", time_base=Fraction(1, 1000), pts=range(0, 800, 40), sound=1, subtitles=1)
    with_font = tmp_path / "b.mkv"
    with av.open(str(path)) as one, av.open(str(with_font), "w") as other:
        pairs = {stream.index: other.add_stream_from_template(stream, opaque=True) for stream in one.streams}
        other.add_attachment("letters.ttf", "font/ttf", b"not really a font")
        for packet in one.demux():
            if packet.size:
                packet.stream = pairs[packet.stream_index]
                other.mux(packet)
    _, _, said = remake(with_font, tmp_path / "r.mkv")
    assert said.warnings == ()
    assert packets(tmp_path / "r.mkv") == packets(with_font)
    with av.open(str(tmp_path / "r.mkv")) as result:
        held = result.streams.attachments[0]
        assert (held.name, held.mimetype, held.data) == ("letters.ttf", "font/ttf", b"not really a font")


def test_interlaced_sources_stay_tagged(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", interlaced=True, options={"x264-params": "tff=1"})
    clip, result, _ = remake(path, tmp_path / "r.mp4")
    assert clip.interlaced
    assert result.interlaced


@pytest.mark.parametrize("wishes", [{}, {"lossless": True}, {"codec": "hevc"}, {"codec": "vp9"}, {"codec": "av1"}])
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, wishes: dict[str, Any]) -> None:
    path = make_clip(tmp_path / "a.mkv", time_base=Fraction(1, 1000), pts=range(0, 800, 40), sound=1)
    clip = probe(path, digest="d")
    settings = choose(clip, "r.mkv", **wishes)
    blobs = segments(clip, settings)
    assert segments(clip, settings) == blobs
    join(blobs, clip, settings, tmp_path / "one.mkv")
    join(iter(blobs), clip, settings, tmp_path / "two.mkv")
    assert (tmp_path / "one.mkv").read_bytes() == (tmp_path / "two.mkv").read_bytes()


def test_many_encodings_of_one_segment_are_equal(tmp_path: Path) -> None:
    """x264's AVX-512 code reads memory nobody wrote: without care one in ten was different at this size."""
    clip = probe(make_clip(tmp_path / "a.mp4"), digest="d")
    settings = choose(clip, "r.mp4")
    assert len({segments(clip, settings, 20)[0] for _ in range(40)}) == 1


def test_lossless_in_mp4_is_lossless(tmp_path: Path) -> None:
    for name, changes in {"a": {}, "b": {"pixel_format": "yuv420p10le"}, "c": {"size_wh": (101, 57)}}.items():
        path = make_clip(
            tmp_path / f"{name}.mkv", encoder="ffv1", time_base=Fraction(1, 1000), pts=range(0, 400, 40), **changes
        )
        clip, result, _ = remake(path, tmp_path / f"{name}.mp4", lossless=True)
        with ClipReader(clip) as one, ClipReader(result) as other:
            for before, after in zip(one.frames(), other.frames(), strict=True):
                assert fingerprint(before.native) == fingerprint(after.native)


def test_an_encoder_writes_nothing_to_the_terminal(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from tests.media.test_join import remake; from tests.media.clips import make_clip\n"
        f"folder = Path({str(tmp_path)!r}); make_clip(folder / 'a.mp4')\n"
        "[remake(folder / 'a.mp4', folder / f'{codec}.mkv', codec=codec) for codec in ('h264', 'hevc', 'vp9', 'av1')]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def prepared(folder: Path) -> tuple[ClipSource, EncodeSettings, list[bytes], Path]:
    clip = probe(make_clip(folder / "a.mp4"), digest="d")
    destination = folder / "out" / "r.mp4"
    destination.parent.mkdir()
    settings = choose(clip, destination)
    return clip, settings, segments(clip, settings), destination


def test_a_join_that_fails_midway_leaves_nothing(tmp_path: Path) -> None:
    clip, settings, blobs, destination = prepared(tmp_path)

    def broken() -> Iterator[bytes]:
        yield blobs[0]
        assert hidden_files(destination.parent)  # it is being written
        raise RuntimeError("stop here")

    with pytest.raises(RuntimeError, match="stop here"):
        join(broken(), clip, settings, destination)
    assert list(destination.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda blobs: blobs[:-1], OutputError),
        (lambda blobs: [], OutputError),
        (lambda blobs: blobs[::-1], StoreError),
        (lambda blobs: [blobs[0], b"nonsense", *blobs[1:]], StoreError),
        (lambda blobs: [blobs[0][:-5], *blobs[1:]], StoreError),
    ],
)
def test_wrong_segments_are_refused(tmp_path: Path, change: Any, error: type[Exception]) -> None:
    clip, settings, blobs, destination = prepared(tmp_path)
    with pytest.raises(error):
        join(change(blobs), clip, settings, destination)
    assert list(destination.parent.iterdir()) == []


def test_segments_of_other_settings_are_refused(tmp_path: Path) -> None:
    clip, settings, blobs, destination = prepared(tmp_path)
    with pytest.raises(StoreError, match="other settings"):
        join(blobs, clip, choose(clip, destination, codec="hevc"), destination)


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    clip, settings, blobs, destination = prepared(tmp_path)
    code = (
        "import os, signal; from pathlib import Path; from tam_edit.media.placing import placed\n"
        f"with placed(Path({str(destination)!r})) as hidden:\n"
        "    hidden.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert len(hidden_files(destination.parent)) == 1
    with placing.placed(destination) as mine:
        mine.write_bytes(b"one")
        with placing.placed(destination) as other:  # that of a living process stays
            other.write_bytes(b"two")
            assert mine.exists()
    join(blobs, clip, settings, destination)
    assert [entry.name for entry in destination.parent.iterdir()] == ["r.mp4"]


def test_an_old_result_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    clip, settings, blobs, destination = prepared(tmp_path)
    destination.write_bytes(b"old")
    with pytest.raises(OutputError):
        join(blobs[:-1], clip, settings, destination)
    assert destination.read_bytes() == b"old"
    result = join(blobs, clip, settings, destination)
    assert destination.stat().st_size == result.bytes


def test_the_output_must_not_be_the_source(tmp_path: Path) -> None:
    clip, settings, blobs, destination = prepared(tmp_path)
    before = Path(clip.path).read_bytes()
    link, hard = destination.parent / "link.mp4", destination.parent / "hard.mp4"
    link.symlink_to(clip.path)
    os.link(clip.path, hard)
    for place in (Path(clip.path), link, hard, tmp_path / "out" / ".." / "a.mp4"):
        with pytest.raises(OutputIsSource):
            join(blobs, clip, settings, place)
    assert Path(clip.path).read_bytes() == before


def test_no_folder_to_write_to(tmp_path: Path) -> None:
    clip, settings, blobs, _ = prepared(tmp_path)
    with pytest.raises(OutputUnwritable, match="mkdir"):
        join(blobs, clip, settings, tmp_path / "nowhere" / "r.mp4")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, settings, blobs, destination = prepared(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(OutputUnwritable, match="permission"):
        join(blobs, clip, settings, destination)


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, settings, blobs, destination = prepared(tmp_path)

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(placing, "_flush", full)
    with pytest.raises(OutputUnwritable, match="disk is full"):
        join(blobs, clip, settings, destination)
    assert list(destination.parent.iterdir()) == []


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """The muxer's own writes fail, deep in FFmpeg: the limit on file sizes stands in for a full disk."""
    code = (
        "import resource, signal, sys; from pathlib import Path; from tests.media.test_join import *\n"
        "from tam_edit.errors import OutputUnwritable\n"
        f"clip, settings, blobs, destination = prepared(Path({str(tmp_path)!r}))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: join(blobs, clip, settings, destination)\n"
        "except OutputUnwritable as error: print(type(error).__name__, list(destination.parent.iterdir()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "OutputUnwritable []"


def test_pictures_out_and_in_again(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / "in").mkdir(exist_ok=True)
        write_picture(tmp_path / "in" / f"{number}.png", number)
    clip = probe(tmp_path / "in", digest="d", frame_rate=Fraction(10))
    for output in (tmp_path / "out", tmp_path / "more" / "p%03d.png"):
        output.parent.mkdir(exist_ok=True)
        settings = choose(clip, output)
        for _ in range(2):  # a second time over the first
            result = join(segments(clip, settings, 2), clip, settings, output)
        folder = output if output.suffix == "" else output.parent
        assert sorted(path.name for path in folder.iterdir()) == [settings.pattern % index for index in range(5)]
        assert result.bytes == sum(path.stat().st_size for path in folder.iterdir())
        again = probe(folder, digest="e", frame_rate=Fraction(10))
        with ClipReader(clip) as one, ClipReader(again) as other:
            for before, after in zip(one.frames(), other.frames(), strict=True):
                np.testing.assert_array_equal(before.rgb(), after.rgb())
    assert hidden_files(tmp_path) == []


def test_pictures_become_a_film_and_a_film_pictures(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(6):
        write_picture(tmp_path / "in" / f"{number}.png", number)
    clip = probe(tmp_path / "in", digest="d", frame_rate=Fraction(30000, 1001))
    settings = choose(clip, tmp_path / "film.mp4")
    join(segments(clip, settings, 4), clip, settings, tmp_path / "film.mp4")
    film = probe(tmp_path / "film.mp4", digest="f")
    assert times(film) == times(clip)
    turned = probe(make_clip(tmp_path / "t.mp4", display_matrix=Orientation(1).to_display_matrix()), digest="t")
    settings = choose(turned, tmp_path / "pictures")
    join(segments(turned, settings, 8), turned, settings, tmp_path / "pictures")
    assert probe(tmp_path / "pictures", digest="p").size_wh == turned.size_wh == (64, 96)


def test_pictures_never_replace_other_files(tmp_path: Path) -> None:
    clip = probe(make_clip(tmp_path / "a.mp4"), digest="d")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "letter.txt").write_text("dear")
    settings = choose(clip, folder)
    with pytest.raises(OutputUnwritable, match=r"letter\.txt"):
        join(segments(clip, settings), clip, settings, folder)
    assert (folder / "letter.txt").read_text() == "dear"
    with pytest.raises(RuntimeError, match="stop"):
        write_pictures(stopping(), tmp_path / "new")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.mp4", "mine"]


def stopping() -> Iterator[av.VideoFrame]:
    yield native_frame(0, (32, 32), "gbrp").reformat(format="rgb24")
    raise RuntimeError("stop")


def test_a_segment_knows_its_frames(tmp_path: Path) -> None:
    clip, settings, blobs, _ = prepared(tmp_path)
    first = unpack(blobs[0])
    assert first.pts == clip.pts[:7]
    assert sorted(packet.rank for packet in first.packets) == list(range(7))
    assert first.packets[0].sync
    assert settings.reorder == 2


@needs_footage
@pytest.mark.parametrize(
    ("name", "suffix"),
    [("nasa.mp4", "mp4"), pytest.param("bbb.webm", "mkv", marks=pytest.mark.slow)],
)
def test_real_sound_is_copied(tmp_path: Path, name: str, suffix: str) -> None:
    path = FOOTAGE / "clips" / name
    clip, result, said = remake(path, tmp_path / f"r.{suffix}", size=48)
    assert said.warnings == ()
    assert times(result) == times(clip)
    assert packets(tmp_path / f"r.{suffix}") == packets(path)
    assert len(packets(path)) >= 1
    assert [stream.kind for stream in result.streams] == [stream.kind for stream in clip.streams]
