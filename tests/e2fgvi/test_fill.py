"""Filling clips: what is read, what is run, what comes out; with a stand-in for the network where that is enough."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from tam_edit.errors import EngineError, MaskError, MaskSizeMismatch, UsageError
from tam_edit.models import e2fgvi
from tests.e2fgvi import stand_in
from tests.e2fgvi.test_network import recorded_network
from tests.support import PARITY, needs_parity

SETTINGS = e2fgvi.FillSettings(chunk=4, overlap=2, reference_step=5, reference_span=8)
Clip = tuple[NDArray[np.uint8], NDArray[np.bool_]]


def clip(count: int, height: int = 64, width: int = 112, seed: int = 0) -> Clip:
    """Noise with a hole that wanders."""
    frames = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)
    masks = np.zeros((count, height, width), bool)
    for t in range(count):
        masks[t, height // 4 : height // 2, width // 4 + t : width // 3 + t + 1] = True
    return frames, masks


def filler_of(frames: NDArray[np.uint8], masks: NDArray[np.bool_], asked: list[int] | None = None) -> e2fgvi.Filler:
    def read(index: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        if asked is not None:
            asked.append(index)
        return frames[index], masks[index]

    return e2fgvi.Filler(stand_in.mixer(), read, len(frames), SETTINGS)


def chunks(count: int) -> list[tuple[int, int]]:
    return [(start, min(start + SETTINGS.chunk, count)) for start in range(0, count, SETTINGS.chunk)]


@needs_parity
@pytest.mark.slow
def test_the_recorded_clip_comes_out_again() -> None:
    recording = np.load(PARITY / "e2fgvi_hq_clip.npz")
    masks = recording["masks"] > 0
    # Iterators, so that the spool is in play as well.
    filled = np.stack(
        list(e2fgvi.fill(recorded_network("hq"), iter(recording["frames"]), iter(masks), blend="upstream"))
    )
    assert np.array_equal(filled[~masks], recording["frames"][~masks])
    error = np.abs(filled[masks].astype(int) - recording["result"][masks])
    assert error.max() <= 1
    assert (error > 0).mean() <= 0.001


@needs_parity
@pytest.mark.slow
def test_the_default_stays_near_the_exact_procedure() -> None:
    recording = np.load(PARITY / "e2fgvi_hq_clip.npz")
    masks = recording["masks"] > 0
    filled = np.stack(list(e2fgvi.fill(recorded_network("hq"), recording["frames"], masks)))
    error = filled[masks].astype(float) - recording["result"][masks]
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 28
    assert np.array_equal(filled[~masks], recording["frames"][~masks])


@pytest.mark.parametrize("blend", ["windowed", "upstream"])
@pytest.mark.parametrize(("height", "width"), [(20, 30), (1, 1), pytest.param(70, 120, marks=pytest.mark.slow)])
def test_the_real_network_fills_any_size(blend: str, height: int, width: int) -> None:
    """Also frames so small that one flip cannot fill the padding."""
    frames, masks = clip(2, height, width)
    masks[:, height // 2, width // 2] = True
    filled = np.stack(list(e2fgvi.fill(stand_in.network(), frames, masks, blend=blend)))
    assert filled.dtype == np.uint8
    assert np.array_equal(filled[~masks], frames[~masks])
    assert not np.array_equal(filled[masks], frames[masks])


@pytest.mark.parametrize("count", [1, 4, 6, 7, 13, 21])
def test_streams_and_lists_and_chunks_in_any_order_agree(count: int) -> None:
    frames, masks = clip(count)
    streamed = list(e2fgvi.fill(stand_in.mixer(), iter(frames), iter(masks), settings=SETTINGS))
    listed = list(e2fgvi.fill(stand_in.mixer(), list(frames), list(masks), settings=SETTINGS))
    assert len(streamed) == len(listed) == count
    backwards = filler_of(frames, masks)
    by_chunk = {start: list(backwards.fill(start, stop)) for start, stop in reversed(chunks(count))}
    single = [frame for start, stop in chunks(count) for frame in filler_of(frames, masks).fill(start, stop)]
    joined = [frame for start in sorted(by_chunk) for frame in by_chunk[start]]
    for other in (listed, joined, single):
        assert np.array_equal(np.stack(streamed), np.stack(other))
    assert np.array_equal(np.stack(streamed)[~masks], frames[~masks])
    assert not np.array_equal(np.stack(streamed)[masks], frames[masks])


def test_a_chunk_depends_on_the_frames_it_names_and_on_no_others() -> None:
    frames, masks = clip(40)
    before = {start: np.stack(list(filler_of(frames, masks).fill(start, stop))) for start, stop in chunks(40)}
    for changed in (0, 3, 10, 17, 22, 39):
        other = frames.copy()
        other[changed] = 255 - other[changed]
        again = filler_of(other, masks)
        for start, stop in chunks(40):
            same = np.array_equal(before[start], np.stack(list(again.fill(start, stop))))
            assert same == (changed not in again.reads(start, stop)), (changed, start)


def test_only_named_frames_are_read_and_windows_run_once() -> None:
    frames, masks = clip(24)
    asked: list[int] = []
    filler = filler_of(frames, masks, asked)
    list(filler.fill(8, 12))
    assert set(asked) == set(filler.reads(8, 12))
    assert filler.windows_run == [1, 2]
    filler = filler_of(frames, masks)
    for start, stop in chunks(24):
        list(filler.fill(start, stop))
    assert filler.windows_run == [0, 1, 2, 3, 4, 5]


def test_features_and_flows_are_computed_once() -> None:
    frames, masks = clip(24)
    masks[:] = masks[0]  # a hole that stands still: one crop
    filler = filler_of(frames, masks)
    for start, stop in chunks(24):
        list(filler.fill(start, stop))
    assert filler._store.encoded == 24
    assert filler._store.flowed == 23


def test_what_is_kept_never_changes_a_result() -> None:
    frames, masks = clip(14)
    poor = e2fgvi.FillSettings(chunk=4, overlap=2, reference_step=5, reference_span=8, cache_bytes=0)
    rich = list(e2fgvi.fill(stand_in.mixer(), frames, masks, settings=SETTINGS))
    assert np.array_equal(np.stack(rich), np.stack(list(e2fgvi.fill(stand_in.mixer(), frames, masks, settings=poor))))


def test_chunks_without_masked_pixels_cost_nothing_and_clips_without_any_say_so() -> None:
    frames, masks = clip(24)
    masks[:14] = False
    filler = filler_of(frames, masks)
    for start, stop in chunks(24)[:3]:
        assert np.array_equal(np.stack(list(filler.fill(start, stop))), frames[start:stop])
    assert filler.windows_run == []
    said: list[str] = []
    for blend in ("windowed", "upstream"):
        passed = list(e2fgvi.fill(stand_in.mixer(), frames[:5], masks[:5], blend=blend, warn=said.append))
        assert np.array_equal(np.stack(passed), frames[:5])
    assert len(said) == 2 and all("nothing to fill" in words for words in said)


@pytest.mark.parametrize("blend", ["windowed", "upstream"])
def test_windows_never_mix_shots(blend: str) -> None:
    frames, masks = clip(17)
    whole = list(e2fgvi.fill(stand_in.mixer(), iter(frames), iter(masks), blend=blend, cuts=[6, 7], settings=SETTINGS))
    parts = [
        frame
        for part in (slice(0, 6), slice(6, 7), slice(7, 17))
        for frame in e2fgvi.fill(stand_in.mixer(), frames[part], masks[part], blend=blend, settings=SETTINGS)
    ]
    assert np.array_equal(np.stack(whole), np.stack(parts))


def test_a_stream_is_held_in_bounded_memory() -> None:
    frames, masks = clip(8)
    alive = 0
    most = 0

    class Counted(np.ndarray):  # type: ignore[type-arg]
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def stream(count: int) -> Iterator[NDArray[np.uint8]]:
        nonlocal alive, most
        for index in range(count):
            alive += 1
            most = max(most, alive)
            yield frames[index % 8].copy().view(Counted)

    settings = e2fgvi.FillSettings(chunk=4, overlap=2, reference_step=5, reference_span=8, cache_bytes=0)
    filled = e2fgvi.fill(stand_in.mixer(), stream(90), (masks[i % 8] for i in range(90)), settings=settings)
    assert sum(1 for _ in filled) == 90
    assert most < 40


def test_hopeless_holes_are_filled_and_named() -> None:
    frames, masks = clip(6)
    masks[3] = True
    said: list[str] = []
    filled = list(e2fgvi.fill(stand_in.mixer(), frames, masks, settings=SETTINGS, warn=said.append))
    assert len(filled) == 6
    assert any(words.startswith("frames 3:") and "whole picture" in words for words in said)
    masks = np.zeros_like(masks)
    masks[:, 20:40, 50:90] = True  # never seen
    said.clear()
    list(e2fgvi.fill(stand_in.mixer(), frames, masks, settings=SETTINGS, warn=said.append))
    assert any(words.startswith("frames 0-5:") and "every frame" in words for words in said)


@pytest.mark.slow
def test_the_base_variant_fills_through_its_own_size() -> None:
    frames, masks = clip(2, 200, 300)
    network = stand_in.network("base")
    for blend in ("windowed", "upstream"):
        filled = np.stack(list(e2fgvi.fill(network, frames, masks, blend=blend)))
        assert np.array_equal(filled[~masks], frames[~masks])
        assert not np.array_equal(filled[masks], frames[masks])


def test_the_same_input_gives_the_same_bytes() -> None:
    frames, masks = clip(2, 30, 40)
    runs = [np.stack(list(e2fgvi.fill(stand_in.network(), frames, masks))) for _ in range(2)]
    assert np.array_equal(*runs)


@pytest.mark.parametrize("blend", ["windowed", "upstream"])
def test_reversed_views_are_pictures_too(blend: str) -> None:
    frames, masks = clip(2, 30, 40)
    network = stand_in.mixer()
    straight = list(e2fgvi.fill(network, frames[..., ::-1].copy(), masks[:, ::-1].copy(), blend=blend))
    assert np.array_equal(straight, list(e2fgvi.fill(network, frames[..., ::-1], masks[:, ::-1], blend=blend)))


def test_bad_input_is_said() -> None:
    frames, masks = clip(3)
    network = stand_in.mixer()
    with pytest.raises(MaskError, match="2 masks for 3 frames"):
        e2fgvi.fill(network, frames, masks[:2])
    for blend in ("windowed", "upstream"):
        with pytest.raises(MaskError, match="masks end after 2"):
            list(e2fgvi.fill(network, iter(frames), iter(masks[:2]), blend=blend))
        with pytest.raises(MaskSizeMismatch, match="frame 1 is 111x64"):
            list(e2fgvi.fill(network, frames, [masks[0], masks[1][:, 1:], masks[2]], blend=blend))
        with pytest.raises(MaskError, match="frame 0"):
            list(e2fgvi.fill(network, frames, masks.astype(float), blend=blend))
        with pytest.raises(EngineError, match="frame 2 is 112x63"):
            list(e2fgvi.fill(network, [frames[0], frames[1], frames[2][1:]], [*masks[:2], masks[2][1:]], blend=blend))
        with pytest.raises(EngineError, match="frame 0"):
            list(e2fgvi.fill(network, frames.astype(float), masks, blend=blend))
    with pytest.raises(UsageError, match="unknown blend 'best'"):
        e2fgvi.fill(network, frames, masks, blend="best")
    with pytest.raises(UsageError, match="chunk"):
        next(filler_of(frames, masks).fill(1, 3))
