"""OpenTimelineIO: a timeline with the clip on one track and its matte, a grey video beside, on another."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

from tam_edit.clip import ClipSource
from tam_edit.media.placing import check_destination, placed
from tam_edit.pipelines.export.request import ExportResult, Request, need_suffix
from tam_edit.pipelines.export.videos import write_matte_file


def write(request: Request) -> ExportResult:
    """NAME.otio and NAME.matte.mov; editing programs use the second track as the first one's luma matte.

    Times count frames at the clip's rate; for a clip of variable rate they count its time base, which is exact too.
    Source: the OpenTimelineIO file format, schemas Timeline.1, Stack.1, Track.1, Clip.2, ExternalReference.1.
    """
    need_suffix(request.destination, ".otio")
    matte = request.destination.with_name(f"{request.destination.stem}.matte.mov")
    for path in (request.destination, matte):
        check_destination(path, request.clip.path)
    with placed(matte) as matte_file, placed(request.destination) as file:
        write_matte_file(request, matte_file)
        file.write_text(json.dumps(_timeline(request, matte.name), indent=2) + "\n", encoding="utf-8")
    varies = "the clip's rate varies: times in the timeline count its time base"
    return ExportResult((request.destination, matte), () if constant_rate(request.clip) else (varies,))


def constant_rate(clip: ClipSource) -> bool:
    """Whether every frame is shown equally long (within the rounding of the time base) at the clip's frame rate."""
    frame = 1 / clip.frame_rate
    start = clip.time(0)
    return all(abs(clip.time(i) - start - i * frame) <= clip.time_base for i in range(clip.frames))


def _timeline(request: Request, matte_name: str) -> dict[str, Any]:
    clip = request.clip
    source = Path(clip.path)
    span = _span(clip)
    role = {"tam-edit": {"objects": list(request.objects), "alpha": "luma, straight", "of": source.name}}
    tracks = [
        _track("picture", [_clip(source.stem, source.resolve().as_uri(), span, {})], {}),
        _track("matte", [_clip(f"{source.stem} matte", matte_name, span, role)], {"tam-edit": {"role": "matte"}}),
    ]
    return {
        "OTIO_SCHEMA": "Timeline.1",
        "metadata": {},
        "name": request.destination.stem,
        "global_start_time": None,
        "tracks": {
            "OTIO_SCHEMA": "Stack.1",
            "metadata": {},
            "name": "tracks",
            "source_range": None,
            "effects": [],
            "markers": [],
            "enabled": True,
            "children": tracks,
        },
    }


def _track(name: str, children: list[dict[str, Any]], metadata: dict[str, Any]) -> dict[str, Any]:
    return {
        "OTIO_SCHEMA": "Track.1",
        "metadata": metadata,
        "name": name,
        "source_range": None,
        "effects": [],
        "markers": [],
        "enabled": True,
        "children": children,
        "kind": "Video",
    }


def _clip(name: str, url: str, span: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    reference = {
        "OTIO_SCHEMA": "ExternalReference.1",
        "metadata": {},
        "name": "",
        "available_range": span,
        "available_image_bounds": None,
        "target_url": url,
    }
    return {
        "OTIO_SCHEMA": "Clip.2",
        "metadata": metadata,
        "name": name,
        "source_range": span,
        "effects": [],
        "markers": [],
        "enabled": True,
        "media_references": {"DEFAULT_MEDIA": reference},
        "active_media_reference_key": "DEFAULT_MEDIA",
    }


def _span(clip: ClipSource) -> dict[str, Any]:
    if constant_rate(clip):
        rate, start, length = clip.frame_rate, round(clip.time(0) * clip.frame_rate), clip.frames
    else:
        rate, start, length = 1 / clip.time_base, clip.pts[0], clip.end_pts - clip.pts[0]
    return {"OTIO_SCHEMA": "TimeRange.1", "start_time": _time(start, rate), "duration": _time(length, rate)}


def _time(value: int, rate: Fraction) -> dict[str, Any]:
    return {"OTIO_SCHEMA": "RationalTime.1", "rate": float(rate), "value": float(value)}
