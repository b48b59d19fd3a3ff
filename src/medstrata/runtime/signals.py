"""Ctrl-C and a scheduler's signals as a request, so that a run can finish its step and save."""

import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

SCHEDULER_SIGNALS = [signal.SIGTERM]
if sys.platform != "win32":
    SCHEDULER_SIGNALS.append(signal.SIGUSR1)


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether to stop; a second Ctrl-C stops at once.

    SIGTERM and SIGUSR1 ask likewise: schedulers send them before they take a node away. They may
    come several times, so only Ctrl-C loses patience.

    Outside the main thread, where Python takes no signals, nothing is caught.
    """
    requested = threading.Event()

    def request(number: int, _frame: FrameType | None) -> None:
        if requested.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        requested.set()

    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return
    with handled(request, (signal.SIGINT, *SCHEDULER_SIGNALS)):
        yield requested.is_set


@contextmanager
def handled(
    handler: Callable[[int, FrameType | None], None], numbers: Iterable[signal.Signals]
) -> Iterator[None]:
    """Let a handler take signals; afterwards they go where they went before."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
