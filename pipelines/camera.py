"""The camera stage: how the camera moved through a shot, seen from everything but the objects, and a picture moved so.

Measured by the classic filler's homographies between neighbours, outside the objects: how a flat picture far away is
seen. Where the camera turns so far that a flat picture would fold or fly apart, only shift, turn and zoom are
followed through that shot (the similarity nearest to each homography), and the run says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tam_edit.clip import FrameSpan
from tam_edit.digest import digest_of
from tam_edit.effects import Look
from tam_edit.engine.stage import NOTHING, Product, Stage, Unit
from tam_edit.engine.store import Record
from tam_edit.masks import Mask
from tam_edit.pipelines.context import Context, Rgb
from tam_edit.pipelines.placement import Matrix, Placement, place, shrunk, warped
from tam_edit.pipelines.propagate import Tubes

STAGE = Stage("camera", 2)
CHUNK = 12
"""Frames: over so many the filler measures the camera once more directly."""
FLOW_REACH_PX = 4
MOST_TIMES = 6.0
"""The picture is laid over all that the camera sees, but not over more than so many frames each way."""


@dataclass(frozen=True)
class CameraPath:
    """The camera in one shot: for each frame the motion [3, 3] from its middle frame's pixels to its own.

    flat: motions are homographies; else only shift, turn and zoom were kept.
    """

    shot: FrameSpan
    motions: tuple[Matrix, ...]
    flat: bool = True

    def motion(self, frame: int) -> Matrix:
        return self.motions[frame - self.shot.start]

    def seen(self, size_wh: tuple[int, int]) -> tuple[float, float, float, float]:
        """All that the camera sees, as a box (x0, y0, x1, y1) in pixels of the middle frame."""
        width, height = size_wh
        found = np.concatenate([_corners(_inverse(motion), size_wh)[0] for motion in self.motions], axis=1)
        # Frame edges lie half a pixel before the first pixel's centre.
        (x0, y0), (x1, y1) = found.min(axis=1) - 1, found.max(axis=1) + 1
        most = np.array([width, height]) * (MOST_TIMES - 1) / 2
        return (
            max(float(x0), -float(most[0])),
            max(float(y0), -float(most[1])),
            min(float(x1), width + float(most[0])),
            min(float(y1), height + float(most[1])),
        )


def camera_path(context: Context, tubes: Tubes, shot: FrameSpan) -> CameraPath | None:
    """The camera's way through a shot; None while planning what has not run."""
    context.runner.stage(STAGE.name, len(shot))
    steps: list[Matrix] = [np.eye(3)]
    plain: list[Matrix] = [np.eye(3)]
    known = True
    size_wh = context.source.size_wh
    for start in range(shot.start, max(shot.stop - 1, shot.start + 1), CHUNK):
        last = min(start + CHUNK, shot.stop - 1)
        span = FrameSpan(start, shot.stop if last == shot.stop - 1 else last)
        record = _chunk(context, tubes, span, last)
        if record is None:
            known = False
            continue
        motions = [np.array(values, np.float64).reshape(3, 3) for values in record.facts["motions"]]
        base, plain_base = steps[-1], plain[-1]
        steps.extend(motion @ base for motion in motions)
        plain.extend(similarity(motion, size_wh) @ plain_base for motion in motions)
    if not known:
        return None
    flat = _from_the_middle(steps)
    if all(stays_flat(motion, size_wh) for motion in flat):
        return CameraPath(shot, flat)
    words = "the camera turns too far for a flat picture to follow: only its shift, turn and zoom are followed"
    context.runner.ledger.warn(words, shot.indices())
    return CameraPath(shot, _from_the_middle(plain), flat=False)


def _from_the_middle(steps: list[Matrix]) -> tuple[Matrix, ...]:
    """Motions from the middle frame, out of those from the first one."""
    back = np.linalg.inv(steps[len(steps) // 2])
    found = [step @ back for step in steps]
    return tuple(np.asarray(motion / motion[2, 2]) for motion in found)


def stays_flat(motion: Matrix, size_wh: tuple[int, int]) -> bool:
    """Whether a frame seen through a homography is still a picture: no side behind the camera, none stretched far."""
    for way in (motion, _inverse(motion)):
        points, depths = _corners(way / way[2, 2], size_wh)
        if depths.min() < 0.4 * depths.max():
            return False
        sides = np.linalg.norm(points[:, [1, 3, 2, 0]] - points[:, [0, 1, 3, 2]], axis=0)
        along = np.array([size_wh[0], size_wh[1], size_wh[0], size_wh[1]])
        if (sides > MOST_TIMES * along).any() or (sides * MOST_TIMES < along).any():
            return False
    return True


def _inverse(motion: Matrix) -> Matrix:
    return np.asarray(np.linalg.inv(motion), np.float64)


def _corners(motion: Matrix, size_wh: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The frame's corners [2, 4] under a motion, and how far away each lies (above 0 before the camera)."""
    width, height = size_wh
    moved = motion @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]], np.float64)
    return moved[:2] / moved[2], moved[2]


def _chunk(context: Context, tubes: Tubes, span: FrameSpan, last: int) -> Record | None:
    """Homographies from the span's first frame to each after it, up to `last`."""
    frames = range(span.start, last + 1)
    unit = Unit(
        STAGE,
        span,
        {"frames": len(frames)},
        {"picture": context.picture_reads(frames), "mask": _mask_reads(tubes, frames)},
    )

    def compute() -> Product:
        motions = _measured(context, tubes, frames)
        facts = [[float(value) for value in motion.ravel()] for motion in motions]
        return Product([digest_of(facts)] * len(span), facts={"motions": facts})

    return context.runner.obtain(unit, compute)


def _mask_reads(tubes: Tubes, frames: Iterable[int]) -> Mapping[int, str | None]:
    return {frame: tubes.maps.digests.get(frame, NOTHING) for frame in frames}


def _measured(context: Context, tubes: Tubes, frames: range) -> list[Matrix]:
    from tam_edit.models.classic.fill_scene import Scene

    def read(at: int) -> tuple[Rgb, Mask]:
        return context.rgb(frames[at]), masked(context, tubes, frames[at])

    scene = Scene(read, 2 * CHUNK, FLOW_REACH_PX)
    motions = []
    for at in range(1, len(frames)):
        camera = scene.camera(0, at)
        scale_x, scale_y = scene.scale_xy
        # From working pixels to the picture's, both counted from pixel centres.
        up = np.array([[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2], [0, 0, 1]])
        motion = up @ camera @ np.linalg.inv(up)
        motions.append(np.asarray(motion / motion[2, 2]))
    return motions


def masked(context: Context, tubes: Tubes, frame: int) -> Mask:
    """Where any object is, bool [H, W]; nowhere in shots without marks."""
    if tubes.maps.digests.get(frame) is None:
        width, height = context.source.size_wh
        return np.zeros((height, width), dtype=bool)
    return np.asarray(tubes.maps.load(frame) > 0)


def similarity(camera: Matrix, size_wh: tuple[int, int]) -> Matrix:
    """The similarity nearest to a homography over the frame: least squares, Umeyama 1991 in the plane."""
    if np.array_equal(camera, np.eye(3)):
        return np.eye(3)
    x, y = np.meshgrid(np.linspace(0, size_wh[0] - 1, 7), np.linspace(0, size_wh[1] - 1, 7))
    points = np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    moved = camera @ points
    start = points[0] + 1j * points[1]
    stop = (moved[0] + 1j * moved[1]) / moved[2]
    # In the complex plane a similarity is z -> turn z + shift.
    centred = start - start.mean()
    turn = complex(np.vdot(centred, stop - stop.mean()) / np.vdot(centred, centred).real)
    shift = complex(stop.mean()) - turn * complex(start.mean())
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag], [0, 0, 1]])


@dataclass
class FollowingPicture:
    """A still picture that moves as the camera does; it is laid over all that the camera sees in a shot.

    paths: by shot; None where the camera is not known yet. Frames of other shots are never asked for.
    """

    rgb: Rgb
    digest: str
    size_wh: tuple[int, int]
    look: Look
    paths: Mapping[FrameSpan, CameraPath | None]

    def __post_init__(self) -> None:
        self._laid: tuple[FrameSpan, Rgb, Matrix] | None = None

    def reads(self, frames: Iterable[int]) -> Mapping[str, Mapping[int, str | None]]:
        return {"background": {frame: self._digest(frame) for frame in frames}}

    def _digest(self, frame: int) -> str | None:
        path = self._path(frame)
        if path is None:
            return None
        return digest_of((self.digest, _place_of(self.look), _rounded(path.motion(frame)), path.seen(self.size_wh)))

    def load(self, frame: int) -> Rgb:
        path = self._path(frame)
        if path is None:
            raise AssertionError("a frame was asked for before its camera")
        if self._laid is None or self._laid[0] != path.shot:
            self._laid = (path.shot, *self._lay(path))
        _, rgb, matrix = self._laid
        whole = _rounded(path.motion(frame)) @ np.vstack([matrix, [0, 0, 1]])
        covers = self.look.fit in ("fill", "stretch") and self.look.scale >= 1 and self.look.offset_px == (0.0, 0.0)
        return warped(rgb, whole, self.size_wh, "wrap" if self.look.fit == "tile" else "edge" if covers else "black")

    def _lay(self, path: CameraPath) -> tuple[Rgb, Matrix]:
        """The picture at about the size it is seen in, and the map from its pixels to the middle frame's."""
        x0, y0, x1, y1 = path.seen(self.size_wh)
        picture_wh = (self.rgb.shape[1], self.rgb.shape[0])
        where = place(picture_wh, (max(round(x1 - x0), 1), max(round(y1 - y0), 1)), self.look)
        corner = (where.corner_xy[0] + x0, where.corner_xy[1] + y0)
        return shrunk(self.rgb, Placement(where.scale_xy, corner, where.tiled))

    def _path(self, frame: int) -> CameraPath | None:
        return next(path for shot, path in self.paths.items() if frame in shot)


def _rounded(motion: Matrix) -> NDArray[np.float64]:
    """Motion to what can be seen, so that digests stay the same where it does."""
    return np.asarray(np.round(motion, 9))


def _place_of(look: Look) -> tuple[object, ...]:
    return (look.fit, look.scale, look.offset_px)
