"""What happens at which step: the learning rate, and when gradients become an update."""

import math
from typing import NamedTuple, assert_never

from medstrata.pretraining.settings import Schedule


class Update(NamedTuple):
    """One change of the weights, seen from a step that takes part in it."""

    steps: int  # whose gradients are averaged
    begins: bool  # at this step
    ends: bool  # with this step


def update_at(step: int, *, accumulate: int, steps_per_epoch: int, steps: int) -> Update:
    """The update that a step belongs to.

    The last of an epoch has fewer steps where their number is no multiple: so at the end of an
    epoch, where a run may be cut, no gradients wait.

    Args:
        step: From 0 to steps - 1.
        accumulate: Steps of an update, as far as there are so many.
        steps_per_epoch: Steps of an epoch.
        steps: Of the whole run.
    """
    within = step % steps_per_epoch
    first = step - within % accumulate
    end = min(first + accumulate, step - within + steps_per_epoch, steps)
    return Update(end - first, begins=step == first, ends=step + 1 == end)


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
