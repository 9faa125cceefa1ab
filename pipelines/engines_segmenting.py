"""The segmenters as the segment and refine stages ask for them: clicks to masks by the classic engine and by SAM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tam_edit.masks import Mask
from tam_edit.pipelines.engine_options import EngineOptions, device_of
from tam_edit.pipelines.keyframes import Candidate
from tam_edit.pipelines.prompts import boxes_inside, clicked, refused
from tam_edit.pipelines.refine import Rules
from tam_edit.script import Box, Point, Prompt

if TYPE_CHECKING:
    from tam_edit.models.weights import FoundWeights

CLASSIC_SEGMENTER_VERSION = 4

# From the thresholds at which SAM's own mask generator keeps a mask (predicted IoU .88, stability .95; a tracked object
# may be thinner than what it looks for).
SAM_RULES = Rules(score_from=0.88, stability_from=0.9, overlap_from=0.5, by_itself=True)
# From one frame the classic segmenter rarely knows better than the classic tracker (docs/tam.md has the figures), so
# only where it is asked to, and only its surest answers.
CLASSIC_RULES = Rules(score_from=0.75, stability_from=0.8, overlap_from=0.7, by_itself=False)


@dataclass(frozen=True)
class ClassicSegmenter:
    """Clicks to masks without weights; looks at the next frame's motion too."""

    looks_ahead: bool = True
    rules: Rules = CLASSIC_RULES

    @property
    def identity(self) -> str:
        return f"classic/{CLASSIC_SEGMENTER_VERSION}"

    def candidates(
        self, rgb: NDArray[np.uint8], prompt: Prompt, next_rgb: NDArray[np.uint8] | None, most: int = 3
    ) -> tuple[Candidate, ...]:
        """Masks best first; `most`: so many at most, the fewer the sooner."""
        if prompt.mask is not None:
            from tam_edit.models import classic

            return (Candidate(classic.polish(rgb, prompt.mask.mask()), 1.0, "polished"),)
        if prompt.prior is not None and prompt.box is None:
            mended = self._mended(rgb, prompt.prior.mask(), prompt, next_rgb)
            if mended is not None:
                return (Candidate(mended, 1.0, "mended"),)
        if prompt.boxes:
            return (self._joined(rgb, prompt, next_rgb),)
        return self._found(rgb, clicked(prompt), refused(prompt), prompt.box, next_rgb, most)

    def prepare(self, rgb: NDArray[np.uint8], next_rgb: NDArray[np.uint8] | None) -> None:
        """See ahead what clicks on this picture will need; no answer changes."""
        from tam_edit.models import classic

        classic.look(rgb, next_frame=next_rgb)

    def _joined(self, rgb: NDArray[np.uint8], prompt: Prompt, next_rgb: NDArray[np.uint8] | None) -> Candidate:
        """What each box holds, and what points beyond all boxes mean, together."""
        height, width = rgb.shape[:2]
        boxes = boxes_inside(prompt, (height, width))
        points = clicked(prompt)
        held = [[(x, y) for x, y in points if x0 <= x < x1 and y0 <= y < y1] for x0, y0, x1, y1 in boxes]
        free = [point for point in points if not any(point in mine for mine in held)]
        asked: list[tuple[Sequence[Point], Box | None]] = list(zip(held, boxes, strict=True))
        asked += [(free, None)] if free else []
        found = [self._found(rgb, mine, refused(prompt), box, next_rgb)[0] for mine, box in asked]
        return Candidate(
            np.logical_or.reduce([item.mask for item in found]), min(item.score for item in found), "whole"
        )

    def _found(
        self,
        rgb: NDArray[np.uint8],
        points: Sequence[Point],
        negative: Sequence[Point],
        box: Box | None,
        next_rgb: NDArray[np.uint8] | None,
        most: int = 1,
    ) -> tuple[Candidate, ...]:
        from tam_edit.models import classic

        found = classic.candidates(
            rgb,
            points=[*points, *negative],
            labels=[1] * len(points) + [0] * len(negative),
            box=box,
            next_frame=next_rgb,
            most=most,
        )
        return tuple(Candidate(item.mask, item.score, item.name) for item in found)

    def _mended(
        self, rgb: NDArray[np.uint8], prior: Mask, prompt: Prompt, next_rgb: NDArray[np.uint8] | None
    ) -> Mask | None:
        """The tracked mask with what was missed added and what was too much taken away.

        None when every click agrees with the mask already: then the clicks are meant to say it anew.
        """
        missed = [(x, y) for x, y in clicked(prompt) if not prior[int(y), int(x)]]
        too_much = [(x, y) for x, y in refused(prompt) if prior[int(y), int(x)]]
        if not missed and not too_much:
            return None
        mask = prior.copy()
        if missed:
            mask |= self._found(rgb, missed, refused(prompt), None, next_rgb)[0].mask
        if too_much:
            mask &= ~self._found(rgb, too_much, clicked(prompt), None, next_rgb)[0].mask
        return mask


class SamSegmenting:
    """Clicks to masks by SAM; what it sees of a frame is kept, so a second click costs only the decoder."""

    looks_ahead = False
    rules = SAM_RULES

    def __init__(self, found: FoundWeights, options: EngineOptions) -> None:
        self._found, self._options = found, options
        self._segmenter: Any = None

    @property
    def identity(self) -> str:
        return f"sam/1 {self.embedder}"

    @property
    def embedder(self) -> str:
        return f"sam/1 {self._found.sha256} {self._options.precision}"

    def embed(self, rgb: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return dict(self._loaded().embed(rgb).to_arrays())

    def answer(self, seen: Mapping[str, NDArray[Any]], prompt: Prompt) -> tuple[Candidate, ...]:
        """Masks bool [H, W] for clicks on a picture that was seen, best first; a rough mask is redrawn."""
        from tam_edit.models import sam

        embedding = sam.Embedding.from_arrays(seen)
        if prompt.mask is not None:
            found = self._loaded().polish(embedding, prompt.mask.mask())
        else:
            prior, points, beside = None, clicked(prompt), refused(prompt)
            if prompt.prior is not None and not prompt.boxes:  # several boxes say anew where all of it is
                prior = sam.mask_logits(prompt.prior.mask(), embedding.size_hw, self._loaded().side)
            found = self._loaded().candidates(
                embedding,
                points=[*points, *beside],
                labels=[1] * len(points) + [0] * len(beside),
                boxes=boxes_inside(prompt, embedding.size_hw),
                mask_logits=prior,
            )
        names = ("best", "second", "third")
        return tuple(
            Candidate(item.mask, item.score, name, item.stability) for item, name in zip(found, names, strict=False)
        )

    def candidates(
        self,
        rgb: NDArray[np.uint8],
        prompt: Prompt,
        next_rgb: NDArray[np.uint8] | None,  # noqa: ARG002 - SAM looks at one picture
    ) -> tuple[Candidate, ...]:
        return self.answer(self.embed(rgb), prompt)

    def _loaded(self) -> Any:
        from tam_edit.models import sam

        if self._segmenter is None:
            network = sam.load(self._found.path, device=device_of(self._options), precision=self._options.precision)
            self._segmenter = sam.SamSegmenter(network)
        return self._segmenter
