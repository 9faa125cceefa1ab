"""Shadows and reflections that belong to an object: dark ground at its foot that goes where the object goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic import shadowed
from tam_edit.models.classic.fill_scene import Recent, Scene
from tam_edit.models.matting.contour import Bools, Floats

Rgb = NDArray[np.uint8]

STEPS = (-12, -8, -4, 4, 8, 12)
"""Frames from which is told whether the ground was dark without the object."""

REACH = 12
BRIGHTER, ALIKE = 1.18, 1.09
"""Ground this much brighter at another time lay in shadow; ground no brighter than this is dark by itself."""

GUARD_PX = 3
AROUND_PX, VOTE_PX = 21, 15
"""At working size: how wide ground beside an object is not asked (its shadow may reach there unseen), and how wide a
neighbourhood votes together."""


class Shadows:
    """Finds the shadows of the objects of one shot, frame by frame.

    read(i) -> (uint8 RGB [H, W, 3], bool mask [H, W]) for first <= i < stop. Each answer depends on the frames
    within REACH of it only, and on no frame outside those.
    """

    def __init__(self, read: Callable[[int], tuple[Rgb, Bools]], stop: int, first: int = 0) -> None:
        self._scene = Scene(read, 2 * REACH + 8, GUARD_PX)
        self._span = range(first, stop)
        self._guesses: Recent[Bools] = Recent(2 * REACH + 8)

    def found(self, index: int) -> Bools:
        """The shadow of a frame's objects without the objects, bool [H, W]."""
        _, mask = self._scene.picture(index)
        guess = self._guesses.get_or(index, self._guess)
        if not guess.any():
            return guess
        size = self._scene.work_wh
        small = cv2.resize(guess.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0
        witness = np.zeros(small.shape, np.float32)
        count = np.zeros(small.shape, np.float32)
        for moved, alone in self._elsewhen(index):
            witness += np.where(moved, np.float32(1), np.float32(0)) - np.where(alone, np.float32(1), np.float32(0))
            count += moved | alone
        kept = _judged(small, witness, count)
        large = cv2.resize(kept.astype(np.uint8), mask.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
        return np.asarray(guess & large)

    def _guess(self, index: int) -> Bools:
        rgb, mask = self._scene.picture(index)
        return np.asarray(shadowed(rgb, mask) & ~mask) if mask.any() else np.zeros_like(mask)

    def _elsewhen(self, index: int) -> Iterator[tuple[Bools, Bools]]:
        """For other frames: where ground was brighter without the object, and where it was as dark."""
        here = _brightness(self._scene.small(index).rgb)
        size = self._scene.work_wh
        flags = cv2.WARP_INVERSE_MAP
        for step in STEPS:
            at = index + step
            if at not in self._span:
                continue
            camera = self._scene.camera(index, at)
            there = cv2.warpPerspective(
                _brightness(self._scene.small(at).rgb), camera, size, flags=flags | cv2.INTER_LINEAR
            )
            _, mask = self._scene.picture(at)
            taken = (mask | self._guesses.get_or(at, self._guess)).astype(np.uint8)
            taken = cv2.dilate(
                cv2.resize(taken, size, interpolation=cv2.INTER_AREA), np.ones((AROUND_PX, AROUND_PX), np.uint8)
            )
            # What lies beyond the other picture is as good as hidden.
            hidden = cv2.warpPerspective(
                taken, camera, size, flags=flags | cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=1
            )
            ratio = (there + 4) / (here + 4)
            yield np.asarray((hidden == 0) & (ratio > BRIGHTER)), np.asarray((hidden == 0) & (ratio < ALIKE))


def _brightness(rgb: Rgb) -> Floats:
    return np.asarray(cv2.GaussianBlur(rgb.max(axis=2).astype(np.float32), (0, 0), 1.0), np.float32)


def _judged(guess: Bools, witness: Floats, count: Floats) -> Bools:
    """Pixels of a guess for which the witnesses around speak, and those without witnesses that hang together with them.

    What the witnesses speak against is left out first, so that it neither joins nor parts the others.
    """
    box = (VOTE_PX, VOTE_PX)
    weight = guess.astype(np.float32)
    votes, voters = cv2.blur(witness * weight, box), cv2.blur(count * weight, box)
    left = guess & ((votes > 0) | (voters < 1e-3))
    total, labels = cv2.connectedComponents(left.astype(np.uint8))
    balance = np.bincount(labels.ravel(), np.where(left, votes, 0).ravel(), minlength=total)
    balance[0] = 0
    return np.asarray(balance[labels] > 0)
