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
    parser.add_argument("--json", action="store_true", help="Print the findings as JSON.")
    parsed = parse(parser, "doctor", words)
    from medstrata.cli.doctor.examine import examine
    from medstrata.cli.doctor.findings import total

    with busy("looking at libraries, formats and disks"):
        findings = examine(parsed.store)
    if parsed.json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{finding.line}\n" for finding in findings)
        sys.stdout.write(f"{total(findings)}\n")
    if any(finding.level == "wrong" for finding in findings):
        sys.exit(1)
