"""Commands that are stopped, starved and misled, and the count of what falls.

Everything heavy is imported once; a command runs in a fork, so that one takes a second, not ten.
"""

import contextlib
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

TIMES = {"time", "seconds", "date", "images_per_s", "images_per_second", "wait", "data_wait"}
# What differs between two runs of one command, or is of a process.
PASSING = {"environment.json", "run.lock", "run.lock.json", "audit.json", "config.yaml"} | {
    "pretraining-runs.csv"  # of a study: how long they took
}


class Ending(NamedTuple):
    """How a command ended: its status, negative for a signal, None after the timeout."""

    status: int | None
    text: str

    @property
    def last(self) -> str:
        """The last line that it wrote."""
        return self.text.strip().rpartition("\n")[2]

    @property
    def is_line(self) -> bool:
        """Whether it failed as it should: with status 1 or 2 and a line of its own."""
        return (
            self.status in (1, 2)
            and "Traceback" not in self.text
            and self.last.startswith("medstrata ")
        )


@dataclass
class Row:
    """One line of the table."""

    tries: int = 0
    failures: int = 0
    notes: list[str] = field(default_factory=list)


class Bench:
    """The place where one section works, its random numbers, and its rows.

    Args:
        folder: For what it writes.
        share: Of the full number of tries.
    """

    def __init__(self, folder: Path, share: float) -> None:
        self.folder, self.share = folder, share
        self.rows: dict[str, Row] = {}
        self.random = random.Random(17)
        folder.mkdir(parents=True)

    def tries(self, full: int) -> int:
        """How often, of so many times in a full run."""
        return max(1, round(full * self.share))

    def check(self, test: str, passed: bool, note: object = "") -> None:
        """Count a try of a test."""
        row = self.rows.setdefault(test, Row())
        row.tries += 1
        if not passed:
            row.failures += 1
            row.notes.append(str(note)[-600:])
            sys.stderr.write(f"FELL: {test}: {str(note)[-600:]}\n")

    def plain(self) -> dict[str, Any]:
        """The rows as JSON has them."""
        return {test: asdict(row) for test, row in self.rows.items()}


def start(words: Sequence[object], log: Path, prepare: Callable[[], None] = lambda: None) -> int:
    """Fork a command; its process leads a group of its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return process
    status = 70
    try:
        os.setsid()
        written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(written, 1)
        os.dup2(written, 2)
        for number, name in ((1, "stdout"), (2, "stderr")):
            raw = os.fdopen(number, "wb", 0)
            setattr(sys, name, io.TextIOWrapper(raw, "utf-8", "backslashreplace", "", False, True))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        prepare()
        status = _leave(list(map(str, words)))
        with contextlib.suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
    finally:
        os._exit(status)


def _leave(words: list[str]) -> int:
    from medstrata.cli.main import main

    try:
        main(words)
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:  # noqa: BLE001  (what a user would see)
        traceback.print_exc()
        return 1
    return 0


def wait(process: int, log: Path, timeout_s: float = 300) -> Ending:
    """Wait for a command, and kill it where it hangs."""
    end = time.monotonic() + timeout_s
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return Ending(os.waitstatus_to_exitcode(status), log.read_text(errors="replace"))
        if time.monotonic() > end:
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return Ending(None, log.read_text(errors="replace"))
        time.sleep(0.005)


def run(words: Sequence[object], log: Path, prepare: Callable[[], None] = lambda: None) -> Ending:
    """Run a command to its end."""
    return wait(start(words, log, prepare), log)


def shoot(words: Sequence[object], log: Path, after_s: float, number: int) -> Ending | None:
    """Send a command a signal after a while, SIGKILL to all of its group.

    Returns:
        How it ended; None if it had ended before.
    """
    process = start(words, log)
    end = time.monotonic() + after_s
    while time.monotonic() < end:
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            wait(process, log)
            return None
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if number == signal.SIGKILL else os.kill)(process, number)
    return wait(process, log)


def limit_files(size: int) -> Callable[[], None]:
    """What makes every file beyond so many bytes fail, as on a full disk."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def remove(path: Path) -> None:
    """Delete a file or folder that may not be there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def contents(folder: Path, counted: str = "") -> dict[str, str]:
    """Files of a folder, or one file, whose names end so: bytes by their digest, times left out."""
    files = [folder] if folder.is_file() else [one for one in folder.rglob("*") if one.is_file()]
    found = {}
    for path in files:
        if not path.name.endswith(counted):
            continue
        if path.name not in PASSING and path.suffix not in (".pt", ".tmp", ".lock"):
            found[str(path.relative_to(folder.parent).as_posix()).partition("/")[2]] = _digest(path)
    return found


def _digest(path: Path) -> str:
    if path.suffix in (".json", ".jsonl"):
        text = path.read_text(errors="replace")
        with contextlib.suppress(ValueError, RecursionError):  # one that is damaged
            parts = text.splitlines() if path.suffix == ".jsonl" else [text]
            return json.dumps([_timeless(json.loads(part)) for part in parts], sort_keys=True)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _timeless(one) for name, one in value.items() if name not in TIMES}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def scratch_in(folder: Path) -> list[str]:
    """What killed processes have left half-written."""
    return [str(path) for path in folder.rglob("*.tmp")]


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Names of what is not the same in both."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
