"""Label efficiency by hand, and as the shares that a test would keep."""

import numpy as np
import pytest

from medstrata.metrics.label_efficiency import Efficiency, label_efficiency
from medstrata.metrics.paired_difference import Difference


def differing(value: float, reach: float) -> Difference:
    """A difference to the reference, as sure as its interval of twice `reach`."""
    return Difference(
        value=value,
        low=value - reach,
        high=value + reach,
        p_value=0.5,
        degrees_of_freedom=10,
        parts=(),
    )


def efficiency(values: dict[float, float], reach: float = 0, *, lower: bool = False) -> Efficiency:
    found = {fraction: differing(value, reach) for fraction, value in values.items()}
    return label_efficiency(found, lower_is_better=lower)


def test_label_efficiency_by_hand() -> None:
    # .2 short at 1 % and .1 beyond at 10 %: two thirds of the way, in logarithms.
    two_thirds = pytest.approx(10 ** (-2 + 2 / 3))
    assert efficiency({0.1: 0.1, 0.01: -0.2, 1.0: 0.2}).fraction == two_thirds
    assert efficiency({0.01: -0.3, 0.1: 0.0, 1.0: 0.1}).fraction == pytest.approx(0.1)
    assert efficiency({0.01: -0.2, 0.1: -0.1, 1.0: 0.1}).fraction == pytest.approx(10**-0.5)
    # The line dips again later: the first crossing counts.
    assert efficiency({0.01: -0.2, 0.1: 0.1, 1.0: -0.1}).fraction == two_thirds
    # A Brier score falls.
    assert efficiency({0.01: 0.2, 0.1: -0.1}, lower=True).fraction == two_thirds


def test_the_interval_holds_the_shares_at_which_the_difference_may_be_nothing() -> None:
    values, reach = {0.01: -0.2, 0.1: 0.1, 1.0: 0.2}, 0.05
    found = efficiency(values, reach)
    shares = np.geomspace(0.01, 1, 4001)
    line = np.interp(np.log(shares), np.log(list(values)), list(values.values()))
    kept = shares[np.abs(line) <= reach]
    assert (found.low, found.high) == pytest.approx((kept[0], kept[-1]), rel=2e-3)
    lower = efficiency({share: -value for share, value in values.items()}, reach, lower=True)
    assert lower == found


def test_an_arm_that_starts_above_the_reference_gets_the_smallest_share() -> None:
    assert efficiency({0.01: 0.1, 1.0: 0.2}, 0.05) == Efficiency(fraction=0.01, low=0.01, high=0.01)
    unsure = efficiency({0.01: 0.1, 1.0: 0.2}, 0.15)
    assert (unsure.fraction, unsure.low) == (0.01, 0.01)
    assert unsure.high == pytest.approx(0.1)


def test_an_arm_that_never_reaches_the_reference_gets_none() -> None:
    assert efficiency({0.01: -0.5, 1.0: -0.4}, 0.1) == Efficiency(
        fraction=None, low=None, high=None
    )
    # It may reach it: .1 short with all labels, give or take .2.
    assert efficiency({0.01: -0.5, 1.0: -0.1}, 0.2) == Efficiency(
        fraction=None, low=pytest.approx(10**-0.5), high=None
    )


def test_an_arm_keeps_pace_with_itself() -> None:
    found = efficiency({0.1: -0.1, 1.0: 0.0})
    assert (found.fraction, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))


@pytest.mark.parametrize("fractions", [(), (0.0, 1.0), (0.1, 1.5)])
def test_shares_out_of_range_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="fractions must lie above 0 and at most at 1"):
        efficiency(dict.fromkeys(fractions, 0.0))
