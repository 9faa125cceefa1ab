"""The probe stage: what the clip is, frame by frame, and where its shots begin; one decoding pass."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from tam_edit.clip import ClipSource, FrameSpan
from tam_edit.digest import digest_of
from tam_edit.engine.runner import Runner
from tam_edit.engine.stage import Product, Stage, Unit

STAGE = Stage("probe", 1)


@dataclass(frozen=True)
class Probed:
    """The clip and the first frames of its later shots."""

    source: ClipSource
    cuts: tuple[int, ...]


def probe(
    runner: Runner, path: Path, digest: str, *, frame_rate: Fraction | None = None, allow_truncated: bool = False
) -> Probed:
    """Probe a clip once; later runs take it from the store.

    A plan probes too: without the frames there is nothing to plan. Raises what `media.probe` raises.
    """
    settings = {"source": digest, "frame_rate": str(frame_rate), "allow_truncated": allow_truncated}
    unit = Unit(STAGE, FrameSpan(0, 0), settings)
    known = runner.store.record(unit.key)
    unit = Unit(STAGE, FrameSpan(0, known.facts["source_frames"] if known else 0), settings)

    def compute() -> Product:
        from tam_edit.media.probe import probe as probe_media
        from tam_edit.pipelines.shots import ShotFinder

        shots = ShotFinder()
        source = probe_media(
            path, digest=digest, frame_rate=frame_rate, allow_truncated=allow_truncated, on_picture=shots.take
        )
        facts = {
            "source": {**source.to_json(), "path": ""},
            "source_frames": source.frames,
            "cuts": list(shots.finish()),
            "warnings": list(source.warnings),
        }
        return Product([digest_of((digest, source.frames))], facts=facts, span=source.span)

    record = runner.obtain(unit, compute, even_dry=True)
    if record is None:
        raise AssertionError("a probe always gives a record")
    return Probed(ClipSource.from_json({**record.facts["source"], "path": str(path)}), tuple(record.facts["cuts"]))
