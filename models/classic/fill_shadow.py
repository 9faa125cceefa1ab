"""The shadow at an object's foot: masks leave it out, and what is left of it betrays the removed object."""

from __future__ import annotations

import cv2
import numpy as np

from tam_edit.models.classic.fill_membrane import Bools, grown
from tam_edit.models.classic.fill_pictures import Rgb

DARKER = 0.62  # of the ground's usual brightness
REACH = 0.28  # of the object's height: how far from it a contact shadow is looked for
LEAST_PX = 12


def shadowed(rgb: Rgb, mask: Bools, *, reach: float = REACH, darker: float = DARKER) -> Bools:
    """The mask together with dark ground that touches its lower half: bool [H, W]. A guess; for removal only.

    rgb: uint8 [H, W, 3]; mask: bool [H, W]; reach: share of the object's height; darker: a shadow's brightness at
    most, as a share of the median brightness of the ground around. Each part of the mask is looked at by itself.
    """
    result = mask.copy()
    value = cv2.GaussianBlur(rgb.max(-1).astype(np.float32), (0, 0), 1.2)
    count, labels, parts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    for label in range(1, count):
        left, top, width, height = (int(parts[label, column]) for column in range(4))
        radius = round(reach * height)
        if radius < 2 or parts[label, cv2.CC_STAT_AREA] < LEAST_PX:
            continue
        y0, y1 = max(0, top + height // 2 - radius), min(mask.shape[0], top + height + 2 * radius)
        x0, x1 = max(0, left - 2 * radius), min(mask.shape[1], left + width + 2 * radius)
        window = slice(y0, y1), slice(x0, x1)
        own = labels[window] == label
        foot = np.arange(y0, y1)[:, None] >= top + round(0.6 * height)
        near = grown(own, radius) & ~mask[window] & foot
        ground = grown(own, 2 * radius) & ~mask[window] & foot & ~grown(own, radius // 2)
        if int(ground.sum()) < LEAST_PX:
            continue
        dark = near & (value[window] < darker * float(np.median(value[window][ground])))
        touching = grown(own, 3)
        _, pieces = cv2.connectedComponents(dark.astype(np.uint8))
        found = np.unique(pieces[touching & dark])
        shadow = np.isin(pieces, found[found > 0])
        if int(shadow.sum()) < 0.6 * int(own.sum()):
            result[window] |= grown(shadow, 3) & ~own & near
    return result
