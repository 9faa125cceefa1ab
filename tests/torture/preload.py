"""What attempts import, loaded once; nothing here starts a thread, since processes are forked from it."""

from __future__ import annotations

import av
import cv2
import numpy

import tam_edit.cli.batch
import tam_edit.cli.cache
import tam_edit.cli.effects
import tam_edit.cli.masks
import tam_edit.cli.project
import tam_edit.cli.tables
import tam_edit.cli.tracking
import tam_edit.media.join
import tam_edit.models.classic
import tam_edit.pipelines.effects
import tam_edit.pipelines.engines
import tam_edit.pipelines.export
import tam_edit.pipelines.output
import tam_edit.pipelines.recipes
from tam_edit.pipelines import engines
from tests import scenes

RESOLVE = engines.resolve
LOADED = (av, cv2, numpy, tam_edit)


def quick_engines() -> None:
    """Simple engines in place of whatever is installed: what is tortured is everything around them."""
    simple = scenes.simple_engines()
    engines.resolve = lambda settings, options: simple


def real_engines() -> None:
    engines.resolve = RESOLVE
