"""Choosing how the result is stored: container from the name, codec and format from the source; all said aloud."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from av.codec import Codec

from tam_edit.clip import ClipSource, ColourTags
from tam_edit.errors import ContainerUnknown, UsageError
from tam_edit.media.layouts import Layout, layout_of, output_colour

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
PICTURE_CONTAINERS = {".png": "png", ".tif": "tiff", ".tiff": "tiff"}
CODECS_IN = {
    "mp4": ("h264", "hevc", "vp9", "av1"),
    "mov": ("h264", "hevc", "prores"),
    "matroska": ("h264", "hevc", "ffv1", "vp9", "av1", "prores"),
    "webm": ("vp9", "av1"),
}
ENCODERS = {
    "h264": "libx264",
    "hevc": "libx265",
    "ffv1": "ffv1",
    "vp9": "libvpx-vp9",
    "av1": "libsvtav1",
    "prores": "prores_ks",
}
DEFAULT_CRF = {"h264": 16, "hevc": 16, "vp9": 18, "av1": 18}
CRF_MOST = {"h264": 51, "hevc": 51, "vp9": 63, "av1": 63}
PRESETS = {"h264": "veryfast", "hevc": "superfast", "vp9": "5", "av1": "8"}
# How far a packet may come before its turn to be shown, with the B-frame settings below.
REORDER = {"h264": 2, "hevc": 2}
MUST_BE_EVEN = frozenset({"h264", "hevc", "av1"})  # their cropping counts in chroma samples
# Encoders are given a fixed number of threads: some make other bytes with another number.
THREADS = 4
CHUNK_FRAMES, CHUNK_FRAMES_LOSSLESS = 48, 24
NUMBERED = re.compile(r"%0?\d*d")


@dataclass(frozen=True)
class EncodeSettings:
    """How frames become a stream, fully resolved: nothing is left to an encoder's defaults or the machine.

    `upright`: the container holds no rotation, frames are to be stored turned. `chunk_frames`: length of one segment.
    `kind` is "video" or "pictures" (then `container` names the picture format and `pattern` the file names).
    """

    kind: str
    container: str
    codec: str
    encoder: str
    pixel_format: str
    options: tuple[tuple[str, str], ...]
    lossless: bool
    crf: int | None
    preset: str | None
    gop: int
    chunk_frames: int
    max_b_frames: int
    reorder: int
    upright: bool
    colour: ColourTags
    pattern: str = ""
    warnings: tuple[str, ...] = ()


def choose(
    source: ClipSource,
    output_path: str | Path,
    lossless: bool = False,
    codec: str = "auto",
    crf: int | None = None,
    preset: str | None = None,
) -> EncodeSettings:
    """Settle container, codec and pixel format for a result, `warnings` naming whatever could not be kept.

    By default 8 bits become H.264 and more HEVC, visually lossless; `lossless` FFV1 in Matroska, H.264 or HEVC without
    loss in mp4 and mov. Raises ContainerUnknown, UsageError (a codec or crf that does not exist).
    """
    kind, container, pattern = _container(output_path)
    if kind == "pictures":
        return _pictures(source, container, pattern)
    warnings: list[str] = []
    name = _codec(source, container, codec, lossless)
    pixel_format = _pixel_format(source, name, container, lossless, warnings)
    if crf is not None and name not in CRF_MOST:
        warnings.append(f"{name} knows no crf; it is not used")
        crf = None
    if crf is not None and not 0 <= crf <= CRF_MOST[name]:
        raise UsageError(f"crf {crf}: {name} takes 0 (best) to {CRF_MOST[name]}")
    if lossless:
        crf = None
    elif crf is None:
        crf = DEFAULT_CRF.get(name)
    used_preset = preset or PRESETS.get(name)
    chunk = CHUNK_FRAMES_LOSSLESS if lossless or name in {"ffv1", "prores"} else CHUNK_FRAMES
    options, b_frames = _options(source, name, pixel_format, lossless, crf, used_preset)
    return EncodeSettings(
        kind="video",
        container=container,
        codec=name,
        encoder=ENCODERS[name],
        pixel_format=pixel_format,
        options=tuple(sorted(options.items())),
        lossless=lossless,
        crf=crf,
        preset=used_preset,
        gop=1 if name in {"ffv1", "prores"} else chunk,
        chunk_frames=chunk,
        max_b_frames=b_frames,
        reorder=REORDER.get(name, 0),
        upright=False,
        colour=output_colour(source, pixel_format),
        warnings=tuple(warnings),
    )


def _container(output_path: str | Path) -> tuple[str, str, str]:
    """(kind, container, file name pattern) from what the output is called."""
    text, place = str(output_path), Path(output_path)
    suffix = place.suffix.lower()
    if NUMBERED.search(place.name):
        if suffix in PICTURE_CONTAINERS:
            return "pictures", PICTURE_CONTAINERS[suffix], place.name
    elif text.endswith("/") or place.is_dir() or not suffix:
        return "pictures", "png", "%05d.png"
    elif suffix in CONTAINERS:
        return "video", CONTAINERS[suffix], ""
    known = " ".join(CONTAINERS)
    raise ContainerUnknown(
        f"{place}: no container is known by {suffix or 'this name'!r}; end the name in one of {known}, "
        "or name a folder (ending in /) or a pattern such as frames/%05d.png for pictures"
    )


def _codec(source: ClipSource, container: str, codec: str, lossless: bool) -> str:
    if codec != "auto":
        name = {"h265": "hevc", "x264": "h264", "x265": "hevc", "libx264": "h264", "libx265": "hevc"}.get(codec, codec)
        if name not in ENCODERS:
            raise UsageError(f"codec {codec!r} is not known; choose auto or one of {', '.join(ENCODERS)}")
        if name not in CODECS_IN[container]:
            fits = [suffix for suffix, held in CONTAINERS.items() if name in CODECS_IN[held]]
            raise ContainerUnknown(f"{container} cannot hold {name}; end the output's name in {' or '.join(fits)}")
        if lossless and name in {"prores", "av1"}:
            raise UsageError(f"{name} cannot be lossless; choose ffv1 in .mkv, or leave --lossless away")
        return name
    layout = layout_of(source.pixel_format)
    deep = layout.bits > 8
    if container == "webm":
        return "av1" if deep and not lossless else "vp9"
    if lossless and container == "matroska":
        return "ffv1"
    if lossless and layout.family == "rgb":
        return "hevc"  # H.264 has no RGB here
    if lossless and _odd(source, layout) and not deep and container == "mp4":
        return "vp9"  # the only one there that keeps 4:2:0 of odd size
    return "hevc" if deep else "h264"


def _odd(source: ClipSource, layout: Layout) -> bool:
    width, height = source.coded_wh
    return bool(width % (1 << layout.shift_x) or height % (1 << layout.shift_y))


def _pixel_format(source: ClipSource, codec: str, container: str, lossless: bool, warnings: list[str]) -> str:
    """The encoder's format nearest to the source's: exact where it can be, else more rather than less."""
    known = Codec(ENCODERS[codec], "w").video_formats or []
    names = {form.name for form in known}
    layout = layout_of(source.pixel_format)
    if codec in {"vp9", "h264", "hevc", "av1"}:
        # Grey goes as luma with neutral chroma, which every player shows; RGB stays RGB only where nothing may be lost.
        left_out = ("yuva", "gbra", "yuvj", "nv", "gray") if lossless else ("yuva", "gbr", "yuvj", "nv", "gray")
        names = {name for name in names if not name.startswith(left_out)}
    if codec == "vp9" and container == "mp4":
        names.discard("yuv440p")  # its vpcC box has no number for it
    if layout.name in names and not (codec in MUST_BE_EVEN and _odd(source, layout)):
        return layout.name
    if layout.family == "rgb" and layout.bits == 8 and codec == "ffv1":
        return "bgra" if layout.alpha else "bgr0"
    best = min(names, key=lambda name: _loss(source, layout, name, codec, lossless))
    _say_changes(layout, best, codec, warnings)
    if lossless and warnings:
        warnings.append(f"so the result is not lossless in {container}; FFV1 in .mkv is")
    return best


def _loss(source: ClipSource, layout: Layout, name: str, codec: str, lossless: bool) -> tuple[object, ...]:
    """How much worse a candidate format is than the source's; compared item by item."""
    try:
        other = layout_of(name)
    except (AssertionError, ValueError):
        return (9,)
    if other.name != name and name not in {"bgr0", "bgra"}:
        return (9,)
    impossible = codec in MUST_BE_EVEN and other.family == "yuv" and _odd(source, other)
    family = {"yuv": 0, "grey": 1, "rgb": 2}
    from_rgb = layout.family == "rgb" and other.family == "yuv"
    # RGB and grey go to 4:2:0 unless lossless: many players show nothing else.
    small = layout.family == "grey" or (layout.family == "rgb" and not lossless)
    want_x, want_y = (1, 1) if small else (layout.shift_x, layout.shift_y)
    return (
        impossible,
        layout.family != "grey" and other.family == "grey",
        lossless and layout.family == "rgb" and other.family != "rgb",
        max(layout.bits - other.bits, 0),
        max(other.shift_x - want_x, 0) + max(other.shift_y - want_y, 0),
        layout.alpha and not other.alpha,
        max(want_x - other.shift_x, 0) + max(want_y - other.shift_y, 0),
        max(other.bits - layout.bits, 0),
        other.alpha and not layout.alpha,
        from_rgb,
        family[other.family],
        name,
    )


def _say_changes(layout: Layout, name: str, codec: str, warnings: list[str]) -> None:
    other = layout_of(name)
    if layout.alpha and not other.alpha:
        warnings.append(f"{codec} holds no transparency here: the alpha plane is left out (FFV1 in .mkv keeps it)")
    if other.bits < layout.bits:
        warnings.append(f"{codec} holds at most {other.bits} bits here: {layout.bits} bits are rounded")
    if layout.family == "rgb" and other.family == "yuv":
        warnings.append(f"{codec} does not hold {layout.name} here: colours are stored as {name}")
    elif layout.family == "yuv" and (layout.shift_x, layout.shift_y) != (other.shift_x, other.shift_y):
        warnings.append(f"{codec} cannot hold {layout.name} of this size: chroma is stored as {name}")


def _options(
    source: ClipSource, codec: str, pixel_format: str, lossless: bool, crf: int | None, preset: str | None
) -> tuple[dict[str, str], int]:
    """The encoder's own options and how many B-frames in a row it may use."""
    preset = preset or ""
    if codec == "h264":
        params = "scenecut=0:open-gop=0:force-cfr=0" + (":" + _fields(source) if source.interlaced else "")
        quality = {"qp": "0"} if lossless else {"crf": str(crf)}
        return {"preset": preset, "x264-params": params, "b-pyramid": "normal", **quality}, 3
    if codec == "hevc":
        small = min(source.coded_wh) < 64
        params = "log-level=none:open-gop=0:scenecut=0:frame-threads=2:pools=4:info=0:repeat-headers=0"
        params += ":ctu=16:min-cu-size=8" if small else ""
        params += ":lossless=1" if lossless else ""
        return {"preset": preset, "x265-params": params, **({} if lossless else {"crf": str(crf)})}, 3
    if codec == "vp9":
        common = {"deadline": "good", "cpu-used": preset, "row-mt": "0", "tile-columns": "1", "auto-alt-ref": "0"}
        return {**common, **({"lossless": "1"} if lossless else {"crf": str(crf), "b": "0"})}, 0
    if codec == "av1":
        os.environ.setdefault("SVT_LOG", "1")  # it writes to stderr past FFmpeg's log: errors only
        return {"preset": preset, "crf": str(crf), "svtav1-params": "pred-struct=1:lp=1"}, 0
    if codec == "ffv1":
        # The number of slices is FFmpeg's: it follows from the size, and not every number suits an odd one.
        return {"level": "3", "coder": "1", "context": "0", "slicecrc": "1"}, 0
    return {"profile": "4444" if "444" in pixel_format else "hq", "vendor": "apl0"}, 0


def _fields(source: ClipSource) -> str:
    return "bff=1" if source.field_order in (3, 4) else "tff=1"


def _pictures(source: ClipSource, container: str, pattern: str) -> EncodeSettings:
    layout = layout_of(source.pixel_format)
    depth = 16 if layout.bits > 8 else 8
    by_kind = {
        ("png", 8): ("gray", "rgb24", "rgba"),
        ("png", 16): ("gray16be", "rgb48be", "rgba64be"),
        ("tiff", 8): ("gray", "rgb24", "rgba"),
        ("tiff", 16): ("gray16le", "rgb48le", "rgba64le"),
    }[container, depth]
    pixel_format = by_kind[0] if layout.family == "grey" else by_kind[2] if layout.alpha else by_kind[1]
    warnings = []
    if layout.family == "yuv":
        warnings.append(f"pictures hold RGB: {layout.name} is converted")
    if source.kind == "video":
        warnings.append("pictures hold neither times nor sound: both are left out")
    return EncodeSettings(
        kind="pictures",
        container=container,
        codec=container,
        encoder=container,
        pixel_format=pixel_format,
        options=(),
        lossless=True,
        crf=None,
        preset=None,
        gop=1,
        chunk_frames=CHUNK_FRAMES_LOSSLESS,
        max_b_frames=0,
        reorder=0,
        upright=True,
        colour=output_colour(source, pixel_format),
        pattern=pattern,
        warnings=tuple(warnings),
    )
