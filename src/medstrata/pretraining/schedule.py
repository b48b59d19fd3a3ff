"""Learning-rate schedules: pure functions of the step."""

import math
from typing import assert_never

from medstrata.pretraining.settings import Schedule


def lr_factor(step: int, *, steps: int, warmup_steps: int, schedule: Schedule) -> float:
    """Factor on the learning rate at a step.

    Args:
        step: From 0 to steps - 1.
        steps: Steps of the whole run.
        warmup_steps: Steps of linear rise; the first uses 1 / warmup_steps.
        schedule: `cosine` falls from 1 to 0 over the steps after the warm-up (Loshchilov and
            Hutter 2017, arXiv:1608.03983, eq. 5); `constant` stays at 1.

    Returns:
        A number in 0..1.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    match schedule:
        case "cosine":
            progress = (step - warmup_steps) / max(1, steps - warmup_steps)
            return 0.5 * (1 + math.cos(math.pi * progress))
        case "constant":
            return 1.0
        case _:
            assert_never(schedule)
