"""A colour-texture classifier that forgets nothing: ridge regression on random features, kept as sums."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from tam_edit.models.classic import features, threads

Floats = NDArray[np.float32]


_PIECE = 1024  # pixels: their random features just fit the cache
_ROUNDING = 1e-5  # of the trace: more than sums of single precision are off by


@lru_cache(maxsize=16)
def _directions(seed: int, count: int, inputs: int) -> tuple[Floats, Floats]:
    """Random directions [inputs, count] and offsets [count], the same for the same seed."""
    random = np.random.default_rng(seed)
    weights = random.standard_normal((inputs, count)).astype(np.float32) / np.float32(np.sqrt(inputs))
    offsets = random.standard_normal(count).astype(np.float32)
    return weights, offsets


@dataclass(frozen=True)
class Basis:
    """Random ReLU features beside the inputs and 1 (Rahimi and Recht, NIPS 2007)."""

    seed: int = 7
    count: int = 128
    inputs: int = features.COUNT

    @property
    def size(self) -> int:
        return self.count + self.inputs + 1

    def expand(self, scaled: Floats) -> Floats:
        """Scaled features [N, inputs] to [N, size]."""
        weights, offsets = _directions(self.seed, self.count, self.inputs)
        result = np.empty((len(scaled), self.size), np.float32)
        hidden = scaled @ weights
        hidden += offsets
        np.maximum(hidden, 0, out=result[:, : self.count])
        result[:, self.count : -1] = scaled
        result[:, -1] = 1
        return result

    def answer(self, looks: Floats, weights: Floats, scaling: features.Scaling | None = None) -> Floats:
        """Expanded features times weights [D] or [D, K], piece by piece so that no piece leaves the cache.

        looks [N, inputs], scaled, or with the scaling that is still to be applied: it is put into the directions.
        """
        directions, offsets = _directions(self.seed, self.count, self.inputs)
        directions = np.concatenate([directions, offsets[None]])
        direct = np.concatenate([weights[self.count : -1], weights[-1:]])
        if scaling is not None:
            directions, direct = _unscaled(directions, scaling), _unscaled(direct, scaling)
        top = weights[: self.count]
        result = np.empty((len(looks), *weights.shape[1:]), np.float32)

        def piece(index: int) -> None:
            rows = slice(index * _PIECE, (index + 1) * _PIECE)
            inputs = np.ones((len(looks[rows]), self.inputs + 1), np.float32)  # the last one is 1
            inputs[:, :-1] = looks[rows]
            hidden = inputs @ directions
            np.maximum(hidden, 0, out=hidden)
            result[rows] = inputs @ direct + hidden @ top

        threads.share(piece, -(-len(looks) // _PIECE))
        return result


def _unscaled(product: Floats, scaling: features.Scaling) -> Floats:
    """A product [inputs + 1, D] or [inputs + 1] with scaled inputs and 1, for inputs as they are."""
    result = product.copy()
    result[:-1] = (product[:-1].T * scaling.gain).T
    result[-1] -= scaling.mean @ result[:-1]
    return result


@dataclass
class Sums:
    """Normal equations of a weighted least squares fit, normalised to a total weight of 1."""

    gram: Floats  # [D, D]
    moment: Floats  # [D]

    @classmethod
    def of(cls, expanded: Floats, target: Floats, weight: Floats) -> Sums:
        weight = weight / weight.sum()
        rooted = expanded * np.sqrt(weight)[:, None]
        return cls(rooted.T @ rooted, expanded.T @ (weight * target))  # a product with itself costs half

    def mixed(self, other: Sums, share: float) -> Sums:
        """This one with `share` of the other's put in."""
        keep, put = np.float32(1 - share), np.float32(share)
        return Sums(self.gram * keep + other.gram * put, self.moment * keep + other.moment * put)


@dataclass
class Classifier:
    """Inside against outside of one object; trusted frames stay for ever, others fade."""

    lasting: Sums | None = None
    lasting_count: int = 0
    fading: Sums | None = None
    weights: Floats | None = field(default=None)

    def keep(self, sums: Sums, share: float) -> None:
        """Add a trusted frame for good, with a share among all trusted ones."""
        self.lasting_count += 1
        self.lasting = sums if self.lasting is None else self.lasting.mixed(sums, share)

    def mix(self, sums: Sums, share: float) -> None:
        """Mix in a frame that is only believed."""
        self.fading = sums if self.fading is None else self.fading.mixed(sums, share)

    def solve(self, *, lasting_weight: float, ridge: float) -> None:
        """Fit anew from the sums."""
        if self.lasting is None:
            return
        if self.fading is None:
            self.weights = solved(self.lasting, ridge)
        else:
            self.weights = solved(self.lasting.mixed(self.fading, 1 / (1 + lasting_weight)), ridge)


def solved(sums: Sums, ridge: float) -> Floats:
    """Weights [D] of the regularised least squares fit."""
    gram = sums.gram.astype(np.float64)
    diagonal = np.diag_indices_from(gram)
    gram[diagonal] += ridge
    try:
        factor = cho_factor(gram, lower=True)
    except LinAlgError:
        # After a first picture of one colour, scaled looks are so large that rounding of the sums exceeds the ridge.
        gram[diagonal] += _ROUNDING * np.trace(gram)
        factor = cho_factor(gram, lower=True)
    return np.asarray(cho_solve(factor, sums.moment.astype(np.float64)), np.float32)
