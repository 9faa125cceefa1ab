"""Two thousand frames need no more memory than two hundred (slow)."""

from __future__ import annotations

import resource

import pytest

from tam_edit.models.xmem import MemorySettings, Network, Tracker
from tests.xmem.clips import moving_discs


@pytest.mark.slow
def test_memory_does_not_grow_with_the_clip(network: Network) -> None:
    clip, truth = moving_discs(20, 32, 48, 2)
    settings = MemorySettings(mem_every=1, num_prototypes=16, max_long_term_elements=200)
    tracker = Tracker(network, settings, short_side=None)
    peaks, snapshots = [], []
    for index in range(2000):
        tracker.step(clip[index % len(clip)], truth[0] if index == 0 else None)
        if index + 1 in (200, 2000):
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
            snapshots.append(sum(array.nbytes for array in tracker.snapshot().values()))
    assert peaks[1] <= 1.1 * peaks[0]
    assert snapshots[1] <= 1.1 * snapshots[0]
