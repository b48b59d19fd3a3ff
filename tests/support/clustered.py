"""Made-up test sets whose true scores are known, with images that are alike within a patient."""

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Standard deviations of what a patient and an image add to a score.
_PATIENT, _IMAGE = 0.8, 0.6


class Clustered:
    """Patients of one to six images and one label, three in ten of them ill."""

    def __init__(self, patients: int, *seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        images = self._generator.integers(1, 7, size=patients)
        self.ids = np.repeat(np.arange(patients), images)
        self.target = (self._generator.random(patients) < 0.3).astype(np.int64)[self.ids]
        self._shared = self._generator.normal(size=patients)

    def arm(self, effect: float, alike: float = 0.0) -> NDArray[np.float64]:
        """Probabilities (N, 1) of an arm whose AUROC is `true_auroc(effect)`.

        `alike` is the share of the patients' variance that all arms have in common.
        """
        own = self._generator.normal(size=len(self._shared))
        patient = np.sqrt(alike) * self._shared + np.sqrt(1 - alike) * own
        image = self._generator.normal(size=len(self.ids))
        logits = effect * self.target + _PATIENT * patient[self.ids] + _IMAGE * image
        return (1 / (1 + np.exp(-logits)))[:, None]


def true_auroc(effect: float) -> float:
    return NormalDist().cdf(effect / np.sqrt(2 * (_PATIENT**2 + _IMAGE**2)))


def tolerance(share: float, trials: int) -> float:
    """Three standard deviations of a share counted in so many trials: one in 370 lies beyond."""
    return float(3 * np.sqrt(share * (1 - share) / trials))


def mean_binary(compute: Any, target: Any, models: Any) -> float:
    """Mean of `compute(target, probability of class 1)` over models."""
    return float(np.mean([compute(target, model[:, 0]) for model in models]))
