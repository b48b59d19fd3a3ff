"""A learning curve as an inverse power law: what more labels would bring.

Shape letters: F numbers of labels, R resamples, E exponents tried.
"""

from dataclasses import dataclass

import numpy as np

from medstrata.metrics.resampling import Floats

# From a score that creeps up with every tenfold of labels to one that is there at once.
_EXPONENTS = np.geomspace(0.05, 2.0, 80)


@dataclass(frozen=True)
class PowerLaw:
    """score = ceiling - factor * labels ** -exponent, of each resample, all (R,)."""

    ceiling: Floats
    factor: Floats
    exponent: Floats

    def at(self, labels: float) -> Floats:
        """Scores expected with so many labels, (R,)."""
        return np.asarray(self.ceiling - self.factor * labels**-self.exponent)


def fit_power_law(labels: Floats, scores: Floats, ceiling: float = 1.0) -> PowerLaw:
    """Fit by least squares; the curve never falls, nor passes the ceiling.

    For each exponent the best of the other two follows in closed form, so that all resamples are
    fitted at once and no search can end in the wrong place.

    Args:
        labels: Numbers of labels, three or more, shape (F,).
        scores: More is better, shape (R, F).
        ceiling: The best score there is; infinite where none is known.

    Raises:
        ValueError: there are fewer than three different numbers of labels.

    Source: Cortes et al. 1993, "Learning curves: asymptotic values and rate of convergence";
        Figueroa et al. 2012, doi:10.1186/1472-6947-12-8, equation 1.
    """
    if len(np.unique(labels)) < 3:
        raise ValueError(f"a curve needs three numbers of labels or more, got {list(labels)}")
    falls = (labels / labels.max()) ** -_EXPONENTS[:, None]  # (E, F); 1 with the most labels
    middle = scores.mean(axis=1, keepdims=True)
    centred = falls - falls.mean(axis=1, keepdims=True)
    slope = (scores - middle) @ centred.T / np.square(centred).sum(axis=1)  # (R, E)
    factor = np.maximum(0, -slope)
    top = middle + factor * falls.mean(axis=1)
    beyond = top > ceiling
    if beyond.any():
        through = np.maximum(0, (ceiling - scores) @ falls.T) / np.square(falls).sum(axis=1)
        factor, top = np.where(beyond, through, factor), np.minimum(top, ceiling)
    missed = scores[:, None] - top[:, :, None] + factor[:, :, None] * falls
    best = np.square(missed).sum(axis=2).argmin(axis=1)
    rows = np.arange(len(scores))
    exponent = _EXPONENTS[best]
    return PowerLaw(top[rows, best], factor[rows, best] * labels.max() ** exponent, exponent)
