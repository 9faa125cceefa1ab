"""Polygons that give the very same mask back: along pixel edges for COCO, through pixel centres for YOLO."""

from __future__ import annotations

import numpy as np

from tam_edit.masks import Mask

Point = tuple[int, int]
Ring = list[Point]

_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # right, down, left, up


def edge_rings(mask: Mask) -> list[Ring]:
    """Polygons [(x, y), ..] along pixel edges, one per part of a mask [H, W]; parts that touch at corners are apart.

    x, y: corners of pixels, 0..W and 0..H. A hole is joined to its part by a slit of no width, so that the even-odd
    rule and pycocotools give the mask back exactly.
    """
    rings = _corner_rings(mask)
    outer = [ring for ring in rings if _area(ring) > 0]
    holes = [ring for ring in rings if _area(ring) < 0]
    return [_without_straight(ring) for ring in _joined(outer, holes)]


def pixel_rings(mask: Mask) -> list[Ring]:
    """Polygons [(x, y), ..] through the centres of border pixels, one per part of a mask [H, W].

    cv2.fillPoly, which fills the border too, gives the mask back exactly; holes are joined to their part by a slit
    that runs over the mask's own pixels.
    """
    import cv2

    contours, tree = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = [[(int(x), int(y)) for (x, y) in contour[:, 0]] for contour in contours]
    if not rings:
        return []
    outer = [ring for ring, node in zip(rings, tree[0], strict=True) if node[3] < 0]
    holes = [ring for ring, node in zip(rings, tree[0], strict=True) if node[3] >= 0]
    return [_without_straight(ring) for ring in _joined(outer, holes)]


def _corner_rings(mask: Mask) -> list[Ring]:
    """All borders as closed walks over pixel corners with the mask on the right, every corner named."""
    padded = np.pad(mask, 1)
    leaving: dict[Point, list[int]] = {}
    inside = padded[1:-1, 1:-1]
    neighbours = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])  # above, right, below, left
    starts = ((0, 0), (1, 0), (1, 1), (0, 1))  # clockwise: the top edge begins at the top left corner, and so on
    for way, (beyond, (dx, dy)) in enumerate(zip(neighbours, starts, strict=True)):
        for y, x in np.argwhere(inside & ~beyond).tolist():
            leaving.setdefault((x + dx, y + dy), []).append(way)
    rings = []
    for start in sorted(leaving, key=lambda point: (point[1], point[0])):
        while leaving[start]:
            ring, point, way = [], start, leaving[start].pop(0)
            while True:
                ring.append(point)
                point = point[0] + _STEPS[way][0], point[1] + _STEPS[way][1]
                if point == start and not _goes_on(leaving[point], way):
                    break
                ways = leaving[point]
                # Where two pixels touch at a corner, turn right: keep to the same pixel, so parts stay apart.
                way = ways.pop(ways.index((way + 1) % 4) if (way + 1) % 4 in ways else 0)
            rings.append(ring)
    return rings


def _goes_on(ways: list[int], way: int) -> bool:
    """Whether a walk that is back at its start still belongs to the corner's other pass."""
    return False if not ways else (way + 1) % 4 in ways


def _joined(outer: list[Ring], holes: list[Ring]) -> list[Ring]:
    """Every hole cut into the ring that lies straight above its topmost point."""
    merged = [list(ring) for ring in outer]
    owner = {point: index for index, ring in enumerate(merged) for point in ring}
    for hole in sorted(holes, key=lambda ring: min((y, x) for x, y in ring)):
        top = min(hole, key=lambda point: (point[1], point[0]))
        at = hole.index(top)
        turned = hole[at:] + hole[:at]
        x, y = top
        while (x, y) not in owner:
            y -= 1
        index = owner[x, y]
        ring = merged[index]
        cut = ring.index((x, y))
        # To the hole, around it, back to its first point, and back to the cut.
        slit = [] if (x, y) == top else [(x, y)]
        merged[index] = ring[: cut + 1] + turned + [top] + slit + ring[cut + 1 :]
        owner.update(dict.fromkeys(hole, index))
    return merged


def _without_straight(ring: Ring) -> Ring:
    """The ring without points on straight runs; a turn back on itself stays."""
    kept = []
    for index, (x, y) in enumerate(ring):
        (bx, by), (ax, ay) = ring[index - 1], ring[(index + 1) % len(ring)]
        if (_sign(x - bx), _sign(y - by)) != (_sign(ax - x), _sign(ay - y)) or max(abs(x - bx), abs(y - by)) > 1:
            kept.append((x, y))
    return kept or ring[:1]


def _area(ring: Ring) -> int:
    """Twice the signed area; positive for clockwise walks in pictures, which are outer ones."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True))


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
