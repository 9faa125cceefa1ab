"""Enlarging: as many objects as a label map holds."""

from __future__ import annotations

import numpy as np

from tam_edit.models.classic.edges import enlarge
from tests.classic.clips import texture


def test_more_objects_than_opencv_maps_at_once() -> None:
    logits = np.random.default_rng(0).uniform(-2, 2, (255, 8, 12)).astype(np.float32)
    frame = texture(3, (48, 32), (120, 120, 120))
    whole, *parts = (enlarge(some, frame, strength=30, sigma=8) for some in (logits, logits[:64], logits[-64:]))
    assert whole is not None and whole.logits.shape == (255, 32, 48)
    for found, part in zip((whole.logits[:64], whole.logits[-64:]), parts, strict=True):
        assert part is not None
        np.testing.assert_allclose(found, part.logits, atol=1e-6)
