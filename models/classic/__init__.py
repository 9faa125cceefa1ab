"""The classic engine: masks and fills on any CPU, without weights."""

from tam_edit.models.classic.fill import Filler, FillSettings, fill

__all__ = ["FillSettings", "Filler", "fill"]
