"""What lies behind the objects: the background as it was last seen, carried along with the background's own motion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic import motion

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Window = tuple[slice, slice]

_STILL_PX = 0.25  # smaller shifts of the whole picture wait until they add up, or carrying would blur
_CLEAR_PX = 5  # what is this near to an object is not taken for background: motion blur, shadows
_LOCAL_PX = 49  # a square around a pixel: how well the plate fits there
_FLOOR = 6.0  # grey levels by which pictures differ anyway
_OUTLIER = 12.0  # what differs more than this does so by no fault of the plate's
_WORSE = 3.0  # times the whole window's misfit: a misfit beyond it is a missed part of an object
_SPREAD = 3.0  # times the usual misfit is still usual
_MISFIT = 6.0  # grey levels at which the plate counts 1/e
_SLOWLY = 0.05  # share of a changed colour that is believed, where the plate fits well
_SEEN = 255


@dataclass(frozen=True)
class Difference:
    """A window of the picture against the plate: [h, w] each."""

    apart: Floats  # 1 is what pictures of one background differ at most
    fit: Floats  # 0..1 how well the plate fits around
    seen: Bools


@dataclass
class Plate:
    """Colours of the background where they have been seen, in the place of the frame before."""

    colour: Bytes  # [h, w, 3]
    seen: Bytes  # [h, w] 255 where the background has been seen
    waiting: NDArray[np.float64]  # [2, 3] from the last frame's pixels to the plate's

    @classmethod
    def of(cls, picture: Bytes, outside: Bools) -> Plate:
        """Of a picture RGB uint8 [h, w, 3]; outside [h, w]: its background."""
        return cls(picture.copy(), _clear(outside), np.eye(2, 3))

    def move(self, behind: Floats, window: Window, shape: tuple[int, int]) -> None:
        """Go on to the next frame; behind: the background's motion in a window of some shape (`motion.fit_affine`)."""
        step = motion.matrix(behind, shape, (window[1].start or 0, window[0].start or 0))
        self.waiting = (np.vstack([self.waiting, [0, 0, 1]]) @ np.vstack([step, [0, 0, 1]]))[:2]
        height, width = self.seen.shape
        corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64)
        if np.abs(corners @ self.waiting.T - corners[:, :2]).max() < _STILL_PX:
            return
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        self.colour = np.asarray(cv2.warpAffine(self.colour, self.waiting, (width, height), flags=how), np.uint8)
        self.seen = _surely(cv2.warpAffine(self.seen, self.waiting, (width, height), flags=how))
        self.waiting = np.eye(2, 3)

    def against(self, part: Bytes, window: Window, outside: Bools) -> Difference:
        """How a window of the picture differs from the plate, in units of what it differs elsewhere nearby.

        part RGB uint8 [h, w, 3]; outside [h, w]: likely background.
        """
        plate, seen = self.colour[window], self.seen[window] == _SEEN
        near = np.ones((3, 3), np.uint8)
        # beyond what the neighbours span: a shift by a pixel explains nothing else
        beyond = cv2.add(cv2.subtract(part, cv2.dilate(plate, near)), cv2.subtract(cv2.erode(plate, near), part))
        red, green, blue = cv2.split(beyond)
        apart = cv2.max(cv2.max(red, green), blue).astype(np.float32)
        known = (seen & outside).astype(np.float32)
        misfit = np.minimum(apart, np.float32(_OUTLIER)) * known
        most = np.float32(_WORSE * float(misfit.sum()) / max(1.0, float(known.sum())))
        square = (_LOCAL_PX, _LOCAL_PX)
        usual = np.minimum(cv2.blur(misfit, square) / (cv2.blur(known, square) + np.float32(0.02)), most)
        scale = np.float32(_FLOOR) + np.float32(_SPREAD) * usual
        return Difference(apart / scale, np.exp(usual * np.float32(-1 / _MISFIT)), seen)

    def renew(self, part: Bytes, window: Window, outside: Bools, difference: Difference | None) -> None:
        """Take in what of a window's background is seen now; outside [h, w].

        difference: what changed may be a missed part of an object, and is believed slowly.
        """
        clear = _clear(outside) == _SEEN
        colour = self.colour[window]
        if difference is not None:
            doubted = clear & difference.seen & (difference.apart > 1)
            share = np.maximum(np.float32(_SLOWLY), np.square(1 - difference.fit[doubted]))[:, None]
            former = colour[doubted].astype(np.float32)
            colour[doubted] = former + (part[doubted].astype(np.float32) - former) * share
            clear &= ~doubted
        np.copyto(colour, part, where=clear[..., None])
        self.seen[window][clear] = _SEEN

    def resized(self, size_wh: tuple[int, int]) -> Plate:
        """At another working size."""
        by = np.array([size_wh[0] / self.seen.shape[1], size_wh[1] / self.seen.shape[0]])
        waiting = np.column_stack([self.waiting[:, :2] * by[:, None] / by[None, :], self.waiting[:, 2] * by])
        colour = np.asarray(cv2.resize(self.colour, size_wh, interpolation=cv2.INTER_LINEAR), np.uint8)
        return Plate(colour, _surely(cv2.resize(self.seen, size_wh, interpolation=cv2.INTER_LINEAR)), waiting)

    def arrays(self) -> dict[str, Any]:
        """Everything as flat arrays."""
        return {"colour": self.colour.copy(), "seen": self.seen.copy(), "waiting": self.waiting.copy()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Plate:
        """The plate that `arrays` came from."""
        return cls(arrays["colour"].copy(), arrays["seen"].copy(), arrays["waiting"].copy())


def _surely(seen: NDArray[Any]) -> Bytes:
    """Only what was seen wholly."""
    return np.where(seen == _SEEN, np.uint8(_SEEN), np.uint8(0))


def _clear(outside: Bools) -> Bytes:
    """255 for pixels that lie clear of all objects."""
    side = 2 * _CLEAR_PX + 1
    return np.asarray(cv2.erode(outside.astype(np.uint8) * np.uint8(_SEEN), np.ones((side, side), np.uint8)), np.uint8)
