"""None"""

import pytest

from medstrata.pretraining.settings import (
    ContrastiveSettings,
    IntermediateSettings,
    PretrainSettings,
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ContrastiveSettings(temperature=0), "temperature must be above 0, got 0"),
        (lambda: ContrastiveSettings(momentum=1.1), "momentum must be between 0 and 1"),
        (lambda: ContrastiveSettings(queue_size=0), "queue_size must be 1 or more"),
        (lambda: IntermediateSettings(weights={"layer1": 1.0}), "weights must be a mapping from"),
        (lambda: PretrainSettings(epochs=0), "epochs must be 1 or more, got 0"),
    ],
)
def test_values_out_of_range_are_named(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
