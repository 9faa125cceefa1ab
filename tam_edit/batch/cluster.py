"""Batches on Ray."""

from __future__ import annotations

from tam_edit.batch.running import Batch
from tam_edit.errors import UsageError


def run_on_cluster(batch: Batch, address: str) -> None:
    """Not there yet."""
    raise UsageError(f"--cluster {address}: not there yet ({len(batch.jobs)} jobs)")
