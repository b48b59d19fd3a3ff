"""Batches of views: order, cuts, processes, threads."""

import threading
from dataclasses import replace

import cv2
import pytest
import torch

from medstrata.data.loader import Batch, Loader, Prefetched
from medstrata.data.store.store import Store
from medstrata.data.view_settings import moco_v2
from medstrata.runtime.errors import MedstrataError


def loader(tiny_store: Store, **changes: int) -> Loader:
    options = {"batch_size": 8, "views": 2, "seed": 0, "rank": 0, "world_size": 1} | changes
    return Loader(
        store=tiny_store,
        rows=tiny_store.rows(None),
        settings=moco_v2(0),
        device=torch.device("cpu"),
        **options,
    )


def test_an_epoch_shows_each_image_at_most_once_and_epochs_differ(tiny_store: Store) -> None:
    orders = [
        torch.cat([batch.ids for batch in loader(tiny_store).epoch(epoch)]) for epoch in (0, 1)
    ]
    for order in orders:
        assert len(order) == len(order.unique()) == len(tiny_store) // 8 * 8
    assert not torch.equal(*orders)


def test_a_cut_epoch_goes_on_with_the_same_pixels(tiny_store: Store) -> None:
    whole = list(loader(tiny_store).epoch(2))
    rest = list(loader(tiny_store).epoch(2, first_step=3))
    assert len(rest) == len(whole) - 3
    for one, other in zip(whole[3:], rest, strict=True):
        assert torch.equal(one.ids, other.ids)
        assert all(torch.equal(a, b) for a, b in zip(one.views, other.views, strict=True))


def test_two_processes_share_each_batch(tiny_store: Store) -> None:
    whole = next(loader(tiny_store).epoch(0))
    parts = [next(loader(tiny_store, rank=rank, world_size=2).epoch(0)) for rank in (0, 1)]
    assert torch.equal(whole.ids, torch.cat([part.ids for part in parts]))
    assert torch.equal(whole.views[1], torch.cat([part.views[1] for part in parts]))


def test_batch_that_does_not_divide_is_an_error(tiny_store: Store) -> None:
    with pytest.raises(MedstrataError, match="batch size 9 cannot be divided over 2 processes"):
        loader(tiny_store, batch_size=9, world_size=2)


def test_prefetched_hands_errors_to_the_consumer() -> None:
    def broken():  # type: ignore[no-untyped-def]
        raise OSError("disk gone")
        yield

    with pytest.raises(OSError, match="disk gone"):
        next(Prefetched(broken()))


def test_the_source_is_closed_where_it_is_not_read_to_its_end() -> None:
    closed = []

    def endless():  # type: ignore[no-untyped-def]
        try:
            while True:
                yield Batch((), torch.empty(0))
        finally:
            closed.append(threading.current_thread())

    source = endless()
    batches = Prefetched(source)
    next(batches)
    batches.close()
    assert closed == [batches._thread]  # not when nobody holds it any longer, in any thread


def test_closing_early_stops_the_thread(tiny_store: Store) -> None:
    opencv_threads = cv2.getNumThreads()
    batches = loader(tiny_store).epoch(0)
    next(batches)
    batches.close()
    assert not batches._thread.is_alive()
    assert cv2.getNumThreads() == opencv_threads
    assert batches.waited_s > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_on_a_gpu_are_those_of_the_cpu(tiny_store: Store) -> None:
    on_gpu = replace(loader(tiny_store), device=torch.device("cuda"))
    for here, there in zip(loader(tiny_store).epoch(0), on_gpu.epoch(0), strict=True):
        assert there.copied is not None
        assert all(torch.equal(a, b.cpu()) for a, b in zip(here.views, there.views, strict=True))
        assert torch.equal(here.ids, there.ids.cpu())
