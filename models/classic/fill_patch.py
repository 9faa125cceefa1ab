"""Texture for what no frame shows: patches of the surroundings, matched coarse to fine."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic.fill_membrane import Bools, Floats

RADIUS = 2  # patches of 5x5, at every level
ROUNDS = (4, 3, 2)  # match and vote so often: coarsest level, those between, finest
DEPTH_LOSS = 0.3  # per pixel of depth: what is known reaches inwards, guesses do not reach outwards
MOST_PX = 500  # unknown pixels the coarsest level may have
MOST_CHOICES = 1200  # patches looked through for each of them
SEED = 20260
Indices = NDArray[np.int64]


def synthesised(image: Floats, unknown: Bools, usable: Bools) -> NDArray[np.int64] | None:
    """Where each unknown pixel's texture comes from: offsets [N, 2] (x, y) for the pixels of unknown in row order.

    image: float32 [H, W, 3], unknown pixels hold a first guess; usable: may be copied from. None if no patch is
    usable. PatchMatch (Barnes et al. 2009) between voting rounds (Wexler et al. 2007), random numbers seeded.
    """
    levels = [(image, unknown, usable)]
    while int(unknown.sum()) > MOST_PX and min(unknown.shape) >= 32:
        image, unknown, usable = _halved(image, unknown, usable)
        levels.append((image, unknown, usable))
    while levels and not _sources(levels[-1][2]).any():
        levels.pop()
    if not levels:
        return None
    random = np.random.default_rng(SEED)
    current, matches = _grown_in(*levels[-1]), None
    for rank in range(len(levels) - 1, -1, -1):
        image, unknown, usable = levels[rank]
        if rank < len(levels) - 1:
            size = (unknown.shape[1], unknown.shape[0])
            current = np.where(unknown[..., None], cv2.resize(current, size, interpolation=cv2.INTER_LINEAR), image)
        rounds = ROUNDS[0] if rank == len(levels) - 1 else ROUNDS[2] if rank == 0 else ROUNDS[1]
        current, matches = _level(current, unknown, usable, matches, rounds, random)
    assert matches is not None
    rows, columns = np.nonzero(levels[0][1])
    found = matches[rows, columns]
    return np.stack([found % unknown.shape[1] - columns, found // unknown.shape[1] - rows], -1)


def _halved(image: Floats, unknown: Bools, usable: Bools) -> tuple[Floats, Bools, Bools]:
    size = ((unknown.shape[1] + 1) // 2, (unknown.shape[0] + 1) // 2)
    smaller = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    masks = [cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) for mask in (unknown, ~usable)]
    return smaller, masks[0] > 0, masks[1] == 0


def _grown_in(image: Floats, unknown: Bools, usable: Bools) -> Floats:
    """A first guess with texture: pixel by pixel from the rim inwards, the best of all patches for what is known.

    After Efros and Leung (1999). A smooth first guess would draw all matches to the flattest patch there is.
    """
    side = 2 * RADIUS + 1
    known = _patches(image)
    offered = np.flatnonzero(_sources(usable).ravel())
    offered = offered[:: -(-len(offered) // MOST_CHOICES)]
    choice = known[offered].reshape(len(offered), side * side, 3)
    filled = cv2.copyMakeBorder(image, RADIUS, RADIUS, RADIUS, RADIUS, cv2.BORDER_REFLECT_101)
    border = cv2.copyMakeBorder(unknown.astype(np.uint8), RADIUS, RADIUS, RADIUS, RADIUS, cv2.BORDER_CONSTANT, value=1)
    there = border == 0
    depth = cv2.distanceTransform(unknown.astype(np.uint8), cv2.DIST_L2, 5)
    rows, columns = np.nonzero(unknown)
    for at in np.argsort(depth[rows, columns], kind="stable"):
        y, x = rows[at], columns[at]
        window = (slice(y, y + side), slice(x, x + side))
        seen = there[window].ravel()
        if not seen.any():
            continue
        wanted = filled[window].reshape(-1, 3)[seen]
        apart = choice[:, seen] - wanted
        apart = np.einsum("nkc,nkc->n", apart, apart)
        filled[y + RADIUS, x + RADIUS] = choice[int(apart.argmin()), side * side // 2]
        there[y + RADIUS, x + RADIUS] = True
    return np.ascontiguousarray(filled[RADIUS:-RADIUS, RADIUS:-RADIUS])


def _sources(usable: Bools) -> Bools:
    """Centres of patches that are usable whole."""
    side = 2 * RADIUS + 1
    kernel = np.ones((side, side), np.uint8)
    eroded = cv2.erode(usable.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(eroded > 0)


def _patches(image: Floats) -> Floats:
    """Every pixel's patch as a row: float32 [H * W, 3 * side * side], edges reflected."""
    side = 2 * RADIUS + 1
    padded = cv2.copyMakeBorder(image, RADIUS, RADIUS, RADIUS, RADIUS, cv2.BORDER_REFLECT_101)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(0, 1))
    return np.ascontiguousarray(windows.transpose(0, 1, 3, 4, 2)).reshape(image.shape[0] * image.shape[1], -1)


def _level(
    image: Floats, unknown: Bools, usable: Bools, coarse: Indices | None, rounds: int, random: np.random.Generator
) -> tuple[Floats, Indices]:
    """Matches and votes at one size: the image filled, and for every pixel its source's index [H, W] (or -1)."""
    height, width = unknown.shape
    sources = _sources(usable).ravel()
    offered = np.flatnonzero(sources)
    side = 2 * RADIUS + 1
    target = cv2.dilate(unknown.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    rows, columns = np.nonzero(target)
    number = np.full((height, width), -1, np.int64)
    number[rows, columns] = np.arange(len(rows))
    match = offered[random.integers(0, len(offered), len(rows))]
    if coarse is not None:
        above = coarse[np.minimum(rows // 2, coarse.shape[0] - 1), np.minimum(columns // 2, coarse.shape[1] - 1)]
        y, x = above // coarse.shape[1] * 2 + rows % 2, above % coarse.shape[1] * 2 + columns % 2
        fits = (above >= 0) & (y < height) & (x < width)
        place = np.where(fits, y * width + x, 0)
        match = np.where(fits & sources[place], place, match)
    depth = cv2.distanceTransform(unknown.astype(np.uint8), cv2.DIST_L2, 5)[rows, columns]
    say = np.exp(-DEPTH_LOSS * depth).astype(np.float32) + np.float32(1e-6)
    known = _patches(image)
    filled = image.copy()
    for _ in range(rounds):
        wanted = _patches(filled)[rows * width + columns]
        cost = _apart(wanted, known, match)
        for sweep in range(2):
            for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                y, x = rows + dy, columns + dx
                within = (y >= 0) & (y < height) & (x >= 0) & (x < width)
                other = np.where(within, number[np.where(within, y, 0), np.where(within, x, 0)], -1)
                place = match[np.maximum(other, 0)]
                sy, sx = place // width - dy, place % width - dx
                _try(other >= 0, sy, sx, (height, width), sources, wanted, known, match, cost)
            radius = max(height, width) // 2 >> (2 * sweep)
            while radius >= 1:
                sy = match // width + random.integers(-radius, radius + 1, len(rows))
                sx = match % width + random.integers(-radius, radius + 1, len(rows))
                _try(np.True_, sy, sx, (height, width), sources, wanted, known, match, cost)
                radius //= 3
        filled = _voted(image, unknown, rows, columns, known[match], say)
    result = np.full((height, width), -1, np.int64)
    result[rows, columns] = match
    return filled, result


def _apart(wanted: Floats, known: Floats, match: Indices) -> Floats:
    difference = wanted - known[match]
    return np.asarray(np.einsum("nk,nk->n", difference, difference))


def _try(
    ask: Bools | np.bool_, sy: Indices, sx: Indices, shape: tuple[int, int], sources: Bools, wanted: Floats,
    known: Floats, match: Indices, cost: Floats,
) -> None:  # fmt: skip
    """Takes the proposed sources where they are usable and closer; changes match and cost in place."""
    valid = ask & (sy >= 0) & (sx >= 0) & (sy < shape[0]) & (sx < shape[1])
    place = np.where(valid, sy * shape[1] + sx, 0)
    asked = np.flatnonzero(valid & sources[place])
    proposed = place[asked]
    offer = _apart(wanted[asked], known, proposed)
    better = offer < cost[asked]
    match[asked[better]] = proposed[better]
    cost[asked[better]] = offer[better]


def _voted(image: Floats, unknown: Bools, rows: Indices, columns: Indices, patches: Floats, say: Floats) -> Floats:
    """Every unknown pixel becomes the mean of what the patches over it say, those nearest to the rim first."""
    height, width = unknown.shape
    side = 2 * RADIUS + 1
    total = np.zeros((height + 2 * RADIUS, width + 2 * RADIUS, 3), np.float32)
    mass = np.zeros((height + 2 * RADIUS, width + 2 * RADIUS), np.float32)
    for place in range(side * side):
        y, x = rows + place // side, columns + place % side
        total[y, x] += say[:, None] * patches[:, 3 * place : 3 * place + 3]
        mass[y, x] += say
    inner = slice(RADIUS, -RADIUS)
    mean = total[inner, inner] / np.maximum(mass[inner, inner], 1e-9)[..., None]
    return np.where(unknown[..., None], mean, image).astype(np.float32)
