"""Settings of the evaluations out of range are refused by name."""

import pytest

from medstrata.evaluation.settings import (
    AtlasSettings,
    FinetuneSettings,
    ProbeSettings,
    ReuseSettings,
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FinetuneSettings(seed=-1), "FinetuneSettings.seed must be 0 or more, got -1"),
        (lambda: FinetuneSettings(subset_seed=-1), "subset_seed must be 0 or more"),
        (lambda: FinetuneSettings(weight_decay=-0.1), "weight_decay must be 0 or more"),
        (lambda: FinetuneSettings(shuffle_shards=0), "shuffle_shards must be 1 or more, or none"),
        (lambda: ProbeSettings(seed=-1), "ProbeSettings.seed must be 0 or more"),
        (lambda: ProbeSettings(subset_seed=-1), "subset_seed must be 0 or more"),
        (lambda: AtlasSettings(seed=-1), "AtlasSettings.seed must be 0 or more"),
        (lambda: ReuseSettings(seed=-1), "ReuseSettings.seed must be 0 or more"),
    ],
)
def test_values_out_of_range_are_named(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
