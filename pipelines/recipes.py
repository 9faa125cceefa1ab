"""The recipes that join stages: track, remove, replace. One function each, the same for running and for planning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tam_edit.clip import FrameSpan
from tam_edit.effects import Choice
from tam_edit.errors import UsageError
from tam_edit.masks import LabelMap, MaskTube
from tam_edit.pipelines.context import Context
from tam_edit.pipelines.engines import Engines
from tam_edit.pipelines.inpaint import inpaint
from tam_edit.pipelines.keyframes import Keyframes, keyframes
from tam_edit.pipelines.matte import MatteSettings, mattes, usual_dilate_px, usual_feather_px
from tam_edit.pipelines.overlays import Removal
from tam_edit.pipelines.propagate import Tubes, propagate
from tam_edit.pipelines.refine import refine, refines
from tam_edit.script import EditScript


def tubes(context: Context, script: EditScript, engines: Engines, limit: FrameSpan | None = None) -> Tubes:
    """Label maps for everything that is marked. Raises UsageError when nothing is."""
    if not any(item.prompts for item in script.objects):
        raise UsageError(
            "no object is marked yet: say where one is with 'tam-edit mark EDIT --object NAME --frame N --point X,Y'"
        )
    return follow(context, script, engines, keyframes(context, script, engines.segmenter), limit)


def follow(
    context: Context, script: EditScript, engines: Engines, keys: Keyframes, limit: FrameSpan | None = None
) -> Tubes:
    """Propagate trusted masks; then, where the settings say so, refine doubtful ones and propagate through those."""
    found = propagate(context, keys, engines.tracker, limit)
    if not refines(script.settings.refine, engines.segmenter):
        return found
    better = refine(context, found, keys, engines.segmenter, script.names)
    if better.masks:
        found = propagate(context, keys, engines.tracker, limit, better.masks)
    return better.hide(found)


def mask_tube(context: Context, found: Tubes, names: Sequence[str], objects: Sequence[str] | None = None) -> MaskTube:
    """Label maps as a tube that loads them when asked for; objects: all others are left out."""
    width, height = context.source.size_wh
    kept = np.arange(256, dtype=np.uint8)
    if objects is not None:
        kept[[label for label, name in enumerate(names, start=1) if name not in objects]] = 0

    def load(frame: int) -> LabelMap:
        if found.maps.digests.get(frame) is None:  # a shot without marks, or beyond what was asked for
            return np.zeros((height, width), np.uint8)
        return np.asarray(kept[found.maps.load(frame)])

    return MaskTube(names, context.source.frames, (width, height), load)


def removal(context: Context, found: Tubes, script: EditScript, engines: Engines, choice: Choice) -> Removal:
    """The chosen objects filled over."""
    holes = mattes(context, found, matte_settings(context, script, choice, grown=True))
    return Removal(holes, inpaint(context, holes, engines.inpainter))


def matte_settings(context: Context, script: EditScript, choice: Choice, *, grown: bool) -> MatteSettings:
    """What the script and the picture's size say about the edge; only removal grows masks by itself."""
    names = script.names if choice.objects is None else choice.objects
    size_wh = context.source.size_wh
    wanted = script.settings
    dilate = wanted.dilate_px if wanted.dilate_px is not None else usual_dilate_px(size_wh) if grown else 0
    usual_feather = usual_feather_px(size_wh) if grown else 0.0
    # Whoever says by how much a hole is grown gets exactly that.
    exact = grown and not (wanted.dilate_px is None and wanted.erode_px is None)
    return MatteSettings(
        role="hole" if grown else "kept",
        labels=tuple(sorted(script.label_of(name) for name in names)),
        invert=choice.invert,
        offset_px=dilate - (wanted.erode_px or 0),
        feather_px=wanted.feather_px if wanted.feather_px is not None else usual_feather,
        style="hard" if exact else wanted.matte,
        smooth=wanted.smooth,
        mend=wanted.mend and not exact,
        shadow=grown and wanted.shadow == "auto" and not choice.invert,
    )
