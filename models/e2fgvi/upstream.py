"""The authors' procedure, exactly: windows of eleven frames, references from the whole shot, running means."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tam_edit.models.e2fgvi.features import FeatureStore
from tam_edit.models.e2fgvi.network import BASE_HW, E2FGVI, MULTIPLE_HW
from tam_edit.models.e2fgvi.pictures import Frame, Mask, masked_input, mirrored, round_up

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
    means: dict[int, NDArray[np.float32]] = {}
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
            # [H, W, 3], whole numbers as the authors' program makes them
            new = _predicted(network, filled[index - neighbours.start][None], mask)
            before = means.get(index)
            means[index] = new if before is None else before * np.float32(0.5) + new * np.float32(0.5)
    for index in range(done, count):
        yield _finished(*read(index), means.pop(index, None))


def _input(network: E2FGVI, frame: Frame, mask: Mask) -> Tensor:
    if network.variant == "base":
        if frame.shape[:2] != BASE_HW:
            size_wh = BASE_HW[::-1]
            frame = cv2.resize(frame, size_wh, interpolation=cv2.INTER_AREA).astype(np.uint8)
            mask = cv2.resize(mask.astype(np.uint8), size_wh, interpolation=cv2.INTER_AREA) > 0
        return masked_input(frame, mask, network.device)
    size = (round_up(frame.shape[0], MULTIPLE_HW[0]), round_up(frame.shape[1], MULTIPLE_HW[1]))
    return mirrored(masked_input(frame, mask, network.device), size)


def _predicted(network: E2FGVI, features: Tensor, mask: Mask) -> NDArray[np.float32]:
    """The prediction in whole grey levels, cut off below, of the masked pixels' frame: [H, W, 3]."""
    height, width = mask.shape
    picture = network.decode(features)[0].permute(1, 2, 0)
    if network.variant == "hq" or (height, width) == BASE_HW:
        picture = picture[:height, :width]
    grey = ((picture + 1) / 2 * 255).cpu().numpy()
    if grey.shape[:2] != (height, width):
        grey = np.clip(cv2.resize(grey, (width, height), interpolation=cv2.INTER_CUBIC), 0, 255)
    return np.asarray(np.trunc(grey), np.float32)


def _finished(frame: Frame, mask: Mask, mean: NDArray[np.float32] | None) -> Frame:
    result = frame.copy()
    if mean is not None:
        result[mask] = mean[mask].astype(np.uint8)
    return result
