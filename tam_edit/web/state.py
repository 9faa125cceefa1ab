"""The state of a studio as pages see it: all small things in one answer, the long lists of frames in another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tam_edit.effects import Alter, Effect, Pictured, Replace, names_a_file
from tam_edit.effects_text import tree_of_effect
from tam_edit.errors import ScriptError
from tam_edit.script import Prompt

if TYPE_CHECKING:
    from tam_edit.web.desk import Desk
    from tam_edit.web.studio import Studio


def state_json(studio: Studio) -> dict[str, Any]:
    """All that a page shows except pictures and the long lists of `track_json`."""
    job = studio.jobs.last
    state: dict[str, Any] = {
        "revision": studio.revision,
        "opening": studio.opening,
        "project": None,
        "problem": studio.problem,
        "job": None if job is None else job.to_json(),
    }
    desk = studio.desk
    if desk is None or desk.edit.project is None or studio.results is None or studio.notes is None:
        return state
    known, notes = desk.known, studio.notes
    problem = known.problem
    try:
        script = desk.edit.script
    except ScriptError as error:
        return {**state, "project": _project_json(desk), "problem": str(error), "objects": []}
    return {
        **state,
        "project": _project_json(desk),
        "problem": problem,
        "objects": [
            {
                "name": item.name,
                "label": label,
                "colour": notes.colour(item.name),
                "prompts": [_prompt_json(frame, prompt) for frame, prompt in sorted(item.prompts.items())],
            }
            for label, item in enumerate(script.objects, start=1)
        ],
        "settings": vars(script.settings),
        "effects": [_effect_json(effect) for effect in script.effects],
        "track": known.key,
        "complete": known.complete,
        "review": studio.review(),
        "results": studio.results.to_json(),
        "backgrounds": studio.backgrounds(),
        "projects": studio.projects(),
        "strip": desk.strip.done,
    }


def track_json(studio: Studio) -> dict[str, Any]:
    """For every frame: its map's digest, how far it holds, trust and area of each object."""
    desk = studio.open_desk
    known, names = desk.known, desk.edit.script.names
    frames = range(desk.source.frames)
    areas = desk.counted
    return {
        "key": known.key,
        "maps": [known.shown[frame].digest if frame in known.shown else None for frame in frames],
        "states": "".join(str(known.shown[frame].state if frame in known.shown else 0) for frame in frames),
        "trust": {name: [_rounded(known.trust.get(name, {}).get(frame)) for frame in frames] for name in names},
        "gone": {
            name: [
                frame
                for frame in frames
                if frame in known.shown
                and (counts := areas.get(known.shown[frame].digest)) is not None
                and counts[label] == 0
            ]
            for label, name in enumerate(names, start=1)
        },
    }


def _project_json(desk: Desk) -> dict[str, Any]:
    source, project = desk.source, desk.edit.project
    return {
        "name": project.folder.name if project else "",
        "clip": Path(source.path).name,
        "digest": source.digest[:16],
        "frames": source.frames,
        "size": list(source.size_wh),
        "aspect": float(source.sample_aspect),
        "rate": float(source.frame_rate),
        "cuts": list(desk.cuts),
        "strip_every": desk.strip.every,
        "warnings": list(source.warnings),
    }


def _prompt_json(frame: int, prompt: Prompt) -> dict[str, Any]:
    kind = "absent" if prompt.absent else "mask" if prompt.mask is not None else "clicks"
    return {
        "frame": frame,
        "kind": kind,
        "points": prompt.points,
        "negative": prompt.negative,
        "box": prompt.box,
        "boxes": prompt.boxes,
        "scribbles": prompt.scribbles,
        "negative_scribbles": prompt.negative_scribbles,
        "polish": prompt.polish,
        "candidate": prompt.candidate,
        "correction": prompt.prior is not None,
    }


def _effect_json(effect: Effect) -> dict[str, Any]:
    """An effect of the script as it stands there, its files by their names alone."""
    tree = tree_of_effect(effect)
    if isinstance(effect, Replace) and isinstance(effect.background, str) and names_a_file(effect.background):
        tree["background"] = Path(effect.background).name
    if isinstance(effect, Alter) and isinstance(effect.how, Pictured):
        tree["picture"] = Path(effect.how.path).name
    return tree


def _rounded(trust: float | None) -> float | None:
    return None if trust is None else round(trust, 2)
