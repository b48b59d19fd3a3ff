"""Asking a child process, so that what crashes there is reported and not suffered.

A child says on stdout, as a line of JSON each, which step it begins and what came of it.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from medstrata.runtime.errors import MedstrataError

_PATIENCE = 120  # seconds; a first import from a slow disk takes many


@dataclass
class Answer:
    """What a child has said.

    Attributes:
        facts: Of each step that went well, what it found.
        errors: Of each step that failed, why; that of the last one may be how the child ended.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def ask(module: str, *words: str) -> Answer:
    """Run a module of this package in a process of its own, and listen.

    Args:
        module: Its name in `medstrata.cli.doctor`.
        words: Its arguments.
    """
    # -P: a torch.py in the current folder is not what the program itself would import.
    command = [sys.executable, "-P", "-m", f"medstrata.cli.doctor.{module}", *words]
    try:
        done = subprocess.run(  # noqa: S603  (this Python, a module of this package)
            command, capture_output=True, check=False, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired as late:
        return heard(late.stdout or b"", f"no answer in {_PATIENCE} s")
    last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return heard(done.stdout, _ending(done.returncode, last))


def heard(said: bytes, ending: str) -> Answer:
    """What a child's lines mean.

    Args:
        said: Its standard output; what libraries print there besides is passed over.
        ending: How it ended; empty where it ended well.
    """
    answer, begun = Answer(), ""
    for line in said.splitlines():
        try:
            message = json.loads(line)
            step = message["step"]
        except (ValueError, TypeError, KeyError):
            continue
        if "facts" in message:
            answer.facts[step], begun = message["facts"], ""
        elif "error" in message:
            answer.errors[step], begun = message["error"], ""
        else:
            begun = step
    if begun or ending:
        answer.errors[begun or "end"] = ending or "ended in the middle of it"
    return answer


def _ending(status: int, last_line: str) -> str:
    if status >= 0:
        return "" if status == 0 else last_line or f"exit status {status}"
    return f"the process was ended by {signal.Signals(-status).name}"


def report(step: str, work: Callable[[], Any]) -> None:
    """In the child: do a step, and say how it went.

    Args:
        step: What it is called.
        work: Returns its facts, which JSON can hold; whatever it raises is its error.
    """
    _say(step=step)
    try:
        facts = work()
    except MedstrataError as error:
        _say(step=step, error=str(error))
    except BaseException as error:  # noqa: BLE001  (libraries fail, and even leave, in every way)
        words = " ".join(str(error).split())
        _say(step=step, error=f"{type(error).__name__}: {words}"[:400])
    else:
        _say(step=step, facts=facts)


def _say(**message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
