"""Settings of pre-training: what fits together, and what is refused."""

import pytest

from medstrata.pretraining.settings import (
    ContrastiveSettings,
    IntermediateSettings,
    OptimizerSettings,
    PretrainSettings,
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ContrastiveSettings(temperature=0), "temperature must be above 0, got 0"),
        (lambda: ContrastiveSettings(momentum=1.1), "momentum must be between 0 and 1"),
        (lambda: ContrastiveSettings(queue_size=0), "queue_size must be 1 or more"),
        (lambda: IntermediateSettings(weights={"layer1": 1.0}), "weights must be a mapping from"),
        (lambda: IntermediateSettings(weights={"stage1": -1.0}), "weights must be 0 or more"),
        (lambda: IntermediateSettings(on_weight=-1.0), "on_weight must be 0 or more, got -1"),
        (lambda: IntermediateSettings(off_weight=-1.0), "off_weight must be 0 or more, got -1"),
        (lambda: OptimizerSettings(weight_decay=-0.1), "weight_decay must be 0 or more"),
        (lambda: OptimizerSettings(sgd_momentum=1.0), "sgd_momentum must be 0 or more and below 1"),
        (lambda: PretrainSettings(shuffle_shards=0), "shuffle_shards must be 1 or more, or none"),
        (lambda: PretrainSettings(seed=-1), "seed must be 0 or more, got -1"),
        (lambda: PretrainSettings(epochs=0), "epochs must be 1 or more, got 0"),
        (lambda: PretrainSettings(steps=0), "steps must be 1 or more, got 0"),
        (lambda: PretrainSettings(steps=9, epochs=2), "steps must be none where epochs is 2"),
        (lambda: OptimizerSettings(warmup_steps=-1), "warmup_steps must be 0 or more, got -1"),
        (lambda: ContrastiveSettings(key_part_size=-1), "key_part_size must be 0 or more"),
    ],
)
def test_values_out_of_range_are_named(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
