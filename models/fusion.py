"""Joining two propagations that meet between keyframes; knows no engine, only probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import UsageError

Floats = NDArray[np.float32]

_LEAST_CONFIDENCE = 0.02
_LEAST_TRUST = 0.02


def fuse(
    forward: Floats,
    backward: Floats,
    steps_forward: int,
    steps_backward: int,
    *,
    trust_forward: Sequence[float] | None = None,
    trust_backward: Sequence[float] | None = None,
) -> Floats:
    """Mean of both directions, weighted by nearness to their keyframes and by confidence at each pixel.

    forward, backward float32 [1 + K, H, W], background first, sums of 1; steps_forward and steps_backward count the
    frames from the keyframe each one comes from. At 0 steps the result equals that direction, and weights change with
    the steps, so no seam appears anywhere. trust_forward and trust_backward: 0..1 for each object, how far each
    direction is believed as a whole on this frame (one that lost an object is sure of the background and still wrong).
    Raises UsageError for shapes that differ or negative steps.
    """
    if forward.shape != backward.shape:
        raise UsageError(
            f"cannot fuse probabilities of shapes {forward.shape} and {backward.shape}: give both the same objects"
        )
    if steps_forward < 0 or steps_backward < 0:
        raise UsageError(f"steps to a keyframe cannot be negative: {steps_forward} and {steps_backward}")
    if steps_forward == 0 or steps_backward == 0:
        return forward.copy() if steps_forward <= steps_backward else backward.copy()
    weight_forward = np.float32(steps_backward) * confidence(forward)
    weight_backward = np.float32(steps_forward) * confidence(backward)
    if trust_forward is not None and trust_backward is not None:
        claims = forward[1:] + backward[1:] + np.float32(1e-6)  # [K, H, W]
        weight_forward = weight_forward * _believed(claims, trust_forward)
        weight_backward = weight_backward * _believed(claims, trust_backward)
    share = weight_forward / (weight_forward + weight_backward)  # [H, W], of the forward direction
    result = backward + (forward - backward) * share
    return np.asarray(result / result.sum(axis=0), np.float32)


def _believed(claims: Floats, trust: Sequence[float]) -> Floats | np.float32:
    """The trust in the objects that either direction sees at each pixel: [H, W], never quite 0."""
    if len(trust) != len(claims):
        raise UsageError(f"{len(trust)} values of trust for {len(claims)} objects: give one for each")
    if not len(claims):
        return np.float32(1)
    mean = np.tensordot(np.asarray(trust, np.float32), claims, axes=1) / claims.sum(axis=0)
    return np.asarray(np.maximum(mean, np.float32(_LEAST_TRUST)), np.float32)


def confidence(probability: Floats) -> Floats:
    """How far the best object leads over the second at each pixel: [1 + K, H, W] to [H, W], just above 0 to 1."""
    if len(probability) == 1:
        return np.ones(probability.shape[1:], np.float32)
    second, first = np.partition(probability, len(probability) - 2, axis=0)[-2:]
    return np.asarray(np.maximum(first - second, np.float32(_LEAST_CONFIDENCE)), np.float32)
