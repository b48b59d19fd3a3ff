"""Waiting for the thing itself: how long it takes is the machine's affair."""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE_S = 600  # ends what hangs; far beyond what the busiest machine needs


def wait_until(
    condition: Callable[[], object], running: "subprocess.Popen[Any] | None" = None
) -> None:
    """Return once the condition holds; fail if the process ends before, or if it never does."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        assert running is None or running.poll() is None or condition(), "ended too early"
        time.sleep(0.005)


@contextmanager
def started(command: Sequence[str | Path], **options: Any) -> Iterator["subprocess.Popen[Any]"]:
    """A process that is no more when the block is left, however it is left."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
