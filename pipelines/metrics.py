"""How good masks and pictures are: pure functions on arrays, the measures that papers and benchmarks print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, hypot, inf, log10, nan

import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import MaskSizeMismatch
from tam_edit.masks import Mask, box_of

Picture = NDArray[np.uint8]


# Masks: Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation, CVPR 2016


def jaccard(pred: Mask, truth: Mask) -> float:
    """J, the region similarity of two masks [H, W]: intersection over union; 1 where both are empty.

    Raises MaskSizeMismatch. Source: DAVIS (Perazzi et al. 2016, section 4.1).
    """
    _same_size(pred, truth)
    union = int(np.count_nonzero(pred | truth))
    return int(np.count_nonzero(pred & truth)) / union if union else 1.0


def boundary_f(pred: Mask, truth: Mask, bound: float = 0.008) -> float:
    """F, the contour accuracy of two masks [H, W]: harmonic mean of precision and recall of contour pixels.

    A contour pixel counts as found when the other contour passes within `bound` times the picture's diagonal,
    rounded up to whole pixels. Raises MaskSizeMismatch. Source: DAVIS (Perazzi et al. 2016, section 4.1), whose
    evaluation code takes the contour half a pixel towards the origin and a disk for the distance; so does this.
    """
    import cv2

    _same_size(pred, truth)
    reach_px = ceil(bound * hypot(*pred.shape))
    # Nothing beyond the reach of either mask can count: a small object costs little in a large picture.
    region = _region(pred, truth, reach_px + 2)
    contours = contour_of(pred)[region], contour_of(truth)[region]
    found, wanted = (int(np.count_nonzero(contour)) for contour in contours)
    if found == 0 or wanted == 0:
        return 1.0 if found == wanted else 0.0
    disk = _disk(reach_px)
    near = [cv2.dilate(contour.astype(np.uint8), disk).astype(bool) for contour in contours]
    precision = np.count_nonzero(contours[0] & near[1]) / found
    recall = np.count_nonzero(contours[1] & near[0]) / wanted
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def contour_of(mask: Mask) -> Mask:
    """Pixels whose right, lower or lower right neighbour is on the other side, bool [H, W], as DAVIS draws contours."""
    mask = np.asarray(mask, dtype=bool)
    contour = np.zeros_like(mask)
    contour[:, :-1] = mask[:, :-1] ^ mask[:, 1:]
    contour[:-1] |= mask[:-1] ^ mask[1:]
    contour[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return contour


@dataclass(frozen=True)
class Curve:
    """One measure over the frames of one object, and what DAVIS prints of it."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over the frames; nan without frames."""
        return float(np.mean(self.values)) if self.values else nan

    @property
    def recall(self) -> float:
        """The share of frames above one half; nan without frames."""
        return float(np.mean(np.asarray(self.values) > 0.5)) if self.values else nan

    @property
    def decay(self) -> float:
        """Mean of the first quarter less mean of the last: what is lost with time; nan without frames.

        Quarters overlap by their end frames, as in DAVIS (Perazzi et al. 2016, section 4.2, and its code).
        """
        if not self.values:
            return nan
        edges = np.round(np.linspace(1, len(self.values), 5) + 1e-10).astype(int) - 1
        first, last = self.values[edges[0] : edges[1] + 1], self.values[edges[3] : edges[4] + 1]
        return float(np.mean(first) - np.mean(last))


# Pictures


def psnr(pred: Picture, truth: Picture, where: Mask | None = None) -> float:
    """Peak signal to noise in dB of two pictures, uint8 [H, W, C] or [H, W], over `where` (everywhere by default).

    inf where they are equal, nan where `where` is empty. Raises MaskSizeMismatch.
    """
    _same_size(pred, truth)
    difference = np.subtract(pred, truth, dtype=np.int32)
    if where is not None:
        _same_size(where, truth)
        difference = difference[where]
    if difference.size == 0:
        return nan
    error = int(np.square(difference).sum(dtype=np.int64)) / difference.size
    return 10 * log10(255**2 / error) if error else inf


def ssim(pred: Picture, truth: Picture) -> float:
    """Structural similarity of two pictures, uint8 [H, W] or [H, W, C], mean over pixels and channels.

    Gaussian window 11x11 of sigma 1.5, K1 .01, K2 .03, over places where the whole window lies inside.
    Raises MaskSizeMismatch, also for pictures below 11x11. Source: Wang et al., Image Quality Assessment: From
    Error Visibility to Structural Similarity, IEEE TIP 2004.
    """
    import cv2

    _same_size(pred, truth)
    if min(pred.shape[:2]) < 11:
        raise MaskSizeMismatch(f"SSIM needs pictures of 11x11 pixels or more, not {pred.shape[1]}x{pred.shape[0]}")
    x, y = pred.astype(np.float32), truth.astype(np.float32)

    def blurred(image: NDArray[np.float32]) -> NDArray[np.float32]:
        smooth: NDArray[np.float32] = cv2.GaussianBlur(image, (11, 11), 1.5)[5:-5, 5:-5]
        return smooth

    mean_x, mean_y = blurred(x), blurred(y)
    c1, c2 = np.float32((0.01 * 255) ** 2), np.float32((0.03 * 255) ** 2)
    product = mean_x * mean_y
    squares = mean_x * mean_x + mean_y * mean_y
    covariance = blurred(x * y) - product
    variances = blurred(x * x + y * y) - squares
    similarity = (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
    return float(similarity.mean(dtype=np.float64))


def warping_error(before: Picture, after: Picture, flow: NDArray[np.float32], hole: Mask) -> float:
    """How much a filled hole flickers between two neighbouring frames, in grey levels.

    before, after: the outputs, uint8 RGB [H, W, 3]; flow: from before to after, measured on the *true* pictures,
    float32 [H, W, 2] as (x, y) in pixels; hole: the hole in before. The mean over the hole of the absolute
    difference between before's grey and after's grey fetched along the flow; places whose flow leaves the picture
    do not count. nan where nothing counts. Raises MaskSizeMismatch. Source: the unmasked, in-hole form of Lai et
    al., Learning Blind Video Temporal Consistency, ECCV 2018, section 4.2, in grey levels as in this project's
    study. The true pictures have an error too (flow is not perfect): print it beside.
    """
    import cv2

    _same_size(before, after)
    _same_size(flow, before)
    _same_size(hole, before)
    y, x = np.nonzero(hole)
    if y.size == 0:
        return nan
    to_x, to_y = x.astype(np.float32) + flow[y, x, 0], y.astype(np.float32) + flow[y, x, 1]
    height, width = hole.shape
    inside = (to_x >= 0) & (to_x <= width - 1) & (to_y >= 0) & (to_y <= height - 1)
    if not inside.any():
        return nan
    grey_before = cv2.cvtColor(before, cv2.COLOR_RGB2GRAY)[y[inside], x[inside]].astype(np.float32)
    grey_after = cv2.cvtColor(after, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fetched = _sample(grey_after, to_x[inside], to_y[inside])
    return float(np.abs(grey_before - fetched).mean(dtype=np.float64))


def true_flow(before: Picture, after: Picture) -> NDArray[np.float32]:
    """Dense inverse search flow (medium) on grey from before to after, float32 [H, W, 2]; pictures uint8 [H, W, 3].

    Source: Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016, in OpenCV.
    """
    import cv2

    from tam_edit.models.classic.flow import between

    _same_size(before, after)
    greys = [np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8) for picture in (before, after)]
    return between(greys[0], greys[1])


def finite_mean(values: Sequence[float]) -> float:
    """The mean of the values that are finite; inf when all are inf or nan and one is inf; nan for none."""
    finite = [value for value in values if np.isfinite(value)]
    if finite:
        return float(np.mean(finite))
    return inf if any(value == inf for value in values) else nan


def _sample(image: NDArray[np.float32], x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bilinear values of image [H, W] at points that lie inside it."""
    height, width = image.shape
    left = np.minimum(x.astype(np.intp), max(width - 2, 0))
    top = np.minimum(y.astype(np.intp), max(height - 2, 0))
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    fx, fy = x - left.astype(np.float32), y - top.astype(np.float32)
    upper = image[top, left] * (1 - fx) + image[top, right] * fx
    lower = image[below, left] * (1 - fx) + image[below, right] * fx
    values: NDArray[np.float32] = upper * (1 - fy) + lower * fy
    return values


def _region(pred: Mask, truth: Mask, margin_px: int) -> tuple[slice, slice]:
    box = box_of(pred | truth)
    if box is None:
        return slice(0, 0), slice(0, 0)
    x0, y0, x1, y1 = box
    rows = slice(max(0, y0 - margin_px), y1 + margin_px)
    return rows, slice(max(0, x0 - margin_px), x1 + margin_px)


@lru_cache(maxsize=8)
def _disk(radius_px: int) -> NDArray[np.uint8]:
    across = np.arange(-radius_px, radius_px + 1)
    return (across[:, None] ** 2 + across[None, :] ** 2 <= radius_px**2).astype(np.uint8)


def _same_size(pred: NDArray[np.generic], truth: NDArray[np.generic]) -> None:
    if pred.shape[:2] != truth.shape[:2]:
        raise MaskSizeMismatch(
            f"{pred.shape[1]}x{pred.shape[0]} pixels cannot be compared with {truth.shape[1]}x{truth.shape[0]}:"
            " give both the same size"
        )
