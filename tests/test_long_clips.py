"""Long clips with cuts: ten real shots joined to one; tubes stay in their shots; memory that outlives a cut."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from tam_edit import Edit
from tam_edit.clip import FrameSpan
from tam_edit.engine.report import frames_run
from tam_edit.masks import Mask
from tam_edit.pipelines.evaluate_dataset import AnnotatedSequence, read_davis
from tam_edit.pipelines.metrics import jaccard
from tests.scenes import centre, picture, truth, write_clip
from tests.support import FOOTAGE, needs_footage

SIZE_WH = (428, 240)


def joined(sequences: list[AnnotatedSequence], path: Path) -> Path:
    """All sequences one after the other as one video of small pictures."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=24, options={"crf": "8", "preset": "ultrafast"})
        stream.width, stream.height = SIZE_WH
        stream.pix_fmt = "yuv444p"
        stream.codec_context.time_base = Fraction(1, 24)
        number = 0
        for sequence in sequences:
            for index in range(len(sequence)):
                small = cv2.resize(sequence.picture(index), SIZE_WH, interpolation=cv2.INTER_AREA)
                frame = av.VideoFrame.from_ndarray(small, format="rgb24")
                frame.pts = number
                output.mux(stream.encode(frame))
                number += 1
        output.mux(stream.encode(None))
    return path


def true_mask(sequence: AnnotatedSequence, index: int) -> Mask:
    mask = (sequence.truth(index) > 0).astype(np.uint8)
    return np.asarray(cv2.resize(mask, SIZE_WH, interpolation=cv2.INTER_AREA) > 0)


@needs_footage
@pytest.mark.parametrize("frames", [6, pytest.param(None, marks=pytest.mark.slow)], ids=["6 of each", "731"])
def test_tubes_stay_in_their_shots(frames: int | None, tmp_path: Path) -> None:
    sequences = [sequence.head(frames) for sequence in read_davis(FOOTAGE / "davis")]
    starts = np.cumsum([0, *map(len, sequences)]).tolist()
    clip = joined(sequences, tmp_path / "long.mp4")
    edit = Edit.create(clip, tmp_path / "long.edit")
    assert edit.source().frames == starts[-1] == (731 if frames is None else 60)
    assert list(edit.cuts()) == starts[1:-1], "nine cuts"
    edit.override(segmenter="classic", tracker="classic", inpainter="classic")
    for number, (sequence, start) in enumerate(zip(sequences, starts[:-1], strict=True)):
        # Every other object is marked in the middle of its shot: it is followed both ways.
        at = len(sequence) // 2 if number % 2 else 0
        edit.mark(sequence.name, frame=start + at, mask=true_mask(sequence, at))
    tube = edit.track()
    scores = {}
    for label, (sequence, start) in enumerate(zip(sequences, starts[:-1], strict=True), start=1):
        values = []
        for index in range(len(sequence)):
            label_map, wanted = tube.label_map(start + index), true_mask(sequence, index)
            assert set(np.unique(label_map).tolist()) <= {0, label}, (sequence.name, index)
            values.append(jaccard(label_map == label, wanted))
            assert (label_map == label).mean() < 3 * wanted.mean() + 0.1, f"{sequence.name} floods frame {index}"
        scores[sequence.name] = float(np.mean(values))
    print(scores)
    assert np.mean(list(scores.values())) > (0.85 if frames else 0.7), scores
    assert min(scores.values()) > (0.6 if frames else 0.3), scores
    # A correction in one shot runs nothing in any other.
    span = FrameSpan(starts[4], starts[5])
    edit.mark(sequences[4].name, frame=span.stop - 1, mask=true_mask(sequences[4], len(span) - 1))
    edit.track()
    assert set(frames_run(edit.report, "propagate")) <= set(span.indices())


# An object that returns: shot A, shot B, shot A again


def test_the_classic_engine_stays_in_its_shot(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "cut.mp4", frames=24, cuts=(8, 16))
    edit = Edit.create(clip, tmp_path / "cut.edit")
    edit.override(segmenter="classic", tracker="classic", inpainter="classic")
    edit.mark("ball", points=[centre(0)])
    tube = edit.track()
    assert tube["ball"][7].any() and not any(tube["ball"][frame].any() for frame in range(8, 24))
    edit.mark("ball", frame=16, points=[centre(16)])
    tube = edit.track()
    assert set(frames_run(edit.report, "propagate")) == set(range(16, 24)), "the first shot is left as it is"
    assert tube["ball"][20].any() and not any(tube["ball"][frame].any() for frame in range(8, 16))


def test_xmem_finds_an_object_that_returns_in_its_memory() -> None:
    """Random weights say nothing of masks, but a frame seen again must find its own look in memory."""
    from tam_edit.models import xmem
    from tests.xmem.reference import random_state

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    tracker = xmem.Tracker(xmem.load(random_state()), xmem.MemorySettings(mem_every=5))
    tracker.step(picture(0, 0), {1: truth(0)})
    for frame in range(1, 4):
        tracker.step(picture(frame, 0))
    for number, frame in enumerate(range(20, 26)):
        tracker.step(picture(frame, 1, lanes=()), cut=number == 0)
    before = tracker.snapshot()
    probability = tracker.step(picture(0, 0), cut=True)
    own = tracker.affinity(1)
    inside, outside = own[truth(0)].mean(), own[~truth(0)].mean()
    assert inside > 2 * outside, (inside, outside)
    assert probability[1].max() > 0, "the mask after the cut is not forced empty"
    # The same frame without the cut: the sensory memory of the other shot would speak too.
    tracker.restore(before)
    assert not np.array_equal(tracker.step(picture(0, 0)), probability)
    torch.set_num_threads(threads)
