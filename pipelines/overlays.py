"""The effects as overlays: a fill over what is removed, a background over what is not kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tam_edit.pipelines.context import Rgb
from tam_edit.pipelines.encode import Layer
from tam_edit.pipelines.inpaint import Fills
from tam_edit.pipelines.matte import Mattes
from tam_edit.pipelines.matte_foreground import Pictures, composed, foreground_reads


class Background(Protocol):
    """What stands behind the kept objects, frame by frame, at the clip's size."""

    def reads(self, frames: Iterable[int]) -> Mapping[str, Mapping[int, str | None]]:
        """Digests of everything that `load` looks at."""
        ...

    def load(self, frame: int) -> Rgb:
        """RGB uint8 [H, W, 3]."""
        ...


@dataclass(frozen=True)
class Nothing:
    """No effect: every frame stays as it is."""

    def reads(self, frames: Iterable[int]) -> Mapping[str, Mapping[int, str | None]]:  # noqa: ARG002
        return {}

    def layer(self, frame: int) -> Layer | None:  # noqa: ARG002
        return None


@dataclass(frozen=True)
class Removal:
    """Filled patches over the removed objects, faded in by the matte."""

    mattes: Mattes
    fills: Fills

    def reads(self, frames: Iterable[int]) -> Mapping[str, Mapping[int, str | None]]:
        holes = [frame for frame in frames if self.mattes.has_hole(frame)]
        return {"matte": self.mattes.series.reads(holes), "fill": self.fills.reads(holes)}

    def layer(self, frame: int) -> Layer | None:
        if not self.mattes.has_hole(frame):
            return None
        matte = self.mattes.series.load(frame)
        patch = self.fills.load(frame)
        return Layer(patch.rgb, matte.alpha, patch.at_xy)


@dataclass(frozen=True)
class Replacement:
    """A background over all that the mattes do not keep; shots without any matte stay as they are.

    pictures: where the colours under the soft edge are estimated, so that nothing of the old background stays.
    """

    mattes: Mattes
    background: Background
    pictures: Pictures

    def reads(self, frames: Iterable[int]) -> Mapping[str, Mapping[int, str | None]]:
        marked = [frame for frame in frames if frame in self.mattes.series.digests]
        return {
            "matte": self.mattes.series.reads(marked),
            **foreground_reads(marked),
            **self.background.reads(marked),
        }

    def layer(self, frame: int) -> Layer | None:
        if frame not in self.mattes.series.digests:
            return None
        return composed(self.pictures.rgb(frame), self.mattes.series.load(frame), self.background.load(frame))
