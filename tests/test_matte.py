"""Soft edges: what they cover, that they hold still without lag, and that neither chunks nor repeats change them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tam_edit import Edit
from tam_edit.clip import FrameSpan
from tam_edit.engine.report import frames_run
from tam_edit.masks import Matte
from tam_edit.models.matting import (
    Shadows,
    coverage,
    foreground,
    mended,
    refined,
    shifted,
    signed_distance,
    softened,
)
from tam_edit.pipelines.matte import MatteSettings, grown_edge, mattes, soft_edge
from tam_edit.pipelines.matte_foreground import composed
from tam_edit.pipelines.matte_soft import REACH, Softener, SoftSettings, chosen
from tam_edit.session import OutputOptions
from tests.bench import matte_scenes as scenes
from tests.scenes import SIZE_WH, centre, picture, truth


def disc(x: float, y: float, radius: float, height: int = 120, width: int = 160) -> np.ndarray:
    """A disc's true coverage, float32."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.clip(radius - np.hypot(columns - x, rows - y) + 0.5, 0, 1).astype(np.float32)


# Contours


@pytest.mark.parametrize("radius", [8.3, 25.0, 40.6])
def test_contours_are_finer_than_pixels(radius: float) -> None:
    alpha = disc(70.3, 60.8, radius)
    mask = alpha > 0.5
    found = coverage(signed_distance(mask))
    assert ((found >= 0.5) >= mask).all() and not (found > 0.5)[~mask].any(), "every centre stays on its side"
    assert np.abs(found - alpha).sum() < 0.7 * np.abs(mask - alpha).sum()


def test_thin_parts_keep_their_strength() -> None:
    mask = np.zeros((40, 60), bool)
    mask[20, 5:55] = True
    mask[5:35, 30:32] = True
    assert (coverage(signed_distance(mask))[mask] == 1).all()
    assert not coverage(signed_distance(~mask | mask))[0, 0] < 1
    assert not coverage(signed_distance(np.zeros((5, 5), bool))).any()


def test_only_small_holes_and_specks_are_mended() -> None:
    mask = disc(60, 60, 45) > 0.5
    whole = mask.copy()
    mask[60, 60:62] = False
    large = disc(50, 50, 8) > 0.5
    mask[large] = False
    mask[5, 150:152] = True
    limb = np.zeros_like(mask)
    limb[100:110, 140:150] = True
    mask |= limb
    found = mended(mask)
    assert found[60, 60:62].all() and not found[5, 150:152].any()
    assert not found[large].any() and found[limb].all()
    free = np.ones_like(mask)
    free[60, 60] = False
    assert not mended(mask, free)[60, 60:62].any(), "another object lies there"
    label_map = whole.astype(np.uint8)
    label_map[10, 100] = 2
    both = chosen(label_map, (1, 2), mend=True)
    assert both[10, 100], "a small object beside a large one is no speck"
    assert (chosen(mask.astype(np.uint8), (1,), mend=False) == mask).all()


def test_growing_shrinking_and_feathering_in_pixels() -> None:
    step = np.zeros((40, 80), np.float32)
    step[:, :40] = 1
    assert (shifted(step, 3)[20] > 0.5).sum() == 43 and (shifted(step, -12)[20] > 0.5).sum() == 28
    wide = softened(step, 6.0)[20]
    assert wide.sum() == pytest.approx(40, abs=0.05) and ((wide > 0.01) & (wide < 0.99)).sum() == pytest.approx(
        6, abs=1
    )
    edge = grown_edge((step * 255).astype(np.uint8), 2, 0.0)
    assert (edge[20] == 255).sum() == 42
    hole = soft_edge(step > 0, 0, 2.0)[20]
    assert (hole[:40] == 255).all() and list(hole[40:43]) == [170, 85, 0]
    assert (soft_edge(step > 0, -5, 0.0)[20] == 255).sum() == 35
    assert (soft_edge(step > 0, 4, 0.0)[20] == 255).sum() == 44


# Refinement


def two_colours(alpha: np.ndarray, apart: float = 100) -> np.ndarray:
    rng = np.random.default_rng(1)
    height, width = alpha.shape
    front = scenes.texture(rng, height, width, (120 + apart / 2, 130, 120 - apart / 2), 20)
    behind = scenes.texture(rng, height, width, (120 - apart / 2, 130, 120 + apart / 2), 20)
    mixed = alpha[..., None] * front + (1 - alpha[..., None]) * behind
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


def test_the_picture_mends_a_wrong_contour() -> None:
    alpha = disc(80, 60, 38)
    mask = scenes.wobbled(alpha > 0.5, np.random.default_rng(2), 1.5)
    distance = signed_distance(mask)
    found = refined(distance, two_colours(alpha), 7)
    assert np.abs(found - alpha).sum() < 0.35 * np.abs(coverage(distance) - alpha).sum()


def test_without_a_difference_in_colour_the_contour_stays() -> None:
    alpha = disc(80, 60, 38)
    distance = signed_distance(scenes.wobbled(alpha > 0.5, np.random.default_rng(2), 1.5))
    rng = np.random.default_rng(5)
    rgb = rng.integers(100, 140, (*alpha.shape, 3), dtype=np.uint8)
    assert np.abs(refined(distance, rgb, 7) - coverage(distance)).sum() < 0.02 * (np.abs(distance) < 7).sum()
    beyond = np.abs(distance) >= 7
    assert (refined(distance, two_colours(alpha), 7)[beyond] == coverage(distance)[beyond]).all()


def test_hair_is_found_outside_the_mask() -> None:
    mask = disc(80, 60, 34) > 0.5
    alpha = scenes.strands(mask, np.random.default_rng(3), count=30)
    distance = signed_distance(mask)
    hair = (alpha > 0.3) & (distance > 1) & (distance < 5)
    found = refined(distance, two_colours(alpha), 7)
    assert coverage(distance)[hair].sum() == 0
    assert found[hair].mean() > 0.3 * alpha[hair].mean()
    assert found[~hair & (distance > 3)].mean() < 0.05


# Steadiness


def softener(clip: scenes.Moving, *, smooth: bool, style: str = "contour") -> Softener:
    settings = SoftSettings((1,), style, smooth, mend=True)
    span = FrameSpan(0, len(clip.pictures))
    return Softener(clip.pictures.__getitem__, lambda frame: clip.masks[frame].astype(np.uint8), settings, span)


@pytest.mark.parametrize("step_px", [0.0, 2.3, 6.0])
def test_edges_hold_still_and_do_not_lag(step_px: float) -> None:
    clip = scenes.moving(step_px, frames=9)
    errors = {}
    for smooth in (False, True):
        made = softener(clip, smooth=smooth)
        found = [made.alpha(at).astype(np.float32) / 255 for at in range(2, 7)]
        errors[smooth] = sum(np.abs(one - clip.alphas[at]).sum() for at, one in enumerate(found, start=2))
    assert errors[True] < 0.65 * errors[False]
    exact = scenes.moving(step_px, frames=9, wobble_px=0)
    made = softener(exact, smooth=True)
    x = np.arange(432, dtype=np.float32)
    for at in (0, 1, 4, 8):
        found_at, true = made.alpha(at).astype(np.float32), exact.alphas[at]
        behind = (x * (true / true.sum() - found_at / found_at.sum())).sum()
        assert abs(behind) < 0.1, "px along the motion"


def test_a_frame_depends_on_its_neighbours_only() -> None:
    clip = scenes.moving(2.3, frames=10)
    whole = softener(clip, smooth=True, style="auto")
    forward = [whole.alpha(frame) for frame in range(10)]
    assert all((softener(clip, smooth=True, style="auto").alpha(at) == forward[at]).all() for at in (9, 4, 0))
    clip.masks[5][:] = False
    again = softener(clip, smooth=True, style="auto")
    changed = [frame for frame in range(10) if (again.alpha(frame) != forward[frame]).any()]
    assert changed == list(range(5 - REACH, 6 + REACH))


@pytest.mark.parametrize("size", [(9, 200), (3, 5), (200, 9), (64, 64)])
def test_any_size_works(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (*size, 3), dtype=np.uint8) for _ in range(3)]
    maps = [np.zeros(size, np.uint8) for _ in range(3)]
    for label_map in maps:
        label_map[1 : size[0] - 1, 1 : size[1] // 2 + 1] = 1
    made = Softener(pictures.__getitem__, maps.__getitem__, SoftSettings((1,), "auto", True, True), FrameSpan(0, 3))
    assert made.alpha(1).shape == size
    maps[1][:] = 1
    full = Softener(pictures.__getitem__, maps.__getitem__, SoftSettings((1,), "auto", True, True), FrameSpan(1, 2))
    assert (full.alpha(1) == 255).all()


# Colours


@pytest.mark.parametrize("old", [(0, 177, 64), (0, 71, 187)])
def test_no_old_background_is_left_in_the_edge(old: tuple[int, int, int]) -> None:
    alpha = softened(disc(80, 60, 38), 6.0)
    front = scenes.texture(np.random.default_rng(1), 120, 160, (190, 120, 100), 25)
    shot = scenes.composed(
        "", "", alpha, front, np.zeros_like(front) + np.array(old, np.float32), np.random.default_rng(2)
    )
    found = foreground(shot.rgb, alpha, 480)
    inside = alpha == 1
    assert (found[inside] == shot.rgb[inside]).all(), "the object itself stays exactly as it is"
    edge = (alpha > 0.05) & (alpha < 0.95)
    error, naive = (np.abs(used.astype(np.float32) - front)[edge].mean() for used in (found, shot.rgb))
    assert error < 0.2 * naive
    new = np.zeros_like(shot.rgb) + np.array((200, 0, 200), np.uint8)
    layer = composed(shot.rgb, Matte.of(alpha), new)
    assert (layer.alpha == (alpha < 1)).all()
    wanted = alpha[..., None] * front + (1 - alpha[..., None]) * new
    assert (
        np.abs(layer.rgb[edge] - wanted[edge]).mean()
        < 0.5 * np.abs(alpha[edge][:, None] * (shot.rgb[edge] - front[edge])).mean()
    )
    assert (layer.rgb[alpha == 0] == new[alpha == 0]).all()


# Shadows


def walking(frames: int, static_x: int) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """A figure that walks right over a still ground with its shadow; a dark patch lies still at static_x."""
    ground = scenes.texture(np.random.default_rng(4), 160, 320, (170, 165, 150), 30)
    patch = np.zeros((160, 320), bool)
    patch[118:130, static_x : static_x + 30] = True
    ground[patch] *= 0.35
    pictures, masks = [], []
    for frame in range(frames):
        x = 60 + 5 * frame
        mask = np.zeros((160, 320), bool)
        mask[60:120, x : x + 24] = True
        rgb = ground.copy()
        shadow = np.zeros_like(mask)
        shadow[116:124, x - 6 : x + 40] = True
        rgb[shadow & ~patch] *= 0.4
        rgb[mask] = (60, 80, 200)
        pictures.append(rgb.clip(0, 255).astype(np.uint8))
        masks.append(mask)
    return pictures, masks, patch


def test_a_shadow_goes_with_its_object_and_a_dark_patch_does_not() -> None:
    pictures, masks, patch = walking(30, static_x=150)
    finder = Shadows(lambda at: (pictures[at], masks[at]), 30)
    found = finder.found(14)  # the figure stands beside the patch: x 130 to 154
    assert found[120:124, 125:130].mean() > 0.5
    assert found[125:130, 160:178].mean() < 0.2, "the patch is as dark without the figure"
    assert not (found & masks[14]).any()
    near = Shadows(lambda at: (pictures[at], masks[at]), 14 + 13, 14 - 12)
    assert (near.found(14) == found).all(), "frames farther than 12 away say nothing"


# The stages


@pytest.fixture
def edit(ball_clip: Path, tmp_path: Path, quick_engines: None) -> Edit:
    made = Edit.create(ball_clip, tmp_path / "ball.edit")
    made.mark("ball", frame=0, points=[centre(0)])
    return made


def alphas(edit: Edit, settings: MatteSettings) -> list[np.ndarray]:
    from tam_edit.pipelines.recipes import tubes

    def work(context, engines):  # type: ignore[no-untyped-def]
        found = mattes(context, tubes(context, edit.bench.effective, engines), settings)
        return [found.series.load(frame).full() for frame in range(80)]

    return edit.bench.run("mattes", work)


def test_holes_never_show_less_than_the_mask(edit: Edit) -> None:
    hole = alphas(edit, MatteSettings("hole", (1,), False, 0, 0.0))
    kept = alphas(edit, MatteSettings("kept", (1,), False, 0, 0.0))
    around = alphas(edit, MatteSettings("kept", (1,), True, 0, 0.0))
    tube = edit.track()
    for frame in (0, 7, 40, 79):
        mask = tube["ball"][frame]
        assert (hole[frame][mask] == 1).all()
        assert np.abs(kept[frame] + around[frame] - 1).max() < 0.01
        assert ((kept[frame] > 0.5) == truth(frame)).mean() > 0.99
    hard = alphas(edit, MatteSettings("kept", (1,), False, 0, 0.0, style="hard"))
    assert (hard[40] == tube["ball"][40]).all()


def test_chunks_do_not_show(edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = MatteSettings("kept", (1,), False, 1, 1.0)
    former = alphas(edit, settings)
    edit.bench.store.prune(1)
    monkeypatch.setattr("tam_edit.pipelines.matte_soft.CHUNK", 5)
    monkeypatch.setattr("tam_edit.pipelines.matte.CHUNK", 7)
    again = alphas(edit, settings)
    assert frames_run(edit.report, "soften")
    assert all((one == other).all() for one, other in zip(former, again, strict=True))


def test_a_correction_softens_its_chunk_and_neighbours_again(edit: Edit, tmp_path: Path) -> None:
    edit.replace(tmp_path / "a.mp4", "#204060")
    tube = edit.track()
    mask = tube["ball"][40].copy()
    mask[50:60, 50:60] = True
    for frame in (39, 40, 41):
        edit.mark("ball", frame=frame, mask=mask if frame == 40 else tube["ball"][frame])
    before = alphas(edit, MatteSettings("kept", (1,), False, 0, 0.0))
    report = edit.replace(tmp_path / "b.mp4", "#204060")
    assert set(frames_run(report, "soften")) <= set(range(32, 48)), "what reads frame 40: one chunk of 16 with 2 beside"
    assert len(before) == 80
    assert set(frames_run(edit.replace(tmp_path / "c.mp4", "#204060"), "soften")) == set()


def test_neighbours_beyond_a_cut_are_not_looked_at(cut_clip: Path, tmp_path: Path, quick_engines: None) -> None:
    edit = Edit.create(cut_clip, tmp_path / "cut.edit")
    for frame in (5, 25, 45):
        edit.mark("ball", frame=frame, points=[centre(frame)])
    edit.replace(tmp_path / "a.mp4", "#204060")
    tube = edit.track()
    wider = tube["ball"][20].copy()
    wider[40:44, 40:44] = True
    edit.mark("ball", frame=20, mask=wider)
    report = edit.replace(tmp_path / "b.mp4", "#204060")
    assert set(frames_run(report, "soften")) and min(frames_run(report, "soften")) == 20


def test_settings_shape_the_result_without_touching_the_rest(edit: Edit, tmp_path: Path) -> None:
    lossless = OutputOptions(lossless=True)
    edit.remove(tmp_path / "a.mkv", options=lossless)
    edit.override(shadow="auto")
    report = edit.remove(tmp_path / "b.mkv", options=lossless)
    assert report.stage("shadow").frames_run == 80 and report.stage("soften").frames_run == 0
    shadows = edit.shadows()
    assert shadows.objects == ("shadow",) and len(shadows) == 80
    edit.override(dilate_px=5, erode_px=1)
    plan = edit.plan("remove")
    assert "offset_px went from 2 to 4" in " ".join(plan.stage("matte").reasons)
    assert "soften" not in [stage.name for stage in plan.stages], "growth that is said is exact"


def test_a_preview_shows_the_shadow(edit: Edit, tmp_path: Path) -> None:
    from tam_edit.pipelines.pictures import SHADOW_COLOUR, hatched, write_overlay

    mask = truth(0)
    drawn = hatched(picture(0), mask)
    assert (drawn[mask] == SHADOW_COLOUR).all(axis=1).mean() == pytest.approx(0.5, abs=0.1)
    assert (drawn[~mask] == picture(0)[~mask]).all()
    edit.override(shadow="auto")
    write_overlay(edit, 0, {"ball": mask}, tmp_path / "preview.png")
    assert (tmp_path / "preview.png").stat().st_size > 0 and SIZE_WH == (96, 64)


def test_kept_pixels_keep_every_bit(edit: Edit, tmp_path: Path) -> None:
    from tam_edit.media.probe import probe
    from tam_edit.media.reader import ClipReader

    edit.override(matte="contour")
    edit.replace(tmp_path / "a.mkv", "#204060", options=OutputOptions(lossless=True))
    kept = alphas(edit, MatteSettings("kept", (1,), False, 0, 0.0, style="contour"))
    planes = []
    for path in (Path(edit.source().path), tmp_path / "a.mkv"):
        clip = probe(path, digest="x")
        with ClipReader(clip) as reader:
            planes.append([picture.native.to_ndarray().copy() for picture in reader.frames(FrameSpan(0, 40))])
    for frame in (0, 20, 39):
        inside = kept[frame] == 1
        assert inside.sum() > 100
        before, after = (side[frame] for side in planes)
        same = (before == after).all(axis=0) if before.ndim == 3 else before == after
        assert same[..., : inside.shape[1]][inside].all()
        assert not same[kept[frame] == 0].all()


def test_the_command_line_says_how_edges_are(edit: Edit) -> None:
    import json

    from click.testing import CliRunner

    from tam_edit.cli import root

    assert edit.project is not None
    edit.track()

    def stages(*options: str) -> dict[str, list[str]]:
        words = ["plan", str(edit.project.folder), "remove", "--json", *options]  # type: ignore[union-attr]
        result = CliRunner().invoke(root, words)
        assert result.exit_code == 0, result.output
        return {stage["name"]: stage["reasons"] for stage in json.loads(result.stdout)["stages"]}

    assert {"soften", "matte"} <= stages().keys()
    assert "soften" not in stages("--matte", "hard") and "soften" not in stages("--erode", "1")
    assert "shadow" in stages("--shadow", "auto") and "shadow" not in stages(
        "--shadow", "none", "--no-smooth", "--no-mend"
    )
    bad = CliRunner().invoke(root, ["plan", str(edit.project.folder), "remove", "--matte", "soft"])
    assert bad.exit_code == 2 and "soft" in bad.output
