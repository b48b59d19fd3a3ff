"""The command that looks at the machine."""

import json
import sys
from dataclasses import asdict

from medstrata.cli.arguments import make_parser, parse
from medstrata.runtime.console import busy


def doctor_command(words: list[str]) -> None:
    """Say whether this machine is ready."""
    parser = make_parser(
        "doctor",
        "[--store STORE] [--json]",
        "Look at Python, libraries, GPU, processor, memory, image formats, disks and optional "
        "extras, and say how to mend what is wrong. No network call. Exit status 1 if something "
        "is wrong.",
    )
    parser.add_argument("--store", type=str | None, help="A store to open and spot-check as well.")
    parser.add_argument("--json", action="store_true", help="Print the checks as JSON.")
    parsed = parse(parser, "doctor", words)
    from medstrata.cli.doctor.checks import check_machine

    with busy("looking at libraries, formats and disks"):
        checks = check_machine(parsed.store)
    wrong = sum(check.level == "wrong" for check in checks)
    if parsed.json:
        sys.stdout.write(json.dumps([asdict(check) for check in checks], indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{check.line}\n" for check in checks)
        sys.stdout.write(f"{wrong} wrong\n" if wrong else "nothing is wrong\n")
    if wrong:
        sys.exit(1)
