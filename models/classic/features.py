"""What a pixel looks like: colour and texture at a few scales, 13 numbers each."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

COUNT = 13
_TEXTURE = 2.0


def describe(picture: Bytes) -> Floats:
    """Colour (raw and blurred by 2 and 5 px) and four oriented gradient energies of each pixel.

    picture RGB uint8 [H, W, 3]; returns float32 [H, W, 13], not standardised. Source: specs/classic.md, Propagation 2.
    """
    lab = cv2.cvtColor(picture.astype(np.float32) * np.float32(1 / 255), cv2.COLOR_RGB2LAB)
    planes = [lab, cv2.GaussianBlur(lab, (0, 0), 2.0), cv2.GaussianBlur(lab, (0, 0), 5.0), _energies(lab[..., 0])]
    return np.asarray(cv2.merge(planes), np.float32)


def _energies(lightness: Floats) -> Floats:
    """Gradient energy along four directions, blurred by 3 px: [H, W, 4]."""
    light = np.ascontiguousarray(lightness)
    dx = cv2.Sobel(light, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    dy = cv2.Sobel(light, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    half = np.float32(np.sqrt(0.5))
    energy = cv2.merge([np.abs(dx), np.abs(dy), np.abs(dx + dy) * half, np.abs(dx - dy) * half])
    return np.asarray(cv2.GaussianBlur(energy, (0, 0), 3.0), np.float32)


@dataclass(frozen=True)
class Scaling:
    """Mean and spread of each feature on the frame a tracker begins with."""

    mean: Floats  # [13]
    gain: Floats  # [13]

    @classmethod
    def of(cls, features: Floats) -> Scaling:
        flat = features.reshape(-1, COUNT)
        spread = flat.std(axis=0) + np.float32(1e-3)
        gain = np.float32(1) / spread
        gain[9:13] *= np.float32(_TEXTURE)
        return cls(flat.mean(axis=0), gain)

    def apply(self, features: Floats) -> Floats:
        return (features - self.mean) * self.gain
