"""SAM under `evaluate`: found by its weights, and a picture is looked at once however many clicks it gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tam_edit.models import sam
from tam_edit.pipelines.evaluate_engines import segmenting_engine
from tam_edit.pipelines.evaluate_tracking import simulate_clicks
from tests.sam.support import small_sam


def test_clicks_of_one_picture_cost_one_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "small.pth"
    torch.save(small_sam().state_dict(), weights)
    looks = []
    embed = sam.SamSegmenter.embed

    def counted(self: sam.SamSegmenter, frame: np.ndarray) -> sam.Embedding:
        looks.append(frame)
        return embed(self, frame)

    monkeypatch.setattr(sam.SamSegmenter, "embed", counted)
    engine = segmenting_engine("sam", {"sam": weights})
    picture = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
    truth = np.zeros((48, 64), np.uint8)
    truth[10:30, 20:50] = 1
    label_map, ious, _ = simulate_clicks(engine, picture, truth, 3, with_box=True, next_frame=picture)
    assert len(looks) == 1 and label_map.shape == truth.shape and len(ious[0]) == 4
    simulate_clicks(engine, picture.copy(), truth, 1)
    assert len(looks) == 2
