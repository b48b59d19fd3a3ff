"""Ctrl-C and a scheduler's signals as a request, so that a run can finish its step and save."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
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
    taken = (signal.SIGINT, *SCHEDULER_SIGNALS)
    before = {number: signal.signal(number, request) for number in taken}
    try:
        yield requested.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
