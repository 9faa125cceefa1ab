"""What several test files need: where the real footage lies, and how to skip aloud without it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
FOOTAGE = SHARED / "footage"
PARITY = SHARED / "parity"

needs_footage = pytest.mark.skipif(
    not FOOTAGE.is_dir(), reason=f"real footage is missing: {FOOTAGE} (see ../shared/footage/README.md)"
)
needs_parity = pytest.mark.skipif(not PARITY.is_dir(), reason=f"recordings are missing: {PARITY}")
