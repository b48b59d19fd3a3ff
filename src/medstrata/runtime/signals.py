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
TERMINATED = 128 + signal.SIGTERM  # exit status, as shells give it


class Terminated(SystemExit):
    """SIGTERM came; nothing but the ends of blocks is run until the process leaves."""


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether to stop; a second Ctrl-C stops at once.

    SIGTERM and SIGUSR1 ask likewise: schedulers send them before they take a node away. They may
    come several times, so only Ctrl-C loses patience.
    """
    requested = threading.Event()

    def request(number: int, _frame: FrameType | None) -> None:
        if requested.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        requested.set()

    with signal_handler(request, (signal.SIGINT, *SCHEDULER_SIGNALS)):
        yield requested.is_set


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end what runs as an error would, so that it cleans up after itself.

    Without this the process is gone at once, and its temporary files stay. What takes the signal
    itself (`stop_requests`) does so still. Only the first counts: a second does not cut the
    cleaning short.

    Raises:
        Terminated: SIGTERM came.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Terminated(TERMINATED)

    with signal_handler(leave, [signal.SIGTERM]):
        yield


@contextmanager
def signal_handler(
    handler: Callable[[int, FrameType | None], None], numbers: Iterable[signal.Signals]
) -> Iterator[None]:
    """Let a handler take signals; afterwards they go where they went before.

    Outside the main thread, where Python takes no signals, nothing is caught.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
