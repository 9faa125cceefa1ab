"""Pictures for people: masks drawn over frames, contact sheets, side by side before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.masks import Mask
from tam_edit.project import write_whole

if TYPE_CHECKING:
    from tam_edit.pipelines.review import Doubt
    from tam_edit.session import Edit

Rgb = NDArray[np.uint8]

# Colours far apart that also differ in lightness, after Okabe and Ito (2008).
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
TINT = 0.45
SHADOW_COLOUR = (255, 0, 255)
STRIPE_PX = 3
MARGIN_PX = 6
CAPTION_PX = 22


def overlay(rgb: Rgb, masks: Mapping[str, Mask]) -> Rgb:
    """Tint and outline masks, bool [H, W] by name, over a picture, uint8 [H, W, 3]."""
    drawn = rgb.astype(np.float32)
    for index, mask in enumerate(masks.values()):
        colour = np.asarray(COLOURS[index % len(COLOURS)], np.float32)
        drawn[mask] += TINT * (colour - drawn[mask])
    result = np.rint(drawn).astype(np.uint8)
    thickness = max(1, round(min(rgb.shape[:2]) / 300))
    for index, mask in enumerate(masks.values()):
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(result, contours, -1, COLOURS[index % len(COLOURS)], thickness, cv2.LINE_AA)
    return result


def hatched(rgb: Rgb, mask: Mask) -> Rgb:
    """A picture with stripes where the mask is: what is taken along with an object."""
    rows, columns = np.indices(mask.shape)
    stripes = mask & ((rows + columns) // STRIPE_PX % 2 == 0)
    result = rgb.copy()
    result[stripes] = SHADOW_COLOUR
    return result


def foot_shadow(rgb: Rgb, masks: Mapping[str, Mask]) -> Mask:
    """Dark ground at the foot of what is masked, bool [H, W]."""
    from tam_edit.models.classic import shadowed

    together = np.zeros(rgb.shape[:2], bool)
    for mask in masks.values():
        together |= mask
    return np.asarray(shadowed(rgb, together) & ~together)


def write_overlay(
    edit: Edit,
    frame: int,
    masks: Mapping[str, Mask],
    path: Path,
    points: Sequence[Sequence[float]] = (),
    negative: Sequence[Sequence[float]] = (),
) -> None:
    """Write a frame with masks and clicks (green: the object, red: not) drawn in, as a PNG.

    With the setting shadow "auto" also, hatched, what may be the objects' shadow: which of it goes where they go is
    known after tracking only (`write_review_sheet`).
    """
    with edit.pictures() as context:
        rgb = context.rgb(frame)
    drawn = overlay(rgb, masks)
    if edit.bench.settings.shadow == "auto":
        drawn = hatched(drawn, foot_shadow(rgb, masks))
    radius = max(3, round(min(drawn.shape[:2]) / 90))
    for found, colour in ((points, (0, 200, 0)), (negative, (220, 0, 0))):
        for x, y in found:
            centre = (round(x), round(y))
            cv2.circle(drawn, centre, radius + 2, (255, 255, 255), -1, cv2.LINE_AA)
            cv2.circle(drawn, centre, radius, colour, -1, cv2.LINE_AA)
    write_png(path, drawn)


def write_review_sheet(edit: Edit, doubts: Sequence[Doubt], path: Path, columns: int = 3) -> None:
    """Write the doubtful frames with their masks, and the shadows that removal takes along, as one contact sheet."""
    tube = edit.track()
    shadows = edit.shadows() if edit.bench.settings.shadow == "auto" else None
    cells = []
    with edit.pictures() as context:
        for doubt in doubts:
            drawn = overlay(context.rgb(doubt.frame), {doubt.object: tube[doubt.object][doubt.frame]})
            if shadows is not None:
                drawn = hatched(drawn, shadows["shadow"][doubt.frame])
            cells.append((f"{doubt.frame}: {doubt.object}, trust {doubt.trust:.2f}, {doubt.why}", drawn))
    write_png(path, contact_sheet(cells, min(columns, len(cells))))


def contact_sheet(cells: Sequence[tuple[str, Rgb]], columns: int, width_px: int = 426) -> Rgb:
    """Captioned pictures in rows; each is scaled to `width_px`, uint8 RGB."""
    tiles = [_tile(caption, picture, width_px) for caption, picture in cells]
    rows = []
    for start in range(0, len(tiles), columns):
        row = tiles[start : start + columns]
        height = max(tile.shape[0] for tile in row)
        row += [np.full((1, row[0].shape[1], 3), 255, np.uint8)] * (columns - len(row))
        rows.append(np.hstack([_padded(tile, height) for tile in row]))
    return np.ascontiguousarray(np.vstack(rows))


def write_png(path: Path, rgb: Rgb) -> None:
    """Write a picture whole or not at all. Raises OutputUnwritable."""
    _, png = cv2.imencode(".png", rgb[:, :, ::-1])
    write_whole(path, png.tobytes())


def _tile(caption: str, picture: Rgb, width_px: int) -> Rgb:
    height = max(1, round(picture.shape[0] * width_px / picture.shape[1]))
    scaled = cv2.resize(picture, (width_px, height), interpolation=cv2.INTER_AREA)
    tile = np.full((height + CAPTION_PX + MARGIN_PX, width_px + 2 * MARGIN_PX, 3), 255, np.uint8)
    tile[CAPTION_PX : CAPTION_PX + height, MARGIN_PX : MARGIN_PX + width_px] = scaled
    # OpenCV's built-in letters are ASCII only.
    text = caption.encode("ascii", "replace").decode()
    cv2.putText(tile, text, (MARGIN_PX, CAPTION_PX - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (20, 20, 20), 1, cv2.LINE_AA)
    return tile


def _padded(tile: Rgb, height: int) -> Rgb:
    return np.pad(tile, ((0, height - tile.shape[0]), (0, 0), (0, 0)), constant_values=255)
