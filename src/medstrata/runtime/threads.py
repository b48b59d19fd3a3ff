"""Threads that work on images."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import cv2

from medstrata.runtime.machine import default_threads


@contextmanager
def image_threads(count: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """Threads that images are spread over; work not begun is dropped on an error.

    OpenCV keeps to the thread that calls it meanwhile: its own would only compete.

    Args:
        count: How many; None for one a core that this process may use.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    executor = ThreadPoolExecutor(default_threads() if count is None else count)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)
        cv2.setNumThreads(before)
