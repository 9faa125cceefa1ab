"""The segmenter answers as the package's SamPredictor does, and keeps embeddings as the store needs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from segment_anything import SamPredictor
from segment_anything.utils.amg import calculate_stability_score

from tam_edit.errors import (
    EngineError,
    MaskEmpty,
    MaskSizeMismatch,
    PromptError,
    UsageError,
    WeightsMismatch,
    WeightsMissing,
    WeightsUnsafe,
)
from tam_edit.models import sam
from tam_edit.models.sam.segmenter import Embedding
from tests.sam.support import picture, small_sam

HEIGHT, WIDTH = 90, 151
FRAME = picture(HEIGHT, WIDTH)
# Half precision of the embedding moves logits of a few units by about this much.
LOGITS_APART = 0.05


@pytest.fixture(scope="module")
def package() -> Any:
    return small_sam()


@pytest.fixture(scope="module")
def segmenter(package: Any) -> sam.SamSegmenter:
    return sam.SamSegmenter(sam.load(package.state_dict()))


@pytest.fixture(scope="module")
def embedding(segmenter: sam.SamSegmenter) -> Embedding:
    return segmenter.embed(FRAME)


@pytest.fixture(scope="module")
def predictor(package: Any) -> SamPredictor:
    one = SamPredictor(package)
    one.set_image(FRAME)
    return one


def agrees(candidates: tuple[sam.SamCandidate, ...], answer: tuple[Any, Any, Any]) -> None:
    """Compare with SamPredictor.predict(..., return_logits=True), whose answers are not sorted."""
    logits, scores, low = answer
    assert len(candidates) == len(scores)
    for candidate, index in zip(candidates, np.argsort(-scores, kind="stable"), strict=True):
        assert candidate.score == pytest.approx(scores[index], abs=LOGITS_APART)
        np.testing.assert_allclose(candidate.low_res_logits, low[index], atol=LOGITS_APART)
        clear = np.abs(logits[index]) > LOGITS_APART
        assert clear.mean() > 0.5
        np.testing.assert_array_equal(candidate.mask[clear], (logits[index] > 0)[clear])
        stability = calculate_stability_score(torch.from_numpy(logits[index])[None], 0.0, 1.0)
        assert candidate.stability == pytest.approx(float(stability[0]), abs=0.02)


def test_embedding_equals_the_predictors(embedding: Embedding, predictor: SamPredictor) -> None:
    assert embedding.features.dtype == np.float16
    assert embedding.features.shape == (32, 20, 20)
    assert (embedding.size_hw, embedding.fitted_hw) == ((HEIGHT, WIDTH), predictor.input_size)
    theirs = predictor.get_image_embedding()[0].numpy()
    np.testing.assert_allclose(embedding.features, theirs, atol=2e-3)


@pytest.mark.parametrize("size", [(320, 320), (40, 320), (700, 333), (1, 300)])
def test_embedding_of_any_shape(package: Any, segmenter: sam.SamSegmenter, size: tuple[int, int]) -> None:
    frame = picture(*size)
    one = SamPredictor(package)
    one.set_image(frame)
    ours = segmenter.embed(frame)
    assert ours.fitted_hw == one.input_size
    np.testing.assert_allclose(ours.features, one.get_image_embedding()[0].numpy(), atol=2e-3)
    assert segmenter.candidates(ours, [(size[1] / 2, size[0] / 2)])[0].mask.shape == size


def test_a_single_click_has_three_answers_best_first(
    segmenter: sam.SamSegmenter, embedding: Embedding, predictor: SamPredictor
) -> None:
    found = segmenter.candidates(embedding, [(75, 40)])
    agrees(found, predictor.predict(np.array([[75, 40]]), np.array([1]), return_logits=True))
    assert len(found) == 3
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert found[0].mask.shape == (HEIGHT, WIDTH) and found[0].mask.dtype == bool
    assert found[0].low_res_logits.shape == (80, 80)
    assert 0 <= found[0].stability <= 1


def test_points_box_and_logits(segmenter: sam.SamSegmenter, embedding: Embedding, predictor: SamPredictor) -> None:
    points, labels = np.array([[75, 40], [10.5, 80]]), np.array([1, 0])
    box = (20.0, 10.0, 120.0, 80.0)
    agrees(
        segmenter.candidates(embedding, points, labels),
        predictor.predict(points, labels, multimask_output=False, return_logits=True),
    )
    agrees(
        segmenter.candidates(embedding, box=box),
        predictor.predict(box=np.array(box), multimask_output=False, return_logits=True),
    )
    agrees(
        segmenter.candidates(embedding, points, labels, boxes=[box]),
        predictor.predict(points, labels, np.array(box), multimask_output=False, return_logits=True),
    )
    first = segmenter.candidates(embedding, points[:1])[0]
    refined = segmenter.candidates(embedding, points, labels, mask_logits=first.low_res_logits)
    agrees(
        refined,
        predictor.predict(
            points, labels, mask_input=first.low_res_logits[None], multimask_output=False, return_logits=True
        ),
    )
    without = segmenter.candidates(embedding, points, labels)
    assert np.abs(refined[0].low_res_logits - without[0].low_res_logits).max() > 10 * LOGITS_APART
    agrees(
        segmenter.candidates(embedding, points, labels, multimask=True),
        predictor.predict(points, labels, return_logits=True),
    )


def test_several_boxes_are_joined(segmenter: sam.SamSegmenter, embedding: Embedding) -> None:
    left, right = (5.0, 5.0, 60.0, 80.0), (80.0, 5.0, 150.0, 80.0)
    (both,) = segmenter.candidates(embedding, boxes=[left, right])
    apart = [segmenter.candidates(embedding, box=box)[0] for box in (left, right)]
    logits = np.maximum(apart[0].low_res_logits, apart[1].low_res_logits)
    np.testing.assert_allclose(both.low_res_logits, logits, atol=1e-5)
    assert both.score == min(one.score for one in apart)
    assert both.mask[apart[0].mask & apart[1].mask].all()
    # A click in a box refines that box only; one outside of all adds an answer of its own.
    (clicked,) = segmenter.candidates(embedding, [(30, 30)], boxes=[left, right])
    refined = segmenter.candidates(embedding, [(30, 30)], box=left)[0]
    expected = np.maximum(refined.low_res_logits, apart[1].low_res_logits)
    np.testing.assert_allclose(clicked.low_res_logits, expected, atol=1e-5)
    (more,) = segmenter.candidates(embedding, [(70, 40)], boxes=[left, right])
    alone = segmenter.candidates(embedding, [(70, 40)], multimask=False)[0]
    np.testing.assert_allclose(more.low_res_logits, np.maximum(logits, alone.low_res_logits), atol=1e-5)
    # Earlier logits hold what the boxes said.
    again = segmenter.candidates(embedding, [(30, 30)], boxes=[left, right], mask_logits=both.low_res_logits)
    plain = segmenter.candidates(embedding, [(30, 30)], mask_logits=both.low_res_logits)
    np.testing.assert_array_equal(again[0].low_res_logits, plain[0].low_res_logits)


def test_polish_sends_mask_box_and_points(
    segmenter: sam.SamSegmenter, embedding: Embedding, predictor: SamPredictor
) -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[20:70, 30:110] = True
    polished = segmenter.polish(embedding, mask)
    points = sam.points_inside(mask, 3)
    agrees(
        polished,
        predictor.predict(
            points,
            np.ones(3),
            np.array([30.0, 20.0, 109.0, 69.0]),
            mask_input=sam.mask_logits(mask, (HEIGHT, WIDTH), 320)[None],
            multimask_output=False,
            return_logits=True,
        ),
    )
    with pytest.raises(MaskEmpty):
        segmenter.polish(embedding, np.zeros((HEIGHT, WIDTH), bool))
    with pytest.raises(MaskSizeMismatch, match="151"):
        segmenter.polish(embedding, np.ones((WIDTH, HEIGHT), bool))


def test_embedding_survives_the_store(segmenter: sam.SamSegmenter, embedding: Embedding) -> None:
    arrays = embedding.to_arrays()
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
    again = Embedding.from_arrays({name: np.array(array) for name, array in arrays.items()})
    assert (again.size_hw, again.fitted_hw) == (embedding.size_hw, embedding.fitted_hw)
    one, other = (segmenter.candidates(which, [(75, 40)])[0] for which in (embedding, again))
    np.testing.assert_array_equal(one.low_res_logits, other.low_res_logits)
    with pytest.raises(UsageError, match="embedding"):
        Embedding.from_arrays({"features": embedding.features})


def test_same_input_same_bytes(segmenter: sam.SamSegmenter, embedding: Embedding) -> None:
    np.testing.assert_array_equal(segmenter.embed(FRAME).features, embedding.features)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "without a point"),
        ({"points": [(WIDTH, 5)]}, "outside"),
        ({"points": [(5, -1)]}, "outside"),
        ({"points": [(float("nan"), 5)]}, "outside"),
        ({"points": [(5, 5)], "labels": [1, 0]}, "labels"),
        ({"points": [(5, 5)], "labels": [2]}, "label"),
        ({"box": (50, 5, 20, 30)}, "box"),
        ({"box": (5, 5, WIDTH + 1, 30)}, "box"),
        ({"mask_logits": np.zeros((5, 5), np.float32)}, "logits"),
        ({"mask_logits": np.full((80, 80), np.nan, np.float32)}, "logits"),
    ],
)
def test_prompts_that_cannot_be_meant(
    segmenter: sam.SamSegmenter, embedding: Embedding, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(PromptError, match=words):
        segmenter.candidates(embedding, **arguments)


@pytest.mark.parametrize("frame", [FRAME[..., :2], FRAME[..., 0], FRAME / 255, FRAME[:0], picture(1, 2000)])
def test_frames_that_are_none(segmenter: sam.SamSegmenter, frame: NDArray[Any]) -> None:
    with pytest.raises(UsageError, match="frame"):
        segmenter.embed(frame)


# --- loading


def test_load_from_a_file(package: Any, embedding: Embedding, tmp_path: Path) -> None:
    path = tmp_path / "sam.pth"
    torch.save(package.state_dict(), path)
    network = sam.load(path)
    assert (network.variant, network.side, network.precision) == ("other", 320, "fp32")
    np.testing.assert_array_equal(sam.SamSegmenter(network).embed(FRAME).features, embedding.features)


def test_load_refuses(package: Any, tmp_path: Path) -> None:
    state = package.state_dict()
    with pytest.raises(WeightsMissing):
        sam.load(tmp_path / "none.pth")
    with pytest.raises(WeightsMismatch, match="not a checkpoint of SAM"):
        sam.load({"conv.weight": torch.zeros(3)})
    with pytest.raises(WeightsMismatch, match=r"mask_decoder\.iou_token\.weight"):
        sam.load({name: value for name, value in state.items() if name != "mask_decoder.iou_token.weight"})
    with pytest.raises(WeightsMismatch, match="extra"):
        sam.load({**state, "extra": torch.zeros(3)})
    with pytest.raises(WeightsMismatch, match="vit_b"):
        sam.load(state, variant="vit_b")
    with pytest.raises(EngineError, match="vit_l"):
        sam.load(state, variant="vit_x")
    with pytest.raises(EngineError, match="precision"):
        sam.load(state, precision="fp8")  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="fp16"):
        sam.load(state, precision="fp16")
    with pytest.raises(EngineError, match="nowhere"):
        sam.load(state, device="nowhere")
    unsafe = tmp_path / "unsafe.pth"
    torch.save({"x": subprocess.Popen}, unsafe)
    with pytest.raises(WeightsUnsafe):
        sam.load(unsafe)


def test_bfloat16_option(package: Any, embedding: Embedding) -> None:
    half = sam.SamSegmenter(sam.load(package.state_dict(), precision="bf16"))
    apart = np.abs(half.embed(FRAME).features.astype(np.float32) - embedding.features)
    assert 1e-3 < apart.max() < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["vit_b", "vit_l", "vit_h"])
def test_official_sizes_are_known_by_their_tensors(variant: str) -> None:
    from segment_anything import sam_model_registry

    from tam_edit.models.sam.network import VARIANTS, _build, _Shape

    with torch.device("meta"):
        package = sam_model_registry[variant]()
    shape = _Shape.of(package.state_dict(), variant)
    assert (shape.width, shape.depth) == VARIANTS[variant]
    if variant == "vit_b":
        ours = {name: value.shape for name, value in _build(shape).state_dict().items()}
        assert ours == {name: value.shape for name, value in package.state_dict().items()}
        attention = [(block.window_size, block.attn.num_heads) for block in package.image_encoder.blocks]
        assert attention == [(block.window_size, block.attn.num_heads) for block in _build(shape).image_encoder.blocks]


@pytest.mark.slow
def test_full_size_vit_b_loads_and_answers(tmp_path: Path) -> None:
    from segment_anything import sam_model_registry

    torch.manual_seed(0)
    path = tmp_path / "sam_vit_b_01ec64.pth"
    torch.save(sam_model_registry["vit_b"]().state_dict(), path)
    network = sam.load(path, variant="vit_b")
    segmenter = sam.SamSegmenter(network)
    embedding = segmenter.embed(picture(240, 427))
    assert embedding.features.shape == (256, 64, 64)
    found = segmenter.candidates(embedding, [(200, 100)])
    assert len(found) == 3 and found[0].low_res_logits.shape == (256, 256)


def test_prompts_come_without_torch() -> None:
    code = (
        "import sys; from tam_edit.models.sam import points_from_scribble;"
        "points_from_scribble([(0, 0), (9, 0)], 2); print('torch' in sys.modules, 'segment_anything' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
