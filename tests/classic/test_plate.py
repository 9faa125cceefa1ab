"""The background as it was last seen: what it says of pixels, how it moves on, and what it believes slowly."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tam_edit.models.classic import evidence, flow, motion
from tam_edit.models.classic.edges import enlarge
from tam_edit.models.classic.plate import Difference, Plate
from tam_edit.models.classic.scale import WHOLE
from tests.classic.clips import texture

SHAPE = (96, 160)
EVERYWHERE = np.ones(SHAPE, np.bool_)
STILL = np.zeros((3, 2), np.float32)


def test_what_was_never_seen_says_nothing_and_what_changed_stands_out() -> None:
    ground = texture(1, (160, 96), (90, 120, 80))
    hidden = EVERYWHERE.copy()
    hidden[30:60, 20:50] = False
    plate = Plate.of(ground, hidden)
    assert not plate.seen[30:60, 20:50].any()
    now = ground.copy()
    now[40:70, 90:120] = (220, 40, 40)
    difference = plate.against(now, WHOLE, hidden)
    assert not difference.seen[30:60, 20:50].any()
    assert (difference.apart[42:68, 92:118] > 1).mean() > 0.95
    changed = np.zeros(SHAPE, np.bool_)
    changed[36:74, 86:124] = True
    assert difference.apart[~changed].max() == 0
    votes = [np.zeros(SHAPE, np.float32)]
    evidence.add_seen_before(votes, [None], difference, evidence.VoteSettings())
    assert votes[0][55, 105] > 1
    assert votes[0][5, 5] < -1
    assert votes[0][45, 35] == 0


@pytest.mark.parametrize("shift_xy", [(6.0, -3.0), (0.1, 0.0)])
def test_it_moves_with_the_background(shift_xy: tuple[float, float]) -> None:
    ground = texture(2, (160, 96), (90, 120, 80))
    plate = Plate.of(ground, EVERYWHERE)
    model = STILL.copy()
    model[2] = shift_xy  # where each pixel was
    for _ in range(10):
        plate.move(model, WHOLE, SHAPE)
    dx, dy = (10 * v for v in shift_xy)
    forth = np.array([[1, 0, dx], [0, 1, dy]], np.float64)
    now = np.asarray(
        cv2.warpAffine(ground, forth, SHAPE[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP), np.uint8
    )
    difference = plate.against(now, WHOLE, EVERYWHERE)
    seen = difference.seen
    assert seen.mean() > 0.3
    assert (difference.apart[seen] < 1).mean() > 0.98
    assert np.array_equal(Plate.from_arrays(plate.arrays()).colour, plate.colour)


def test_an_affine_motion_of_a_window_is_the_same_in_the_picture() -> None:
    model = np.array([[0.4, -0.2], [0.1, 0.3], [2.0, -1.0]], np.float32)
    matrix = motion.matrix(model, (40, 60), (7, 11))
    places = flow.grid(40, 60) + np.array([7, 11], np.float32)
    there = places @ matrix[:, :2].T.astype(np.float32) + matrix[:, 2].astype(np.float32)
    np.testing.assert_allclose(there - places, motion.predicted((40, 60), model), atol=1e-4)


def test_a_sudden_change_is_believed_slowly_and_the_first_look_at_once() -> None:
    ground = texture(3, (160, 96), (90, 120, 80), 5)
    hidden = EVERYWHERE.copy()
    hidden[:, :40] = False
    plate = Plate.of(ground, hidden)
    now = np.full_like(ground, 10)
    now[:, 60:] = ground[:, 60:]
    plate.renew(now, WHOLE, EVERYWHERE, plate.against(now, WHOLE, EVERYWHERE))
    assert (plate.colour[:, :34] == 10).all()
    assert np.abs(plate.colour[:, 48:58].astype(int) - ground[:, 48:58]).max() < 50


def test_what_is_different_speaks_for_one_object_that_looks_so() -> None:
    difference = Difference(np.full((2, 2), 2, np.float32), np.ones((2, 2), np.float32), np.ones((2, 2), np.bool_))
    votes = [np.full((2, 2), value, np.float32) for value in (0, -1, 0)]
    looks = [np.full((2, 2), value, np.float32) for value in (1, 1, -1)]
    settings = evidence.VoteSettings()
    evidence.add_seen_before(votes, looks, difference, settings)
    assert (votes[0] == settings.unlike_gain).all()
    assert (votes[1] == -1).all()
    assert (votes[2] == 0).all()


def test_a_part_that_stays_with_the_background_is_given_up_and_a_part_that_moves_is_not() -> None:
    odds = np.full(SHAPE, -2, np.float32)
    for columns in (slice(10, 60), slice(80, 90), slice(110, 120)):
        odds[20:50, columns] = 3
    unlike = np.ones(SHAPE, np.float32)
    unlike[:, 75:100] = -1
    settings = evidence.VoteSettings()
    evidence.drop_left_behind(odds, unlike, settings)
    assert (odds[20:50, 80:90] < 0).all()
    assert (odds[20:50, 10:60] > 0).all()
    assert (odds[20:50, 110:120] > 0).all()
    still = np.where(odds > 0, np.float32(3), np.float32(-2))
    still[20:50, 80:90] = 3
    evidence.drop_left_behind(still, np.minimum(unlike, 0.1), settings)  # the body stands still too
    assert (still[20:50, 80:90] > 0).all()


def test_a_contour_lies_between_pixels_whichever_side_is_surer() -> None:
    frame = np.full((80, 80, 3), 128, np.uint8)
    places = []
    for inside, outside in ((1.0, -8.0), (8.0, -1.0)):
        logits = np.full((1, 40, 40), outside, np.float32)
        logits[0, :, :20] = inside
        edge = enlarge(logits, frame, strength=30.0, sigma=8.0)
        assert edge is not None
        places.append(edge.mask(frame.shape)[40].sum())
    assert places[0] == places[1] == 40
