"""What a tracker knows of one object: a classifier, its usual size and colours, and how far to trust its mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic.classifier import Classifier, Sums
from tam_edit.models.classic.trust import TrustParts

Floats = NDArray[np.float32]


@dataclass
class Tube:
    """One object's memory. Its sums, not its frames, are kept: constant in size however long the clip."""

    classifier: Classifier = field(default_factory=Classifier)
    area: float = 0.0  # share of the picture, mean over the trusted frames
    colours: Floats | None = None  # histogram over the trusted frames
    lost: bool = False  # not seen lately: looked for in the whole picture
    crossed: bool = False  # a cut has come since it was seen
    trust: TrustParts = field(default_factory=TrustParts.certain)

    def meet(self, area: float, colours: Floats) -> None:
        """Count a trusted frame in."""
        share = 1 / max(1, self.classifier.lasting_count)
        self.area += (area - self.area) * share
        before = colours if self.colours is None else self.colours
        self.colours = before + (colours - before) * np.float32(share)

    def arrays(self) -> dict[str, Any]:
        """Everything as flat arrays."""
        result: dict[str, Any] = {
            "area": np.array(self.area, np.float64),
            "lost": np.array([self.lost, self.crossed], np.bool_),
            "trust": np.array(astuple(self.trust), np.float64),
            "count": np.array(self.classifier.lasting_count, np.int64),
        }
        for name, sums in (("lasting", self.classifier.lasting), ("fading", self.classifier.fading)):
            if sums is not None:
                result |= {f"{name}.gram": sums.gram.copy(), f"{name}.moment": sums.moment.copy()}
        for name, values in (("weights", self.classifier.weights), ("colours", self.colours)):
            if values is not None:
                result[name] = values.copy()
        return result

    @classmethod
    def of(cls, arrays: Mapping[str, Any]) -> Tube:
        """The tube that `arrays` came from."""
        sums = {
            name: Sums(arrays[f"{name}.gram"].copy(), arrays[f"{name}.moment"].copy())
            for name in ("lasting", "fading")
            if f"{name}.gram" in arrays
        }
        rest = {name: arrays[name].copy() for name in ("weights", "colours") if name in arrays}
        classifier = Classifier(sums.get("lasting"), int(arrays["count"]), sums.get("fading"), rest.get("weights"))
        trust = TrustParts(*arrays["trust"].tolist())
        lost, crossed = arrays["lost"].tolist()
        return cls(classifier, float(arrays["area"]), rest.get("colours"), lost, crossed, trust)
