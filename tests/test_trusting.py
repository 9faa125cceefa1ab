"""Trust reaches the report and trust.json, whole and frame by frame."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tam_edit import Edit
from tam_edit.errors import UsageError


@pytest.mark.usefixtures("quick_engines")
def test_tracking_tells_trust_in_report_and_file(ball_clip: Path, tmp_path: Path) -> None:
    edit = Edit.create(ball_clip, tmp_path / "ball.edit")
    edit.mark("ball", 0, points=[(20, 30)])
    with pytest.raises(UsageError, match="track"):
        edit.trust()
    edit.track()
    trust = edit.trust()["ball"]
    assert sorted(trust) == list(range(edit.source().frames))
    assert trust[0]["combined"] == 1, "a mask that was given is certain"
    told = json.loads((tmp_path / "ball.edit/trust.json").read_text())
    assert told["objects"]["ball"] == {str(frame): dict(parts) for frame, parts in trust.items()}
    least = min(trust, key=lambda frame: (trust[frame]["combined"], frame))
    assert edit.report.to_json()["trust"]["ball"]["at"] == least
    assert edit.report.to_json()["trust"]["ball"]["least"] == trust[least]["combined"]
    doubtful = sum(parts["combined"] < told["threshold"] for parts in trust.values())
    assert edit.report.to_json()["trust"]["ball"]["doubtful_frames"] == doubtful
