"""Oklab, a space in which equal steps look equal, and one picture's mean and deviation for another's.

Ottosson, "A perceptual color space for image processing", 2020; Reinhard et al., "Color transfer between images", 2001.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)
_FROM_LAB = np.linalg.inv(_TO_LAB.astype(np.float64)).astype(np.float32)
_FROM_LMS = np.linalg.inv(_TO_LMS.astype(np.float64)).astype(np.float32)
_STEPS = 8192
MOST_GAIN = 2.0


def _curves() -> tuple[Floats, NDArray[np.uint8]]:
    """sRGB's curve (IEC 61966-2-1): code value to light, and light in fine steps back to code values."""
    code = np.arange(256) / 255
    light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    steps = (np.arange(_STEPS + 1) / _STEPS) ** 2  # finer in the dark, where the curve is steep
    back = np.where(steps <= 0.0031308, steps * 12.92, 1.055 * steps ** (1 / 2.4) - 0.055)
    return light.astype(np.float32), np.rint(np.clip(back, 0, 1) * 255).astype(np.uint8)


_LIGHT, _CODE = _curves()


def to_oklab(rgb: NDArray[np.uint8]) -> Floats:
    """sRGB, uint8 [..., 3], as Oklab, float32 [..., 3]: L 0..1, a and b about -0.4..0.4."""
    lms = np.cbrt(_LIGHT[rgb] @ _TO_LMS.T)
    return np.asarray(lms @ _TO_LAB.T, np.float32)


def from_oklab(lab: Floats) -> NDArray[np.uint8]:
    """The inverse of `to_oklab`; colours that sRGB does not hold are cut to the nearest it does, channel by channel."""
    light = ((lab @ _FROM_LAB.T) ** 3) @ _FROM_LMS.T
    place = np.sqrt(np.clip(light, 0, 1), dtype=np.float32) * np.float32(_STEPS)
    return np.asarray(_CODE[np.rint(place).astype(np.int32)])


@dataclass(frozen=True)
class Tone:
    """Mean and standard deviation of L, a and b."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


@dataclass
class ToneSum:
    """Adds pixels up to a Tone."""

    def __init__(self) -> None:
        self._count = 0.0
        self._sum, self._squares = np.zeros(3), np.zeros(3)

    def add(self, rgb: NDArray[np.uint8]) -> None:
        """Pixels [N, 3] of one picture; every picture counts alike, however many there are of it."""
        if rgb.size:
            lab = to_oklab(rgb.reshape(-1, 3)).astype(np.float64)
            self._count += 1
            self._sum += lab.mean(axis=0)
            self._squares += (lab**2).mean(axis=0)

    def tone(self) -> Tone | None:
        """None when no pixel was added."""
        if not self._count:
            return None
        mean = self._sum / self._count
        deviation = np.sqrt(np.maximum(self._squares / self._count - mean**2, 0))
        return Tone(_three(mean), _three(deviation))


def toned(rgb: NDArray[np.uint8], now: Tone, wanted: Tone) -> NDArray[np.uint8]:
    """A picture, uint8 [..., 3], with mean and deviation `wanted` where it has `now`.

    Deviations change at most MOST_GAIN times: a nearly flat picture is not blown up into noise.
    """
    gain = gains(now, wanted)
    lab = to_oklab(rgb)
    lab -= np.asarray(now.mean, np.float32)
    lab *= gain
    lab += np.asarray(wanted.mean, np.float32)
    return from_oklab(lab)


def gains(now: Tone, wanted: Tone) -> Floats:
    """What deviations are multiplied by, float32 [3]."""
    pairs = zip(now.deviation, wanted.deviation, strict=True)
    found = [1.0 if here < 1e-4 else min(max(there / here, 1 / MOST_GAIN), MOST_GAIN) for here, there in pairs]
    return np.array(found, np.float32)


def _three(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
