"""Clip values: spans, orientations, exact times, colour resolution, JSON and back."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tam_edit.clip import ClipSource, ColourTags, FrameSpan, Orientation, StreamNote
from tam_edit.errors import ScriptError, UsageError

ORIENTATIONS = [Orientation(turns, mirrored) for turns in range(4) for mirrored in (False, True)]


def source(**changes: object) -> ClipSource:
    found = ClipSource(
        path="a clip.mp4",
        digest="00",
        kind="video",
        container="mov",
        codec="h264",
        coded_wh=(64, 48),
        size_wh=(48, 64),
        orientation=Orientation(1, True),
        pixel_format="yuv420p10le",
        bit_depth=10,
        time_base=Fraction(1001, 30000),
        pts=(-3, 0, 7, 8),
        last_duration=5,
        sync_frames=(0, 2),
        sample_aspect=Fraction(4, 3),
        colour=ColourTags(9, 9, 16, False, True),
        frame_rate=Fraction(30000, 1001),
        streams=(StreamNote(1, "audio", "aac", "deu"),),
        warnings=("one",),
        display_matrix=Orientation(1, True).to_display_matrix(),
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def test_span_counts_its_frames() -> None:
    span = FrameSpan(3, 10)
    assert np.int64(3) in span and np.int64(10) not in span
    assert (len(span), list(span.indices()), str(span)) == (7, list(range(3, 10)), "3:10")
    assert 3 in span
    assert 9 in span
    assert 10 not in span
    assert "3" not in span


def test_chunks_lie_on_a_grid_from_the_start() -> None:
    assert list(FrameSpan(3, 10).chunks(3)) == [FrameSpan(3, 6), FrameSpan(6, 9), FrameSpan(9, 10)]
    assert list(FrameSpan(3, 3).chunks(3)) == []
    with pytest.raises(ValueError):
        list(FrameSpan(0, 3).chunks(0))


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_intersection_is_that_of_the_sets(a: int, b: int, c: int, d: int) -> None:
    one, other = FrameSpan(min(a, b), max(a, b)), FrameSpan(min(c, d), max(c, d))
    assert set(one.intersect(other).indices()) == set(one.indices()) & set(other.indices())


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (4, 3)])
def test_impossible_spans_are_refused(start: int, stop: int) -> None:
    with pytest.raises(ValueError):
        FrameSpan(start, stop)


def test_spans_are_read_from_the_command_line() -> None:
    assert FrameSpan.parse("10:20") == FrameSpan(10, 20)
    assert FrameSpan.parse("10:", frames=50) == FrameSpan(10, 50)
    assert FrameSpan.parse(":20") == FrameSpan(0, 20)


@pytest.mark.parametrize("text", ["10", "20:10", "a:b", "-3:5", "5:5", "10:", "", "1:2:3"])
def test_spans_that_cannot_be_meant_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError, match="A:B"):
        FrameSpan.parse(text)


def test_a_span_beyond_the_clip_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="50 frames"):
        FrameSpan.parse("10:51", frames=50)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_undo_takes_apply_back(orientation: Orientation) -> None:
    coded = np.arange(3 * 5 * 2).reshape(3, 5, 2)
    upright = orientation.apply(coded)
    assert upright.shape[:2][::-1] == orientation.size_upright((5, 3))
    np.testing.assert_array_equal(orientation.undo(upright), coded)


def test_a_quarter_turn_clockwise_brings_the_left_edge_to_the_top() -> None:
    coded = np.array([[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(Orientation(1).apply(coded), [[4, 1], [5, 2], [6, 3]])
    np.testing.assert_array_equal(Orientation(0, True).apply(coded), [[3, 2, 1], [6, 5, 4]])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_display_matrix_and_back(orientation: Orientation) -> None:
    assert Orientation.from_display_matrix(orientation.to_display_matrix()) == orientation


def test_a_slanted_display_matrix_is_not_understood() -> None:
    slant = (56756, 32768, 0, -32768, 56756, 0, 0, 0, 1 << 30)  # 30 degrees
    assert Orientation.from_display_matrix(slant) is None


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_rectangles_are_found_in_the_coded_picture(orientation: Orientation) -> None:
    coded = np.arange(5 * 7).reshape(5, 7)
    upright = orientation.apply(coded)
    height, width = upright.shape
    for x, y, w, h in [(0, 0, 2, 3), (1, 2, 3, 1), (width - 2, height - 1, 2, 1)]:
        cx, cy = orientation.rect_coded(x, y, (w, h), (width, height))
        part = orientation.undo(upright[y : y + h, x : x + w])
        np.testing.assert_array_equal(coded[cy : cy + part.shape[0], cx : cx + part.shape[1]], part)


def test_an_unspecified_matrix_depends_on_the_height() -> None:
    assert ColourTags().resolve_matrix(719) == 6
    assert ColourTags().resolve_matrix(720) == 1
    assert ColourTags(matrix=9).resolve_matrix(100) == 9


def test_json_and_back_is_exact() -> None:
    clip = source()
    assert ClipSource.from_json(json.loads(json.dumps(clip.to_json()))) == clip


def test_a_broken_record_is_a_script_error() -> None:
    value = source().to_json()
    del value["pts"]
    with pytest.raises(ScriptError, match="probe"):
        ClipSource.from_json(value)


def test_time_is_exact() -> None:
    clip = source()
    assert clip.time(2) == Fraction(7 * 1001, 30000)
    assert [clip.duration_pts(index) for index in range(4)] == [3, 7, 1, 5]
    assert clip.duration == 16 * Fraction(1001, 30000)
    assert (clip.frames, clip.span, clip.end_pts) == (4, FrameSpan(0, 4), 13)


def test_the_frame_at_a_time_is_the_one_on_screen() -> None:
    clip = source()
    assert [clip.frame_at(stamp * clip.time_base) for stamp in (-9, -3, -1, 0, 6, 7, 8, 99)] == [0, 0, 0, 1, 1, 2, 3, 3]
    assert clip.frame_at(7 * clip.time_base - Fraction(1, 10**9)) == 1


def test_the_sync_frame_before() -> None:
    assert [source().sync_before(index) for index in range(4)] == [0, 0, 2, 2]
    assert source(sync_frames=(2,)).sync_before(1) == 0


@pytest.mark.parametrize(
    "changes",
    [{"pts": ()}, {"pts": (0, 0)}, {"kind": "film"}, {"last_duration": 0}, {"size_wh": (64, 48)}, {"time_base": 0}],
)
def test_impossible_sources_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        source(**changes)
