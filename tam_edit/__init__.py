"""tam-edit: click an object once, get its mask through the whole clip, then remove it or replace what is behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tam_edit.errors import TamEditError

if TYPE_CHECKING:
    from tam_edit.clip import FrameSpan
    from tam_edit.engine.report import Report
    from tam_edit.making import OutputOptions
    from tam_edit.masks import MaskTube
    from tam_edit.session import Edit

__all__ = ["Edit", "FrameSpan", "MaskTube", "OutputOptions", "Report", "TamEditError", "__version__"]

__version__ = "0.1.0"

# Loaded when first used, so that `import tam_edit` and `tam-edit --help` stay light.
_HOMES = {
    "Edit": "tam_edit.session",
    "FrameSpan": "tam_edit.clip",
    "MaskTube": "tam_edit.masks",
    "OutputOptions": "tam_edit.making",
    "Report": "tam_edit.engine.report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tam_edit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
