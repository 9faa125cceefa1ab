"""What the torture suite has found once and must not find again, each by itself."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av.error
import pytest
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tam_edit import Edit, cli
from tam_edit.engine.store import EntryLost, Store
from tam_edit.errors import SourceMissing, SourceUnreadable, is_want_of_memory
from tam_edit.media.opening import edited_stream, open_source
from tam_edit.media.placing import placed
from tam_edit.media.probe import _read_all, _Seen, probe
from tam_edit.media.reader import ClipReader
from tam_edit.pipelines.keyframes import FoundMask


def test_a_click_mask_that_another_process_pruned_is_made_again(
    ball_clip: Path, tmp_path: Path, quick_engines: None
) -> None:
    edit = Edit.create(ball_clip, tmp_path / "a.edit")
    with edit.bench.context(edit.bench.runner(dry=False)) as context, pytest.raises(EntryLost):
        FoundMask(context, "0" * 32, None).load()


def test_files_of_others_beside_the_output_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each was opened and flushed: slow, and an error when one went away or may not be read."""
    opened: list[str] = []
    os_open = os.open
    (tmp_path / "other").write_text("not ours")

    def noted(path: str | Path, *rest: int) -> int:
        opened.append(Path(path).name)
        return os_open(path, *rest)

    monkeypatch.setattr("tam_edit.media.placing.os.open", noted)
    with placed(tmp_path / "file") as hidden:
        hidden.write_text("ours")
    with placed(tmp_path / "folder") as hidden:
        hidden.mkdir()
        (hidden / "inner").write_text("ours")
    assert "other" not in opened and "inner" in opened and tmp_path.name in opened


@pytest.mark.parametrize(
    "code",
    [
        "raise cv2.error('alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 6400 bytes')",
        'raise RuntimeError("can\'t start new thread")',
        "raise MemoryError",
    ],
)
def test_every_library_s_want_of_memory_is_told_as_such(
    code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import cv2

    def short(*_: object, **__: object) -> None:
        exec(code, {"cv2": cv2})

    monkeypatch.setattr("tam_edit.session.Edit.open", short)
    monkeypatch.setattr(sys, "argv", ["tam-edit", "track", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1 and "not enough memory" in said and "itself" not in said
    assert not is_want_of_memory(ValueError("surprise"))


class Short:
    """A stream whose decoder gets no memory after some frames."""

    def __init__(self, stream: VideoStream, error: Exception) -> None:
        self.stream, self.error, self.left = stream, error, 9

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)

    def decode(self, packet: Packet | None) -> list[VideoFrame]:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return self.stream.decode(packet)


class Whole:
    """A container that takes any stream for the only one."""

    def __init__(self, container: InputContainer) -> None:
        self.container = container

    def demux(self, _: object) -> Iterator[Packet]:
        return self.container.demux()


@pytest.mark.parametrize(
    "error",
    [av.error.MemoryError(12, "Cannot allocate memory"), av.error.BlockingIOError(11, "Resource unavailable")],
    ids=["memory", "threads"],
)
def test_a_frame_that_memory_is_short_for_is_never_left_out(ball_clip: Path, error: Exception) -> None:
    """It was, as if its packet were damaged: the clip would have been a shorter one, for good."""
    for read in (
        lambda container, stream: list(ClipReader(probe(ball_clip, digest=""))._decoded(Whole(container), stream)),
        lambda container, stream: _read_all(container, stream, _Seen(ball_clip), None),
    ):
        with open_source(ball_clip) as container, pytest.raises(SourceUnreadable, match="no memory"):
            short = Short(edited_stream(container, ball_clip), error)
            read(container, short)


@pytest.mark.parametrize(
    "words",
    [
        ("remove", "PIPE", "-o", "out.mp4"),
        ("remove", "/dev/zero", "-o", "out.mp4"),
        ("remove", "CLIP", "-o", "PIPE"),
        ("remove", "CLIP", "-o", "/dev/null"),
        ("remove", "l" * 300 + ".mp4", "-o", "out.mp4"),
        ("remove", "CLIP", "-o", "l" * 300 + ".mp4"),
        ("replace", "CLIP", "-o", "out.mp4", "--background", "PIPE"),
        ("batch", "/dev/zero"),
        ("batch", "PIPE"),
        ("track", "l" * 300),
    ],
)
def test_what_is_no_file_and_names_that_none_can_have(
    words: tuple[str, ...],
    ball_clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    quick_engines: None,
) -> None:
    """A pipe was waited for, /dev/zero read without end, /dev/null replaced by root."""
    os.mkfifo(tmp_path / "pipe.mp4")
    named = {"PIPE": str(tmp_path / "pipe.mp4"), "CLIP": str(ball_clip)}
    prompts = ["--box", "4,8,18,22"] if words[0] in ("remove", "replace") else []
    monkeypatch.setattr(sys, "argv", ["tam-edit", *(named.get(word, word) for word in words), *prompts])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1 and said.startswith("tam-edit: ") and "itself" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["pipe.mp4"]
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize("name", ["pipe:1.mp4", "file:x.mp4", "l" * 251 + ".mp4"])
def test_every_name_that_the_disk_takes_is_taken(
    name: str, ball_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_engines: None
) -> None:
    monkeypatch.chdir(tmp_path)
    edit = Edit.once(ball_clip)
    edit.mark("ball", box=(4, 8, 18, 22))
    edit.remove(name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert probe(name, digest="").frames == 80


def test_links_in_a_circle_are_a_clip_that_is_not_there(ball_clip: Path, tmp_path: Path, quick_engines: None) -> None:
    clip = tmp_path / "ball.mp4"
    shutil.copyfile(ball_clip, clip)
    Edit.create(clip, tmp_path / "a.edit")
    clip.unlink()
    clip.symlink_to("ball.mp4")
    with pytest.raises(SourceMissing, match="bring it back"):
        Edit.open(tmp_path / "a.edit").source()
    with pytest.raises(SourceUnreadable, match="symbolic links"):
        Edit.create(clip, tmp_path / "b.edit")


def test_a_record_under_another_s_name_is_damage(tmp_path: Path) -> None:
    """Whole in itself, it was believed: the result of other frames."""
    store = Store(tmp_path)
    one, other = "1" * 32, "2" * 32
    for key in (one, other):
        store.put(key, [key], {"a": key.encode()})
    path = tmp_path / "v1" / "keys"
    shutil.copyfile(path / "11" / one[2:], path / "22" / other[2:])
    assert Store(tmp_path).record(other) is None
    shutil.copyfile(path / "11" / one[2:], path / "22" / other[2:])
    assert store.verify() == [f"record {other}"] and store.record(one) is not None


def encoded_with_little_room(clip: str, room_mib: int) -> str:
    """What is said of a 4K segment in a process that may take so much more memory; run in a child."""
    import resource
    from fractions import Fraction

    from tam_edit.errors import OutputError
    from tam_edit.media.segments import encode_segment
    from tam_edit.media.settings import choose

    source = probe(clip, digest="")
    size = (3840, 2160)
    large = dataclasses.replace(source, coded_wh=size, size_wh=size, time_base=Fraction(1, 25), pts=tuple(range(24)))
    settings = choose(large, "out.mp4")
    frames = [VideoFrame(3840, 2160, settings.pixel_format) for _ in range(2)]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (room_mib << 20), resource.RLIM_INFINITY))
    try:
        encode_segment((frames[at % 2] for at in range(24)), settings, large, large.pts)
    except OutputError as error:
        return str(error)
    return "encoded"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_an_encoder_without_memory_is_told_as_such(ball_clip: Path) -> None:
    """It was told as if the codec did not take the picture: "choose another --codec"."""
    code = f"from tests.torture.test_found import *; print(encoded_with_little_room({str(ball_clip)!r}, 150))"
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
    assert "no memory was left for the encoder libx264" in said and "--codec" not in said


@pytest.mark.parametrize("short", [True, False])
def test_damage_is_believed_only_where_there_is_memory(
    short: bool, ball_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg's threads call a frame damaged that they got no memory for."""
    monkeypatch.setattr("tam_edit.media.opening.memory_is_short", lambda: short)
    with open_source(ball_clip) as container:
        stream = Short(edited_stream(container, ball_clip), av.error.InvalidDataError(1, "Invalid data found"))
        if short:
            with pytest.raises(SourceUnreadable, match="no memory"):
                _read_all(container, stream, _Seen(ball_clip), None)
        else:
            _read_all(container, stream, _Seen(ball_clip), None)
