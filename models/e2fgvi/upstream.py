"""The authors' procedure, exactly: windows of eleven frames, references from the whole shot, running means."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator

import numpy as np
import torch
from torch import Tensor

from tam_edit.models.e2fgvi.features import FeatureStore
from tam_edit.models.e2fgvi.network import BASE_HW, E2FGVI, MULTIPLE_HW
from tam_edit.models.e2fgvi.pictures import Colours, Frame, Mask, masked_colours, mirrored, round_up, scaled_input

STEP = 5  # centres lie this far apart, and neighbours reach as far to both sides
REFERENCE_STEP = 10

Read = Callable[[int], tuple[Frame, Mask]]


def windows(count: int) -> Iterator[tuple[range, list[int]]]:
    """Neighbours and references of each window of a shot of `count` frames."""
    for centre in range(0, count, STEP):
        neighbours = range(max(centre - STEP, 0), min(centre + STEP + 1, count))
        yield neighbours, [index for index in range(0, count, REFERENCE_STEP) if index not in neighbours]


@torch.inference_mode()
def fill_shot(network: E2FGVI, read: Read, count: int, cache_bytes: int) -> Iterator[Frame]:
    """Fill one shot of `count` frames as the authors' program does; frames come in order, each once.

    Reads references from the whole shot for every window: time a frame grows with the shot's length, memory
    (beside the budget of shared features) by one frame's features per ten frames.
    """

    def picture(key: Hashable) -> Tensor:
        assert isinstance(key, int)
        return _input(network, *read(key))

    store = FeatureStore(network, picture, cache_bytes)
    means: dict[int, Colours] = {}
    done = 0
    for neighbours, references in windows(count):
        for index in range(done, neighbours.start):
            yield _finished(*read(index), means.pop(index, None))
        done = max(done, neighbours.start)
        wanted = [index for index in neighbours if read(index)[1].any()]
        if not wanted:
            continue
        features = store.features([*neighbours, *references])
        gathered = network.propagate(features[: len(neighbours)], store.flows(list(neighbours)))
        filled = network.transform(torch.cat((gathered, features[len(neighbours) :])), len(neighbours))
        for index in wanted:
            mask = read(index)[1]
            one = filled[index - neighbours.start][None]
            # Whole numbers each time, as the authors' program makes them.
            new: Colours = np.trunc(
                masked_colours(network.decode, one, mask, _seen_hw(network, mask)), dtype=np.float32
            )
            before = means.get(index)
            means[index] = new if before is None else before * np.float32(0.5) + new * np.float32(0.5)
    for index in range(done, count):
        yield _finished(*read(index), means.pop(index, None))


def _input(network: E2FGVI, frame: Frame, mask: Mask) -> Tensor:
    seen = scaled_input(frame, mask, _seen_hw(network, mask), network.device)
    return mirrored(seen, (round_up(seen.shape[-2], MULTIPLE_HW[0]), round_up(seen.shape[-1], MULTIPLE_HW[1])))


def _seen_hw(network: E2FGVI, mask: Mask) -> tuple[int, int]:
    """The size at which the network sees the whole picture, before mirroring."""
    return BASE_HW if network.variant == "base" else (mask.shape[0], mask.shape[1])


def _finished(frame: Frame, mask: Mask, mean: Colours | None) -> Frame:
    result = frame.copy()
    if mean is not None:
        result[mask] = mean.astype(np.uint8)
    return result
