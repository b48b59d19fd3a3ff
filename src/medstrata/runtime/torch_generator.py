"""Torch's global generator: seeded for the weights of a network, and given back as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from medstrata.runtime.randomness import Stream, derive_seed


def seed_initial_weights(stream: Stream, seed: int) -> None:
    """Seed torch's global generator, which the initialisers of all networks read.

    The one place that does: every other draw has a generator of its own. Who calls this from a
    public function wraps that in `torch_generators_kept`.
    """
    torch.manual_seed(derive_seed(stream, seed))


@contextmanager
def torch_generators_kept() -> Iterator[None]:
    """Give the caller's torch generators back as they were, those of every GPU among them.

    Serves as a decorator too, `@torch_generators_kept()`: so the whole body of a public function
    may seed and draw.
    """
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        yield
