"""Backgrounds and how they lie: placed, timed, matched, grained and moved with the camera."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tam_edit import Edit, errors
from tam_edit.clip import FrameSpan
from tam_edit.effects import Look, Replace
from tam_edit.engine.report import frames_run
from tam_edit.making import OutputOptions
from tam_edit.media.probe import probe
from tam_edit.models.classic.noise import Grain, grain_of, grained
from tam_edit.models.classic.oklab import Tone, ToneSum, from_oklab, to_oklab, toned
from tam_edit.pipelines.background_moving import ClipBackground, VideoBackground, played
from tam_edit.pipelines.camera import CameraPath, camera_path, similarity, stays_flat
from tam_edit.pipelines.context import Context
from tam_edit.pipelines.placement import placed
from tam_edit.pipelines.recipes import tubes
from tests.scenes import SIZE_WH, centre, picture, truth
from tests.support import SHARED, frames_of, needs_footage, ran

Rgb = NDArray[np.uint8]
LOSSLESS = OutputOptions(lossless=True)


def marked(clip: Path, folder: Path) -> Edit:
    edit = Edit.create(clip, folder)
    edit.mark("ball", frame=0, points=[centre(0)])
    return edit


def write_png(path: Path, rgb: Rgb) -> Path:
    cv2.imwrite(str(path), rgb[..., ::-1])
    return path


def ramp(width: int, height: int) -> Rgb:
    """Red grows to the right, green downwards: every place has a colour of its own."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 0] = np.linspace(10, 245, width).astype(np.uint8)[None]
    rgb[..., 1] = np.linspace(10, 245, height).astype(np.uint8)[:, None]
    rgb[..., 2] = 128
    return rgb


# Placed


def test_fill_covers_fit_shows_all_stretch_forgets_the_shape_tile_repeats() -> None:
    square = ramp(40, 40)
    fill = placed(square, (80, 40), Look())
    assert fill.shape == (40, 80, 3) and fill.min(axis=2).min() > 0
    assert abs(int(fill[0, 0, 1]) - int(square[10, 0, 1])) < 6, "a quarter is cut above"
    fit = placed(square, (80, 40), Look(fit="fit"))
    assert (fit[:, :20] == 0).all() and (fit[:, 60:] == 0).all() and (fit[:, 20:60] == square).all()
    stretch = placed(square, (80, 40), Look(fit="stretch"))
    for x, y in ((0, 0), (79, 0), (0, 39), (79, 39)):
        assert np.abs(stretch[y, x].astype(int) - square[min(y, 39), x // 2]).max() < 8
    tile = placed(square, (100, 60), Look(fit="tile", offset_px=(5, -3)))
    for x, y in ((0, 0), (5, 37), (44, 20), (99, 59)):
        assert (tile[y, x] == square[(y + 3) % 40, (x - 5) % 40]).all()


def test_scale_and_offset_count_from_the_fitted_picture() -> None:
    square = ramp(40, 40)
    same = placed(square, (40, 40), Look())
    assert (same == square).all(), "a picture of the frame's size is that picture"
    moved = placed(square, (40, 40), Look(offset_px=(7, -4)))
    assert (moved[:36, 7:] == square[4:, :33]).all() and (moved[:, :7] == 0).all() and (moved[36:] == 0).all()
    half = placed(square, (40, 40), Look(scale=0.5))
    assert (half[:10] == 0).all() and (half[:, 30:] == 0).all() and half[10:30, 10:30].min() > 0
    double = placed(square, (40, 40), Look(scale=2))
    assert np.abs(double[20, 20].astype(int) - square[20, 20]).max() < 5
    assert np.abs(double[0, 0].astype(int) - square[10, 10]).max() < 6
    small = placed(ramp(8, 8), (40, 40), Look(fit="fit"))
    assert small.min(axis=2).min() > 0, "enlarged to the very edge, without a dark rim"
    assert placed(square, (40, 40), Look(fit="tile", scale=1.7)).max(axis=2).min() > 100, "no gap between tiles"


def test_very_large_and_very_small_pictures_are_placed() -> None:
    assert placed(ramp(1, 1), (30, 20), Look()).min() >= 10
    assert placed(ramp(1, 500), (30, 20), Look(fit="fit")).shape == (20, 30, 3)
    assert placed(ramp(3000, 2), (30, 20), Look(scale=100)).shape == (20, 30, 3)


# Timed


def test_parts_play_once_or_again_at_their_speed() -> None:
    look = Look(start_s=Fraction(1), stop_s=Fraction(3), speed=Fraction(2))
    assert played(Fraction(0), look, Fraction(3)) == 1
    assert played(Fraction(1, 2), look, Fraction(3)) == 2
    assert played(Fraction(1), look, Fraction(3)) == 1, "at its end it begins again"
    hold = Look(start_s=Fraction(1), speed=Fraction(2), at_end="hold")
    assert played(Fraction(1), hold, Fraction(3)) is None


def write_variable(path: Path, times: list[int]) -> Path:
    """Frames of one grey each, shown from these milliseconds on."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "gray"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for index, at in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((16, 32), 10 * index, np.uint8), format="gray")
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def shown(clip: Path, behind: Path, look: Look) -> list[int]:
    """Which frames of a background go with a clip's."""
    source, other = probe(clip, digest="a"), probe(behind, digest="b")
    background = VideoBackground(other, source, look, Context(None, other, (), 0))  # type: ignore[arg-type]
    return [background.frame_for(frame) for frame in range(source.frames)]


def test_frame_rates_are_resampled_by_time_stamps(tmp_path: Path) -> None:
    clip = write_variable(tmp_path / "clip.mkv", list(range(0, 800, 40)))
    uneven = [0, 10, 130, 140, 300, 301, 600]
    behind = write_variable(tmp_path / "behind.mkv", uneven)
    duration = probe(behind, digest="b").duration * 1000

    def expected(time_ms: Fraction) -> int:
        return max(index for index, at in enumerate(uneven) if at <= time_ms)

    times = [Fraction(at) for at in range(0, 800, 40)]
    assert shown(clip, behind, Look()) == [expected(at % duration) for at in times]
    assert shown(clip, behind, Look(speed=Fraction(1, 2))) == [expected(at / 2 % duration) for at in times]
    part = Look(start_s=Fraction(1, 10), stop_s=Fraction(3, 10))
    assert shown(clip, behind, part) == [expected(100 + at % 200) for at in times]
    # A part that ends at 300 ms shows nothing that begins there.
    held = Look(start_s=Fraction(1, 10), stop_s=Fraction(3, 10), at_end="hold", speed=Fraction(3))
    assert shown(clip, behind, held) == [expected(100 + at * 3) if at * 3 < 200 else 3 for at in times]
    assert shown(clip, behind, Look(at_end="hold"))[-1] == len(uneven) - 1
    with pytest.raises(errors.UsageError, match="begin earlier"):
        shown(clip, behind, Look(start_s=Fraction(9)))


@pytest.mark.usefixtures("quick_engines")
def test_looks_of_a_video_come_out_and_only_they_are_run(ball_clip: Path, cut_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    edit.replace(tmp_path / "a.mkv", cut_clip, options=LOSSLESS)
    look = Look(start_s=Fraction(40, 25), at_end="hold")
    planned = edit.plan("replace", tmp_path / "b.mkv", background=cut_clip, look=look, options=LOSSLESS)
    assert set(frames_run(planned, "encode")) == set(range(80))
    report = edit.replace(tmp_path / "b.mkv", cut_clip, look=look, options=LOSSLESS)
    assert ran(report)["matte"] == 0 and ran(report)["encode"] == 80
    result, behind = frames_of(tmp_path / "b.mkv"), frames_of(cut_clip)
    for frame, shows in ((0, 40), (10, 50), (19, 59), (60, 59)):
        far = ~truth(frame)
        far[: 30 + 2] = False
        assert np.abs(result[frame][far].astype(int) - behind[shows][far]).max() < 4
    again = edit.replace(tmp_path / "c.mkv", cut_clip, look=look, options=LOSSLESS)
    assert set(ran(again).values()) == {0}
    assert (tmp_path / "b.mkv").read_bytes() == (tmp_path / "c.mkv").read_bytes()


# moviepy


class Striped:
    """As much of a moviepy clip as is used."""

    def __init__(self, duration: float | None = 2.0, fps: float | None = 10.0) -> None:
        self.duration, self.fps = duration, fps
        self.asked: list[float] = []

    def get_frame(self, t: float) -> Rgb:
        self.asked.append(t)
        return np.full((32, 48, 3), 10 + 20 * int(t * 10 + 1e-6), np.uint8)


@pytest.mark.usefixtures("quick_engines")
def test_any_moviepy_clip_can_be_the_background(ball_clip: Path, tmp_path: Path) -> None:
    moviepy = pytest.importorskip("moviepy")
    edit = marked(ball_clip, tmp_path / "ball.edit")
    halves = [moviepy.ColorClip((50, 40), color=colour, duration=1) for colour in ((200, 0, 0), (0, 0, 200))]
    clip = moviepy.concatenate_videoclips(halves)
    edit.replace(tmp_path / "a.mkv", background=clip, options=LOSSLESS)
    result = frames_of(tmp_path / "a.mkv")
    for frame, colour in ((0, (200, 0, 0)), (24, (200, 0, 0)), (25, (0, 0, 200)), (49, (0, 0, 200)), (50, (200, 0, 0))):
        assert np.abs(result[frame][60, 90].astype(int) - colour).max() < 5, f"frame {frame}"
    again = edit.replace(tmp_path / "b.mkv", background=clip, options=LOSSLESS)
    assert ran(again)["encode"] == 0, "the same pixels are the same background"
    other = edit.replace(tmp_path / "c.mkv", background=clip.with_speed_scaled(2), options=LOSSLESS)
    assert ran(other)["encode"] > 0
    mine = edit.clip("#204060")
    edit.replace(tmp_path / "d.mkv", background=mine, options=LOSSLESS)  # our own way out is a way in
    mine.close()
    assert np.abs(frames_of(tmp_path / "d.mkv")[7][60, 90].astype(int) - (0x20, 0x40, 0x60)).max() < 5
    with pytest.raises(errors.UsageError, match="cannot be written"):
        edit.set_effects([Replace(clip)])


def test_clips_without_an_end_and_clips_that_hold(ball_clip: Path) -> None:
    source = probe(ball_clip, digest="a")
    endless = ClipBackground(Striped(duration=None), source, Look(start_s=Fraction(1), speed=Fraction(2)))
    assert endless.time_for(25) == 3
    held = ClipBackground(Striped(duration=2.0), source, Look(at_end="hold"))
    assert held.time_for(79) == Fraction(19, 10)
    looped = ClipBackground(Striped(duration=2.0), source, Look())
    assert looped.time_for(60) == Fraction(2, 5)
    assert (looped.load(0) == 10).all() and looped.load(0).shape == (SIZE_WH[1], SIZE_WH[0], 3)


@pytest.mark.parametrize("frame", [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.array("x"), OSError("gone")])
def test_a_clip_that_gives_no_picture_is_refused_in_words(ball_clip: Path, frame: Any) -> None:
    class Broken:
        duration = 1.0

        def get_frame(self, t: float) -> Any:
            if isinstance(frame, Exception):
                raise frame
            return frame

    background = ClipBackground(Broken(), probe(ball_clip, digest="a"), Look())
    with pytest.raises(errors.SourceUnreadable, match="background clip"):
        background.load(0)


# Matched


def test_oklab_is_the_published_space_and_comes_back() -> None:
    colours = np.array([[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 0]], np.uint8)
    # Values that the space's author gives for sRGB's corners.
    wanted = [[1, 0, 0], [0.628, 0.225, 0.126], [0.866, -0.234, 0.179], [0.452, -0.032, -0.312], [0, 0, 0]]
    assert np.abs(to_oklab(colours) - wanted).max() < 2e-3
    cube = np.stack(np.meshgrid(*[np.arange(0, 256, 15)] * 3), -1).reshape(-1, 3).astype(np.uint8)
    assert np.abs(from_oklab(to_oklab(cube)).astype(int) - cube).max() <= 1


def test_toning_gives_the_wanted_mean_and_deviation() -> None:
    noise = np.random.default_rng(3)
    warm = np.clip(noise.normal((150, 110, 80), 18, (120, 160, 3)), 0, 255).astype(np.uint8)
    cold = np.clip(noise.normal((80, 100, 140), 30, (120, 160, 3)), 0, 255).astype(np.uint8)

    def tone(rgb: Rgb) -> Tone:
        sums = ToneSum()
        sums.add(rgb)
        found = sums.tone()
        assert found is not None
        return found

    made = tone(toned(cold, tone(cold), tone(warm)))
    assert np.abs(np.subtract(made.mean, tone(warm).mean)).max() < 0.004
    assert np.abs(np.subtract(made.deviation, tone(warm).deviation)).max() < 0.004
    flat = np.full((10, 10, 3), 90, np.uint8)
    assert np.ptp(toned(flat, tone(flat), tone(warm)).reshape(-1, 3), axis=0).max() == 0


@pytest.mark.usefixtures("quick_engines")
def test_matching_moves_the_background_or_what_is_kept_and_never_both(ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    blue = write_png(tmp_path / "blue.png", (ramp(*SIZE_WH) // 3 + np.array((0, 20, 120), np.uint8)).astype(np.uint8))
    edit.replace(tmp_path / "a.mkv", blue, options=LOSSLESS)
    report = edit.replace(tmp_path / "b.mkv", blue, look=Look(match_colour="background"), options=LOSSLESS)
    assert ran(report)["likeness"] == 80
    edit.replace(tmp_path / "c.mkv", blue, look=Look(match_colour="foreground"), options=LOSSLESS)
    assert edit.report.stage("likeness").frames_reused == 80, "both ways need the same numbers"
    plain, behind, before = (frames_of(tmp_path / f"{name}.mkv") for name in "abc")
    for frame in (0, 40, 79):
        ball = cv2.erode(truth(frame).astype(np.uint8), np.ones((7, 7))) > 0
        away = cv2.dilate(truth(frame).astype(np.uint8), np.ones((9, 9))) == 0
        assert (behind[frame][ball] == plain[frame][ball]).all(), "the object keeps every bit"
        assert (before[frame][away] == plain[frame][away]).all(), "the background keeps every bit"
        scene = picture(frame)[away].reshape(-1, 3).astype(float)
        assert np.abs(behind[frame][away].mean(axis=0) - scene.mean(axis=0)).max() < 14
        assert np.abs(plain[frame][away].mean(axis=0) - scene.mean(axis=0)).max() > 40
        bluer = to_oklab(before[frame][ball])[:, 2] - to_oklab(plain[frame][ball])[:, 2]
        assert bluer.mean() < -0.01, "the ball stands in the background's blue light"
    assert all((behind[frame][50:] == behind[0][50:]).all() for frame in range(80)), "a still one does not flicker"


# Grained


@pytest.mark.parametrize("sigma", [1.0, 3.0, 8.0])
def test_noise_is_measured_and_made_at_the_same_strength(sigma: float) -> None:
    flat = np.full((144, 192, 3), 120, np.uint8)
    flat[:, 96:] = ramp(96, 144) // 2 + 60
    noisy = np.clip(np.rint(flat + np.random.default_rng(1).normal(0, sigma, flat.shape)), 0, 255).astype(np.uint8)
    everywhere = np.ones(flat.shape[:2], dtype=bool)
    found = grain_of(noisy, everywhere)
    # Luma of three independent channels.
    luma = sigma * (0.299**2 + 0.587**2 + 0.114**2) ** 0.5
    assert found is not None and abs(found.fine / luma - 1) < 0.25
    assert found.coarse < 0.5 * luma
    made = grain_of(grained(flat, found, 7), everywhere)
    assert made is not None and abs(made.fine / found.fine - 1) < 0.25
    assert (grained(flat, found, 7) == grained(flat, found, 7)).all(), "the same frame, the same noise"
    assert (grained(flat, found, 7) != grained(flat, found, 8)).any()


def test_coarse_noise_is_told_from_fine_and_texture_from_noise() -> None:
    grey = np.full((160, 160, 3), 128, np.uint8)
    everywhere = np.ones((160, 160), dtype=bool)
    found = grain_of(grained(grey, Grain(0.0, 4.0, 0.0), 3), everywhere)
    assert found is not None and found.coarse > 2
    half = grey.copy()
    half[:, 80:] = np.random.default_rng(0).integers(0, 255, (160, 80, 1))
    textured = grain_of(half, everywhere)
    assert textured is not None and textured.fine < 0.5, "calm places count"
    assert grain_of(grey, ~everywhere) is None
    assert Grain(5, 0, 1).missing(Grain(3, 1, 1)) == Grain(4, 0, 0)


@pytest.mark.usefixtures("quick_engines")
def test_grain_lies_over_the_background_only(ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    edit.replace(tmp_path / "a.mkv", "#406080", options=LOSSLESS)
    edit.replace(tmp_path / "b.mkv", "#406080", look=Look(grain=4.0), options=LOSSLESS)
    plain, grainy = frames_of(tmp_path / "a.mkv"), frames_of(tmp_path / "b.mkv")
    ball = cv2.erode(truth(40).astype(np.uint8), np.ones((7, 7))) > 0
    assert (grainy[40][ball] == plain[40][ball]).all()
    assert 2.5 < grainy[40][50:, :, 1].astype(float).std() < 6
    assert (grainy[40][50:] != grainy[41][50:]).any(), "it moves"


# Moved with the camera


def pan_clip(path: Path, frames: int = 40) -> tuple[Path, list[NDArray[np.float64]]]:
    """A textured world seen by a camera that pans, turns and zooms, a red square moving on its own in front."""
    noise = np.random.default_rng(5)
    world = sum(
        cv2.resize(noise.uniform(0, 1, (n, n)), (700, 700), interpolation=cv2.INTER_CUBIC) for n in (20, 60, 150)
    )
    world = cv2.cvtColor(np.clip(world * 85, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    views = []
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "8", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 240, 160, "yuv444p"
        for index in range(frames):
            turn, zoom = np.deg2rad(0.15 * index), 1 + 0.004 * index
            a, b = zoom * np.cos(turn), zoom * np.sin(turn)
            view = np.array([[a, -b, -200.0 - 2.5 * index], [b, a, -250.0 - 0.8 * index], [0, 0, 1]])
            rgb = cv2.warpAffine(world, view[:2], (240, 160), flags=cv2.INTER_CUBIC)
            x = 30 + 3 * index
            rgb[60:90, x : x + 30] = (220, 40, 40)
            views.append(view)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts = index
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path, views


@pytest.mark.usefixtures("quick_engines")
def test_a_still_picture_follows_the_camera(tmp_path: Path) -> None:
    clip, views = pan_clip(tmp_path / "pan.mp4")
    edit = Edit.create(clip, tmp_path / "pan.edit")
    edit.mark("square", frame=0, points=[(45, 75)])
    dots = np.full((300, 500, 3), 40, np.uint8)
    for y in range(15, 300, 30):
        for x in range(15, 500, 30):
            cv2.circle(dots, (x, y), 4, (230, 230, 230), -1, cv2.LINE_AA)
    look = Look(follow="camera")
    report = edit.replace(tmp_path / "a.mkv", write_png(tmp_path / "dots.png", dots), look=look, options=LOSSLESS)
    assert ran(report)["camera"] == 40
    result = frames_of(tmp_path / "a.mkv")
    # Seen from the true camera, every frame shows the same picture as the middle one does.
    middle = result[20].astype(int)
    errors_px = []
    for frame in (0, 10, 30, 39):
        back = views[20] @ np.linalg.inv(views[frame])
        seen = cv2.warpAffine(result[frame], back[:2], (240, 160), flags=cv2.INTER_LINEAR)
        inside = cv2.warpAffine(np.full((160, 240), 255, np.uint8), back[:2], (240, 160)) == 255
        inside[55:95] = False
        errors_px.append(np.abs(seen.astype(int) - middle)[inside].mean())
        still = np.abs(result[frame].astype(int) - middle)[inside].mean()
        assert errors_px[-1] < 0.35 * still, f"frame {frame}"
    assert min(frame.min(axis=2).min() for frame in result) > 0, "the picture covers all that the camera sees"
    again = edit.replace(
        tmp_path / "b.mkv", tmp_path / "dots.png", look=Look(follow="camera", grain=3), options=LOSSLESS
    )
    assert ran(again)["camera"] == 0, "the camera is measured once"
    with pytest.raises(errors.UsageError, match="only a still picture"):
        edit.replace(tmp_path / "c.mkv", clip, look=look)


@pytest.mark.usefixtures("quick_engines")
def test_a_camera_that_stands_leaves_the_picture_where_it_is(tmp_path: Path) -> None:
    still = tmp_path / "still.mp4"
    with av.open(str(still), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "4", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE_WH, "yuv444p"
        for index in range(16):
            rgb = picture(0)
            rgb[truth(0)] = 120
            rgb[truth(index)] = (220, 40, 40)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts = index
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    edit = marked(still, tmp_path / "still.edit")
    image = write_png(tmp_path / "ramp.png", ramp(200, 130))
    edit.replace(tmp_path / "a.mkv", image, look=Look(follow="camera"), options=LOSSLESS)
    result = frames_of(tmp_path / "a.mkv")
    assert all((frame[40:] == result[0][40:]).all() for frame in result)


def test_the_nearest_similarity_is_found() -> None:
    turn = np.deg2rad(3)
    exact = np.array(
        [[1.1 * np.cos(turn), -1.1 * np.sin(turn), 12], [1.1 * np.sin(turn), 1.1 * np.cos(turn), -7], [0, 0, 1]]
    )
    assert np.abs(similarity(exact, (320, 200)) - exact).max() < 1e-9
    bent = exact.copy()
    bent[2, 0] = 1e-5
    found = similarity(bent, (320, 200))
    assert abs(np.hypot(found[0, 0], found[1, 0]) - 1.1) < 0.02 and found[2].tolist() == [0, 0, 1]


def pan_of(degrees: float, size_wh: tuple[int, int]) -> NDArray[np.float64]:
    """What a camera of 50 degrees does to a far picture when it turns to the side."""
    turn, (width, height) = np.deg2rad(degrees), size_wh
    focal = width / 2 / np.tan(np.deg2rad(25))
    lens = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    around = np.array([[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]])
    motion = lens @ around @ np.linalg.inv(lens)
    return np.asarray(motion / motion[2, 2])


def test_a_flat_picture_is_followed_as_far_as_it_stays_one() -> None:
    size_wh = (320, 180)
    assert all(stays_flat(pan_of(degrees, size_wh), size_wh) for degrees in (-20, 0, 5, 20))
    assert not any(stays_flat(pan_of(degrees, size_wh), size_wh) for degrees in (-50, 45, 80, 120))
    path = CameraPath(FrameSpan(0, 3), tuple(pan_of(degrees, size_wh) for degrees in (-20, 0, 20)))
    x0, y0, x1, y1 = path.seen(size_wh)
    for degrees in (-20, 0, 20):
        back = np.linalg.inv(pan_of(degrees, size_wh)) @ np.array([[0, 320, 0, 320], [0, 0, 180, 180], [1, 1, 1, 1]])
        x, y = back[:2] / back[2]
        assert (x >= x0).all() and (x <= x1).all() and (y >= y0).all() and (y <= y1).all()


@pytest.mark.usefixtures("quick_engines")
def test_a_camera_that_turns_far_is_followed_more_simply_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, _ = pan_clip(tmp_path / "pan.mp4", frames=26)
    measured = [pan_of(4 * at, (240, 160)) for at in range(1, 13)]
    monkeypatch.setattr("tam_edit.pipelines.camera._measured", lambda context, tubes, at: measured[: len(at) - 1])
    edit = Edit.create(clip, tmp_path / "pan.edit")
    edit.mark("square", frame=0, points=[(45, 75)])
    image = write_png(tmp_path / "ramp.png", ramp(200, 130))
    report = edit.replace(tmp_path / "a.mkv", image, look=Look(follow="camera"), options=LOSSLESS)
    assert any("frames 0-25: the camera turns too far" in words for words in report.warnings)
    assert len(frames_of(tmp_path / "a.mkv")) == 26


@pytest.mark.usefixtures("quick_engines")
def test_time_is_nothing_to_what_does_not_play_and_that_is_said(ball_clip: Path, tmp_path: Path) -> None:
    edit = marked(ball_clip, tmp_path / "ball.edit")
    plain = edit.replace(tmp_path / "a.mp4", "#102030")
    timed = edit.replace(tmp_path / "b.mp4", "#102030", look=Look(speed=Fraction(2)))
    assert not [words for words in plain.warnings if "plays" in words]
    assert [words for words in timed.warnings if "#102030 is no video that plays" in words]
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.usefixtures("quick_engines")
@pytest.mark.parametrize(
    ("background", "look", "words"),
    [
        ("#102030", Look(follow="camera"), "only a still picture can follow"),
        ("blur", Look(follow="camera"), "only a still picture can follow"),
        ("broken.png", Look(), "cannot be read as a picture"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    ball_clip: Path, tmp_path: Path, background: str, look: Look, words: str
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    named = str(tmp_path / background) if background.endswith(".png") else background
    edit = marked(ball_clip, tmp_path / "ball.edit")
    with pytest.raises(errors.TamEditError, match=words):
        edit.replace(tmp_path / "a.mp4", named, look=look)
    assert not (tmp_path / "a.mp4").exists()


@pytest.mark.usefixtures("quick_engines")
def test_the_same_look_gives_the_same_bytes_without_a_cache(tmp_path: Path) -> None:
    clip, _ = pan_clip(tmp_path / "pan.mp4", frames=14)
    image = write_png(tmp_path / "ramp.png", ramp(200, 130))
    look = Look(follow="camera", match_colour="background", grain="auto")
    for name in ("a", "b"):
        edit = Edit.create(clip, tmp_path / f"{name}.edit")
        edit.mark("square", frame=0, points=[(45, 75)])
        edit.replace(tmp_path / f"{name}.mkv", image, look=look, options=LOSSLESS)
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()


@pytest.mark.usefixtures("quick_engines")
def test_a_clip_without_a_calm_place_gets_no_grain_and_says_so(tmp_path: Path) -> None:
    clip = tmp_path / "white.mp4"
    with av.open(str(clip), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        for index in range(4):
            rgb = np.full((48, 64, 3), 255, np.uint8)
            rgb[10:20, 10:20] = (220, 40, 40)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts = index
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    edit = Edit.create(clip, tmp_path / "white.edit")
    edit.mark("square", frame=0, points=[(15, 15)])
    report = edit.replace(tmp_path / "a.mkv", "#406080", look=Look(grain="auto"), options=LOSSLESS)
    assert any("no calm place" in words and "frames 0-3" in words for words in report.warnings)
    assert np.ptp(frames_of(tmp_path / "a.mkv")[2][30:, 30:].reshape(-1, 3), axis=0).max() == 0


@needs_footage
def test_on_real_footage_the_camera_is_followed(tmp_path: Path) -> None:
    """A panning camera: frames laid over each other by the measured motion agree outside the car."""
    frames = sorted((SHARED / "footage/davis/JPEGImages/480p/car-roundabout").iterdir())[:14]
    masks = sorted((SHARED / "footage/davis/Annotations/480p/car-roundabout").iterdir())[:14]
    (tmp_path / "clip").mkdir()
    for path in frames:
        (tmp_path / "clip" / path.name).symlink_to(path)
    edit = Edit.create(tmp_path / "clip", tmp_path / "car.edit", frame_rate="24")
    for index, path in enumerate(masks):
        edit.mark("car", frame=index, mask=path)

    def work(context: Context, engines: Any) -> list[NDArray[np.float64]]:
        path = camera_path(context, tubes(context, edit.script, engines), context.shots[0])
        assert path is not None
        return list(path.motions)

    motions = edit.bench.run("camera", work)
    first, last = cv2.imread(str(frames[0])).astype(float), cv2.imread(str(frames[13]))
    between = motions[13] @ np.linalg.inv(motions[0])
    size = (first.shape[1], first.shape[0])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpPerspective(last, between, size, flags=flags).astype(float)
    seen = cv2.warpPerspective(np.full(first.shape[:2], 255, np.uint8), between, size, flags=flags) == 255
    cars = [cv2.imread(str(masks[at]), cv2.IMREAD_GRAYSCALE) for at in (0, 13)]
    cars[1] = cv2.warpPerspective(cars[1], between, size, flags=flags)
    outside = seen & (cv2.dilate(np.maximum(*cars), np.ones((9, 9))) == 0)
    apart = np.abs(laid - first)[outside].mean()
    assert apart < 0.6 * np.abs(last.astype(float) - first)[outside].mean()
