"""Refined masks in XMem's memory, with stand-in weights: the mechanism, not the quality."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tam_edit.clip import FrameSpan
from tam_edit.engine.runner import Runner
from tam_edit.engine.store import Store
from tam_edit.masks import Mask
from tam_edit.media.digests import digest_source
from tam_edit.models import xmem
from tam_edit.pipelines.context import Context
from tam_edit.pipelines.engines import XMemTracking
from tam_edit.pipelines.keyframes import Keyframes, SaidMask
from tam_edit.pipelines.passes import ProbingTracker
from tam_edit.pipelines.probe import probe
from tam_edit.pipelines.propagate import propagate
from tam_edit.pipelines.refine import Accepted
from tam_edit.script import Prompt, StoredMask
from tests.scenes import SIZE_WH, truth, write_clip
from tests.xmem.reference import random_state

FRAMES, REFINED, CUT = 14, 7, 10


class StandInXMem(XMemTracking):
    """XMem with random weights, and short chunks."""

    chunk = 4
    identity = "xmem/stand-in"  # type: ignore[assignment]

    def __init__(self, network: xmem.Network) -> None:
        self._network = network
        self._options = type("Options", (), {"fast": False})  # type: ignore[assignment]


class Kept(Accepted):
    """A mask that was refined, without a stage that made it."""

    def load(self) -> Mask:
        return wider(REFINED)


@pytest.fixture(scope="module")
def tracking() -> Iterator[StandInXMem]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield StandInXMem(xmem.load(random_state()))
    torch.set_num_threads(before)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    clip = write_clip(tmp_path / "ball.mp4", frames=FRAMES, cuts=(CUT,))
    runner = Runner(Store(tmp_path / "cache"), "test")
    found = probe(runner, clip, digest_source(clip))
    with Context(runner, found.source, (CUT,), 2**30) as opened:
        yield opened


def wider(frame: int) -> Mask:
    """The ball and something beside it."""
    mask = truth(frame)
    mask[2:6, 2:9] = True
    return mask


def key(frame: int) -> Keyframes:
    return {frame: {1: SaidMask(Prompt(mask=StoredMask.of(truth(frame))), SIZE_WH)}}


def test_a_refined_mask_is_written_to_memory_and_gone_back_from(context: Context, tracking: StandInXMem) -> None:
    plain = propagate(context, key(0), tracking)
    refined = {REFINED: {1: Kept(context, "", "a digest", trust={"combined": 0.8, "overlap": 0.7})}}
    ran = len(context.runner.ledger.decisions)
    better = propagate(context, key(0), tracking, None, refined)
    again = [item for item in context.runner.ledger.decisions[ran:] if item.action == "run"]
    assert (better.maps.load(REFINED) == wider(REFINED)).all()
    assert better.trust[REFINED][1] == {"combined": 0.8, "overlap": 0.7}
    # Forward, the chunk before the refined frame's is used as it is; backward, everything up to the keyframe is new.
    starts = sorted(item.span.start for item in again)
    assert starts[:5] == [0, 1, 4, 4, 4], "fused 0; backward 3 to 1, 7 to 4; forward from 4; fused 4"
    # Random weights find nothing at all, but what they find it by tells whether memory is another one.
    changed = [frame for frame in range(FRAMES) if plain.trust[frame] != better.trust[frame]]
    assert set(changed) >= {REFINED - 1, *range(REFINED, FRAMES)} and 0 not in changed


def test_the_memory_holds_the_refined_frame(context: Context, tracking: StandInXMem) -> None:
    trackers = [tracking.make(), tracking.make()]
    for tracker, given in zip(trackers, (None, {1: wider(3)}), strict=True):
        tracker.step(context.rgb(0), {1: truth(0)})
        for frame in (1, 2):
            tracker.step(context.rgb(frame))
        tracker.step(context.rgb(3), given)
    frames = [tracker._tracker._bank.frames for tracker in trackers]  # type: ignore[attr-defined]
    assert len(frames[1]) == len(frames[0]) + 1, "the refined frame is remembered, though it was not due"
    one, other = (tracker.step(context.rgb(4)) for tracker in trackers)
    assert not np.array_equal(one, other)
    assert isinstance(trackers[0], ProbingTracker)
    inside, outside = trackers[0].probes(1, 3)
    assert inside.shape[1] == outside.shape[1] == 2


def test_an_object_goes_on_beyond_a_cut(context: Context, tracking: StandInXMem) -> None:
    found = propagate(context, key(0), tracking)
    assert found.regions == (FrameSpan(0, FRAMES),), "one region: memory outlives the cut"
    assert all(1 in found.trust[frame] for frame in range(FRAMES))
    # What was learnt before the cut is what speaks after it: other masks before it give other ones after it.
    other = propagate(context, {0: {1: SaidMask(Prompt(mask=StoredMask.of(~truth(0))), SIZE_WH)}}, tracking)
    assert all(found.trust[frame] != other.trust[frame] for frame in range(CUT, FRAMES))
