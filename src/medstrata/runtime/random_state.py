"""torch's global generators, seeded for one piece of work and given back after it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from medstrata.runtime.randomness import Stream, derive_seed


class TorchRandomState:
    """What torch draws for one piece of work: initial weights, dropout, stochastic depth.

    These read torch's global generators, and take no other. So the generators are lent to the work
    while it draws, and the caller finds its own where they were:

        random_state = TorchRandomState(Stream.WEIGHTS, seed)
        with random_state.in_use():
            network = build()  # draws from the seed
        with random_state.in_use():
            train(network)  # goes on where building has ended

    Args:
        stream: What is drawn.
        seed: Decides the draws, with the stream.
    """

    def __init__(self, stream: Stream, seed: int) -> None:
        self._seed = derive_seed(stream, seed)
        self._states: tuple[torch.Tensor, list[torch.Tensor]] | None = None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let torch draw from this state; the CPU's generator and those of every GPU."""
        with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
            if self._states is None:
                torch.manual_seed(self._seed)
            else:
                set_generators(*self._states)
            try:
                yield
            finally:
                self._states = generators()


def generators() -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Where torch's global generators are: the CPU's, and that of each GPU."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return torch.get_rng_state(), gpus


def set_generators(cpu: torch.Tensor, gpus: list[torch.Tensor]) -> None:
    """Put torch's global generators where `generators` found them."""
    torch.set_rng_state(cpu)
    if gpus:
        torch.cuda.set_rng_state_all(gpus)
