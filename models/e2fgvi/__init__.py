"""E2FGVI and E2FGVI-HQ (Li et al., CVPR 2022): fill masked regions of a video from its other frames.

    network = e2fgvi.load("E2FGVI-HQ-CVPR22.pth", variant="hq")
    for filled in e2fgvi.fill(network, frames, masks): ...

Written from the paper; the published weights are not ours to give and not free for every use: see LICENCE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tam_edit.models.e2fgvi.filler import Filler
    from tam_edit.models.e2fgvi.filling import fill
    from tam_edit.models.e2fgvi.loading import load
    from tam_edit.models.e2fgvi.network import E2FGVI
    from tam_edit.models.e2fgvi.windows import FillSettings

#: Of the published weights (and of the authors' program, of which nothing is used here).
LICENCE = (
    "E2FGVI's published weights are licensed CC BY-NC 4.0 (Creative Commons Attribution-NonCommercial 4.0 "
    "International, https://creativecommons.org/licenses/by-nc/4.0/): name the authors (Li, Lu, Qin, Guo, Cheng: "
    "Towards An End-to-End Framework for Flow-Guided Video Inpainting, CVPR 2022), and no commercial use."
)

__all__ = ["E2FGVI", "LICENCE", "FillSettings", "Filler", "fill", "load"]

_HOMES = {
    "E2FGVI": "network",
    "FillSettings": "windows",
    "Filler": "filler",
    "fill": "filling",
    "load": "loading",
}


def __getattr__(name: str) -> object:
    """Import what is asked for only then: the licence can be shown without torch."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
