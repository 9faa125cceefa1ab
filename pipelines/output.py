"""Making the output: segments encoded or reused, then joined to one file that appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

from tam_edit.media.settings import EncodeSettings
from tam_edit.pipelines.context import Context
from tam_edit.pipelines.encode import Overlay, encode, segments


def make(context: Context, overlay: Overlay, settings: EncodeSettings, output: Path, *, write: bool) -> None:
    """Encode what changed and, with `write`, put the result in its place. Raises OutputError and its kinds."""
    records = encode(context, overlay, settings)
    if write:
        from tam_edit.media.join import join

        result = join(segments(context, records), context.source, settings, output)
        for words in result.warnings:
            context.runner.ledger.warn(words)
