"""What torch draws for a piece of work, and what it leaves of the caller's draws."""

import pytest
import torch

from medstrata.runtime.random_state import TorchRandomState
from medstrata.runtime.randomness import Stream


def drawn(state: TorchRandomState, count: int) -> torch.Tensor:
    with state.in_use():
        return torch.rand(count)


def test_draws_are_a_function_of_stream_and_seed_and_go_on() -> None:
    whole = drawn(TorchRandomState(Stream.WEIGHTS, 3), 6)
    torch.manual_seed(0)
    state = TorchRandomState(Stream.WEIGHTS, 3)
    first = drawn(state, 2)
    torch.rand(5)  # the caller's
    assert torch.equal(torch.cat([first, drawn(state, 4)]), whole)
    assert not torch.equal(drawn(TorchRandomState(Stream.WEIGHTS, 4), 6), whole)
    assert not torch.equal(drawn(TorchRandomState(Stream.EVALUATED_WEIGHTS, 3), 6), whole)


def test_the_callers_draws_go_on_as_if_nothing_had_been_drawn() -> None:
    torch.manual_seed(0)
    expected = torch.rand(4)
    torch.manual_seed(0)
    state = TorchRandomState(Stream.WEIGHTS, 3)
    seen = torch.rand(2)
    drawn(state, 3)
    with pytest.raises(ZeroDivisionError), state.in_use():
        raise ZeroDivisionError
    assert torch.equal(torch.cat([seen, torch.rand(2)]), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_draws_of_a_gpu_go_on_and_are_given_back() -> None:
    def on_gpu(state: TorchRandomState, count: int) -> torch.Tensor:
        with state.in_use():
            return torch.cat([torch.rand(1, device="cuda") for _ in range(count)])

    whole = on_gpu(TorchRandomState(Stream.WEIGHTS, 3), 6)
    before = torch.cuda.get_rng_state()
    state = TorchRandomState(Stream.WEIGHTS, 3)
    assert torch.equal(torch.cat([on_gpu(state, 2), on_gpu(state, 4)]), whole)
    assert torch.equal(torch.cuda.get_rng_state(), before)
