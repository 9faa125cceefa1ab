"""The neural engines inside the stages, with small or stand-in weights: what is kept, and chunked is unbroken."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch

from tam_edit import Edit, errors
from tam_edit.clip import FrameSpan
from tam_edit.pipelines import engines
from tests.sam.support import small_sam
from tests.scenes import centre, truth
from tests.scenes import write_clip as make_clip


def test_a_second_click_on_a_frame_runs_only_sams_decoder(tmp_path: Path) -> None:
    weights = tmp_path / "small.pth"
    torch.save(small_sam().state_dict(), weights)
    clip = make_clip(tmp_path / "ball.mp4", frames=4)
    options = engines.EngineOptions(weights={"sam-vit-b": weights})
    edit = Edit.create(clip, tmp_path / "ball.edit", engines=options)
    edit.override(segmenter="sam", tracker="classic", inpainter="classic")
    # Random weights may find nothing: what was seen is kept all the same.
    with contextlib.suppress(errors.MaskEmpty):
        edit.mark("ball", points=[centre(0)])
    assert edit.report.stage("embed").frames_run == 1
    assert any("SHA-256" in words or "sha256" in words.lower() for words in edit.report.warnings)
    again = Edit.open(tmp_path / "ball.edit", engines=options)
    again.override(segmenter="sam", tracker="classic", inpainter="classic")
    with contextlib.suppress(errors.MaskEmpty):
        again.mark("ball", points=[centre(0), (5, 5)])
    assert again.report.stage("embed").frames_run == 0
    assert again.report.stage("embed").frames_reused == 1


def test_missing_weights_name_the_command_that_fetches_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAM_EDIT_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_, **__: tmp_path / "none")
    clip = make_clip(tmp_path / "ball.mp4", frames=4)
    edit = Edit.create(clip, tmp_path / "ball.edit")
    for role, name in (("segmenter", "sam"), ("tracker", "xmem"), ("inpainter", "e2fgvi-hq")):
        asked = Edit.open(tmp_path / "ball.edit")
        asked.override(**{role: name})
        with pytest.raises(errors.WeightsMissing, match="tam-edit models fetch"):
            asked.mark("ball", points=[centre(0)])
    commercial = Edit.open(tmp_path / "ball.edit", engines=engines.EngineOptions(commercial=True))
    commercial.override(inpainter="e2fgvi-hq")
    with pytest.raises(errors.EngineError, match="CC BY-NC"):
        commercial.mark("ball", points=[centre(0)])
    assert edit.bench.engines().names == {"segmenter": "classic", "tracker": "classic", "inpainter": "classic"}


@pytest.mark.parametrize("tracker", ["classic", pytest.param("xmem", marks=pytest.mark.weights)])
def test_chunked_is_unbroken_bit_for_bit(tracker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(tmp_path / "ball.mp4", frames=14)
    options = engines.EngineOptions()
    if tracker == "xmem":
        options = engines.EngineOptions(weights={"xmem": xmem_weights(tmp_path / "xmem.pth")})
    kind = engines.XMemTracking if tracker == "xmem" else engines.ClassicTracking
    tubes = []
    for chunk, stops in ((100, ()), (3, (5, 9))):
        monkeypatch.setattr(kind, "chunk", chunk)
        folder = tmp_path / f"{chunk}.edit"
        Edit.create(clip, folder)
        # Every stop is a process of its own as far as the tracker goes: it continues from a stored snapshot.
        for stop in (*stops, 14):
            edit = Edit.open(folder, engines=options)
            edit.override(segmenter="classic", tracker=tracker, inpainter="classic")
            if not edit.script.names:
                edit.mark("ball", frame=2, mask=truth(2))
                edit.mark("ball", frame=11, mask=truth(11))
            tube = edit.track(frames=FrameSpan(0, stop))
        tubes.append([tube.label_map(frame).copy() for frame in range(14)])
    assert all(np.array_equal(one, other) for one, other in zip(*tubes, strict=True))
    assert (tubes[0][2] == truth(2)).all() and (tubes[0][11] == truth(11)).all()


def xmem_weights(path: Path) -> Path:
    """Random weights under the official names."""
    from tam_edit.models import xmem

    generator = torch.Generator().manual_seed(3)
    state = {}
    for name, shape in xmem.manifest().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros(shape, dtype=torch.int64)
        elif name.endswith("running_var"):
            state[name] = torch.ones(shape)
        else:
            fan = max(1, int(np.prod(shape[1:]))) if len(shape) > 1 else 1
            state[name] = torch.randn(shape, generator=generator) / fan**0.5
    torch.save(state, path)
    return path
