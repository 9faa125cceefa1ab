"""How strong a picture's noise is, at two sizes, and noise of that strength: the same for the same number.

Immerkaer, "Fast noise variance estimation", 1996: a difference of Laplacians sees noise and little else; of all blocks
of the picture the calm ones count, since texture only adds.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

BLOCK_PX = 16
CALM_SHARE = 0.1
_SEED = 0x7A6D
_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)


@dataclass(frozen=True)
class Grain:
    """Standard deviations in levels of 255: noise of single pixels and of 2x2 pixels, of luma and of chroma."""

    fine: float = 0.0
    coarse: float = 0.0
    chroma: float = 0.0

    def missing(self, there: Grain) -> Grain:
        """What has to be added to noise that is there to come to this."""
        pairs = ((self.fine, there.fine), (self.coarse, there.coarse), (self.chroma, there.chroma))
        return Grain(*(max(want**2 - have**2, 0.0) ** 0.5 for want, have in pairs))


def grain_of(rgb: NDArray[np.uint8], usable: NDArray[np.bool_]) -> Grain | None:
    """The noise of a picture, uint8 [H, W, 3], where it is usable, bool [H, W]; None where that is too little."""
    planes = rgb.astype(np.float32) @ _YCC.T
    good = usable & (rgb.min(axis=2) > 4) & (rgb.max(axis=2) < 251)  # cut values have lost their noise
    fine = _deviation(planes[..., 0], good)
    if fine is None:
        return None
    height, width = rgb.shape[0] // 2 * 2, rgb.shape[1] // 2 * 2
    halves = cv2.resize(planes[:height, :width], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    whole = cv2.erode(good[:height, :width].astype(np.uint8), np.ones((2, 2), np.uint8))[::2, ::2] > 0
    half = _deviation(halves[..., 0], whole)
    chroma = [found for found in (_deviation(planes[..., 1], good), _deviation(planes[..., 2], good)) if found]
    # White noise is half as strong after averaging 2x2 pixels; what is left beyond that is coarser.
    coarse = 0.0 if half is None else max(half**2 - fine**2 / 4, 0.0) ** 0.5
    return Grain(fine, coarse, float(np.mean(chroma)) if chroma else 0.0)


def _deviation(plane: NDArray[np.float32], good: NDArray[np.bool_]) -> float | None:
    """Noise of one plane from its calmest blocks; None with fewer than four blocks."""
    answer = np.abs(cv2.filter2D(plane, cv2.CV_32F, _MASK, borderType=cv2.BORDER_REFLECT_101))
    usable = cv2.erode(good.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0)
    rows, columns = plane.shape[0] // BLOCK_PX, plane.shape[1] // BLOCK_PX
    if rows * columns < 4:
        return None
    cut = (slice(0, rows * BLOCK_PX), slice(0, columns * BLOCK_PX))
    shape = (rows, BLOCK_PX, columns, BLOCK_PX)
    means = answer[cut].reshape(shape).mean(axis=(1, 3))
    full = usable[cut].reshape(shape).min(axis=(1, 3)) > 0
    if int(full.sum()) < 4:
        return None
    calm = float(np.quantile(means[full], CALM_SHARE))
    return calm * float(np.sqrt(np.pi / 2)) / 6


def grained(rgb: NDArray[np.uint8], grain: Grain, number: int) -> NDArray[np.uint8]:
    """A picture, uint8 [H, W, 3], with noise over it; the same for the same frame number."""
    height, width = rgb.shape[:2]
    draw = np.random.Generator(np.random.Philox(key=[_SEED, number]))
    luma = np.float32(grain.fine) * draw.standard_normal((height, width), np.float32)
    if grain.coarse > 0:
        small = draw.standard_normal(((height + 1) // 2, (width + 1) // 2), np.float32) * np.float32(grain.coarse)
        luma += np.repeat(np.repeat(small, 2, axis=0), 2, axis=1)[:height, :width]
    noisy = rgb.astype(np.float32)
    noisy += luma[..., None]
    if grain.chroma > 0:
        blue, red = draw.standard_normal((2, height, width), np.float32) * np.float32(grain.chroma)
        noisy[..., 0] += np.float32(1.402) * red
        noisy[..., 1] -= np.float32(0.344136) * blue + np.float32(0.714136) * red
        noisy[..., 2] += np.float32(1.772) * blue
    return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)
