"""The command line: find the command, run it, leave with an exit status.

Exit status 0, 1 failed, 2 usage, 75 stopped as asked with all of it saved, 130 Ctrl-C, 143 SIGTERM.

Only the command in hand is imported, and the library once its arguments have been understood, so
that help and usage errors are quick.
"""

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from medstrata.cli.commands import COMMANDS, UsageError
from medstrata.runtime.console import put, say
from medstrata.runtime.errors import MedstrataError, Stopped, is_out_of_memory, one_line
from medstrata.runtime.signals import TERMINATED, Terminated, exit_on_sigterm

INTERRUPTED = 130  # 128 and the number of the signal, as shells give it
UNFINISHED = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, the same command goes on

_TOGETHER = ("pretrain", "doctor")  # commands of which several processes share the work
_MENDABLE = (MedstrataError, ValueError, OSError)
_RESUMABLE = ("pretrain", "finetune", "probe", "reuse", "atlas")

HELP = """usage: medstrata COMMAND [options]   (medstrata COMMAND --help explains each)

Pre-train an encoder of medical images without labels and measure its worth.

commands:
{commands}

options:
  --version  print the version
  --debug    show a traceback when something fails

exit status: 0 done, 1 failed, 2 wrong usage, 75 stopped, saved (run it again)
""".format(commands="\n".join(f"  {one.name:<15} {one.summary}" for one in COMMANDS.values()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    name = words[0] if words else "--help"
    if name not in (*COMMANDS, "-h", "--help", "--version"):
        near = get_close_matches(name, COMMANDS, n=1)
        meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
        there = f"no command {name!r}; {meant}"
        _leave(2, f"medstrata: {there} (see medstrata --help)")
    if int(os.environ.get("WORLD_SIZE") or 1) > 1 and name not in _TOGETHER:
        _leave(2, f"medstrata {name}: every process of torchrun would do all of it: start it once")
    try:
        with exit_on_sigterm():
            _run(name, words[1:])
    except UsageError as error:
        _leave(2, f"medstrata {name}: {_briefly(error)} (see medstrata {name} --help)")
    except Stopped as stopped:
        _leave(UNFINISHED, f"medstrata {name}: {stopped}")
    except Exception as error:
        if debug or not (isinstance(error, _MENDABLE) or is_out_of_memory(error)):
            raise
        _leave(1, f"medstrata {name}: {_briefly(error)}")
    except (KeyboardInterrupt, Terminated) as stop:
        status = TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
        how = "with --resume " if name in _RESUMABLE else ""
        _leave(status, f"medstrata {name}: stopped; {how}the same command goes on or starts again")


def _run(name: str, words: Sequence[str]) -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed by the caller: no file of ours may take its place
            os.open(os.devnull, os.O_RDWR)
    if name in COMMANDS:
        COMMANDS[name].run(words)
    elif name == "--version":
        from importlib.metadata import version

        put(f"medstrata {version('medstrata')}\n")
    else:
        put(HELP)


def _leave(status: int, line: str) -> NoReturn:
    say(line)
    sys.exit(status)


def _briefly(error: Exception) -> str:
    """Of the system's errors what it could not do and where, without their number."""
    if is_out_of_memory(error):
        return (
            f"not enough memory ({one_line(error, limit=100)}): a smaller network, smaller images "
            "or a smaller --batch-size need less"
        )
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return one_line(error)
