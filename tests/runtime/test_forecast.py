"""What cannot fit is refused, with what does."""

import pytest

from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.forecast import TrainingMemory, gib, is_short

GIB = 2**30


def test_a_batch_that_cannot_fit_is_refused_with_one_that_does() -> None:
    memory = TrainingMemory(fixed=1 * GIB, image=GIB / 16)
    memory.require(128, free=9 * GIB)
    with pytest.raises(MedstrataError) as refused:
        memory.require(129, free=9 * GIB)
    assert "--batch-size 64" not in str(refused.value)  # its peak may be twice what it must hold
    with pytest.raises(MedstrataError, match=r"needs about 33 GiB of memory and 9 GiB can be had"):
        memory.require(256, free=9 * GIB)
    with pytest.raises(MedstrataError, match="--batch-size 32 --accumulate 8, or a smaller"):
        memory.require(256, free=9 * GIB)
    with pytest.raises(MedstrataError, match=r"can be had; take a smaller --backbone or"):
        memory.require(256, free=GIB)


@pytest.mark.parametrize(("size", "words"), [(GIB // 4, "0.25 GiB"), (16.9 * GIB, "17 GiB")])
def test_bytes_in_words(size: float, words: str) -> None:
    assert gib(size) == words


def test_only_a_short_run_of_small_steps_goes_unmeasured() -> None:
    assert is_short(32 * 32**2, 100)
    assert not is_short(32 * 32**2, 10_000)
    assert not is_short(256 * 224**2, 1)
