"""Two arms on the same patients: how far their mean scores differ, and how sure that is.

Shape letters: S seeds, D label draws, R resamples of the patients, K tables at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import numpy as np

from medstrata.metrics.defaults import LEVEL
from medstrata.metrics.resampling import Floats

# Equal scores may differ by this much: sums of the same numbers in another order.
ROUNDING = 1e-12

Source = Literal["patients", "seeds", "draws"]


class VariancePart(NamedTuple):
    """What one source adds to the variance of a difference; below 0 where chance would have it."""

    source: Source
    variance: float
    degrees_of_freedom: int


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much more one arm scores than another, and how sure that is.

    Attributes:
        value: Mean score of the first arm less that of the second.
        low: Lower end of the interval.
        high: Upper end.
        p_value: Two-sided, of a true difference of 0.
        degrees_of_freedom: Of the t distribution behind interval and p, 1 or more.
        parts: What the variance of `value` is made of.
    """

    value: float
    low: float
    high: float
    p_value: float
    degrees_of_freedom: float
    parts: tuple[VariancePart, ...]

    @property
    def reversed(self) -> "Difference":
        """How much more the second arm scores than the first."""
        return replace(self, value=-self.value, low=-self.high, high=-self.low)

    def share(self, source: Source) -> float:
        """The part of the variance that a source adds, of all that is above 0; 0 to 1."""
        variances = {
            name: max(0.0, sum(part.variance for part in self.parts if part.source == name))
            for name in get_args(Source)
        }
        total = sum(variances.values())
        return variances[source] / total if total else 0.0


def paired_difference(
    first: Floats, second: Floats, *, patients: int, same_draws: bool = True, level: float = LEVEL
) -> Difference:
    """Compare the mean scores of two arms over seeds, label draws and patients.

    Every seed of an arm is scored at every label draw, and all runs on the same resamples of the
    patients: what makes a patient or a draw easy or hard for both arms cancels. Seeds of one arm
    have nothing in common with those of the other. The variance of the difference is

        V = V_patients + sum over both arms of s2_seeds / S + s2_draws / D - s2_rest / (S D)

    V_patients is that of the difference over the resamples, s2_seeds the variance of a seed's mean
    over draws, s2_draws that of a draw's difference of the arms, and s2_rest, of each arm, that of
    what neither seed nor draw explains, which the two others both hold. They hold patients' noise
    as well, which V_patients has counted: the same variances among the resamples' deviations, on
    average, are taken off. The interval is value +- t sqrt(V), its degrees of freedom after
    Satterthwaite, over the parts that are above 0.

    An arm of one seed is taken as it is, and so is a single draw: V says nothing of others.

    Args:
        first: Scores of the first arm, (S, D, 1 + R): of the samples as they are, then of each
            resample. A resample in which some score is NaN is left out.
        second: Those of the second, of the same resamples; its seeds may be more or fewer.
        patients: How many were resampled, 2 or more.
        same_draws: Whether draw d of both arms is the same labelled images. If not, each arm has
            draws of its own, as many as it likes.
        level: Of the interval, above 0 and below 1.

    Raises:
        ValueError: `level` or `patients` is out of range, draws that should be the same are not as
            many, a score of the samples as they are is NaN, or fewer than two resamples are left.

    Source: Searle, Casella, McCulloch 1992, Variance Components, chapter 4 (balanced, crossed);
        Satterthwaite 1946, doi:10.2307/3002019; resamples: Efron, Tibshirani 1993, An Introduction
        to the Bootstrap, chapter 6.
    """
    if same_draws and first.shape[1] != second.shape[1]:
        raise ValueError(f"{first.shape[1]} draws against {second.shape[1]}: give those of both")
    if patients < 2:
        raise ValueError(f"{patients} patient: two or more are needed to tell how others would do")
    first, second = _where_defined(first, second)
    between = first.mean(axis=(0, 1)) - second.mean(axis=(0, 1))
    noise = [arm[..., 1:] - arm[..., 1:].mean(axis=-1, keepdims=True) for arm in (first, second)]
    observed = _mean_squares(first[..., :1], second[..., :1], same_draws)
    counted = _mean_squares(noise[0], noise[1], same_draws)
    parts = [VariancePart("patients", float(between[1:].var(ddof=1)), patients - 1)]
    parts += [
        VariancePart(one.source, float(one.variances[0] - other.variances.mean()), one.freedom)
        for one, other in zip(observed, counted, strict=True)
    ]
    return _difference(float(between[0]), parts, level)


def average_difference(found: Sequence[Difference], *, level: float = LEVEL) -> Difference:
    """The mean of differences that have no patient, seed or label draw in common.

    Such are those of several data sets, each counting the same; the sets are taken as they are.

    Args:
        found: One difference or more.
        level: Of the interval, above 0 and below 1.

    Raises:
        ValueError: There is no difference, or `level` is out of range.
    """
    if not found:
        raise ValueError("no difference to average: give one or more")
    parts = [
        part._replace(variance=part.variance / len(found) ** 2)
        for one in found
        for part in one.parts
    ]
    return _difference(sum(one.value for one in found) / len(found), parts, level)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust p-values for their number: those at most a are significant together at level a.

    The smallest is multiplied by their number, the next by one less, and so on; none ends below a
    smaller one, nor above 1. The chance of any false rejection is at most a, however the tests
    depend on one another.

    Args:
        p_values: In [0, 1], in any order.

    Returns:
        The adjusted values, in the same order.

    Raises:
        ValueError: A value is outside [0, 1].

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError(f"p-values must lie in 0..1, got {list(p_values)}")
    order = np.argsort(values, kind="stable")
    multiplied = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(multiplied), 1)
    return tuple(adjusted.tolist())


class _MeanSquare(NamedTuple):
    source: Source
    variances: Floats  # (K,)
    freedom: int


def _mean_squares(first: Floats, second: Floats, same_draws: bool) -> Iterator[_MeanSquare]:
    """What seeds and draws add to the variance of the difference: of tables (S, D, K)."""
    for arm in (first, second):
        seeds, draws = arm.shape[:2]
        if seeds == 1:
            continue
        of_seeds = arm.mean(axis=1)
        yield _MeanSquare("seeds", of_seeds.var(axis=0, ddof=1) / seeds, seeds - 1)
        if draws > 1:  # what the draws' mean square holds already
            rest = arm - of_seeds[:, None] - arm.mean(axis=0) + arm.mean(axis=(0, 1))
            freedom = (seeds - 1) * (draws - 1)
            variances = (rest**2).sum(axis=(0, 1)) / freedom / (seeds * draws)
            yield _MeanSquare("seeds", -variances, freedom)
    means = [first.mean(axis=0), second.mean(axis=0)]
    for of_draws in [means[0] - means[1]] if same_draws else means:
        if len(of_draws) > 1:
            variances = of_draws.var(axis=0, ddof=1) / len(of_draws)
            yield _MeanSquare("draws", variances, len(of_draws) - 1)


def _where_defined(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Both without the resamples in which a score is NaN."""
    defined = np.isfinite(first.sum(axis=(0, 1)) + second.sum(axis=(0, 1)))
    if not defined[0] or defined.sum() < 3:
        raise ValueError(
            f"the score is defined in {defined[1:].sum()} of {len(defined) - 1} resamples: a class "
            "has too few patients; test on more patients, or raise resamples"
        )
    return first[..., defined], second[..., defined]


def _difference(value: float, parts: Sequence[VariancePart], level: float) -> Difference:
    """Interval and p-value by Student's t."""
    from scipy.stats import t

    if not 0 < level < 1:
        raise ValueError(f"level is {level}: it must lie above 0 and below 1")
    of_patients = sum(part.variance for part in parts if part.source == "patients")
    # Other seeds and draws cannot make a difference surer.
    variance = max(of_patients, sum(part.variance for part in parts))
    freedom, reach, p_value = 1.0, 0.0, float(abs(value) <= ROUNDING)
    if variance > ROUNDING**2:  # else the arms predict the same, or always differ by as much
        shares = sum(max(0.0, part.variance) ** 2 / part.degrees_of_freedom for part in parts)
        freedom, error = max(1.0, variance**2 / shares), variance**0.5
        reach = float(t.ppf((1 + level) / 2, freedom)) * error
        p_value = float(2 * t.sf(abs(value) / error, freedom))
    return Difference(
        value=value,
        low=value - reach,
        high=value + reach,
        p_value=p_value,
        degrees_of_freedom=freedom,
        parts=tuple(parts),
    )
