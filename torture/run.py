"""Run the torture tests, print what fell, and write docs/results/reliability.md.

Each section's rows are kept in the folder, so that a broken run goes on after the last one.

    python torture/run.py [SECTION ...] [--out runs/torture] [--share 1] [--page]
"""

import argparse
import json
import os
import platform
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(Path(__file__).parent)]

import changes  # noqa: E402
import hostile  # noqa: E402
import load  # noqa: E402
import stops  # noqa: E402
from harness import Bench, remove  # noqa: E402
from material import Material  # noqa: E402

SECTIONS = {
    one.__name__: one
    for one in (
        *(stops.kills, stops.studies, stops.signals, stops.full_disks, stops.two_at_once),
        *(changes.stores, changes.runs, changes.weights),
        *(hostile.fuzz, hostile.text, hostile.settings, hostile.identity),
        *(load.columns, load.images, load.reports, load.plans),
    )
}
_PAGE = ROOT / "docs" / "results" / "reliability.md"
_PACKAGES = ("torch", "timm", "numpy", "pillow", "opencv-python-headless", "pydicom", "onnxruntime")

_PAGE_TEXT = """# Reliability

`make torture` on {dates}: Python {python}, {versions}; {minutes} minutes on {cores} cores, which
had other work too. Random moments and bytes come from a fixed seed; what a process does at a moment
is the machine's affair.
{unrun}
{table}
What each test does: `torture/`, a function a section. Bit for bit means every file but times, locks
and checkpoints, whose weights are in what is exported. A short part runs among the tests
(`tests/project/test_torture.py`).
"""


def main() -> None:
    """Run sections that have no rows yet; exit status 1 where something fell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], metavar="SECTION")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "torture")
    parser.add_argument("--share", type=float, default=1.0, help="of the full number of tries")
    parser.add_argument("--page", action="store_true", help="write the page from the rows")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    _import_all()
    os.environ["XDG_CACHE_HOME"] = str(given.out.resolve() / "cache")
    material = Material(given.out.resolve() / "material")
    _ = material.store  # and the images, which are made with it
    for name in given.sections or SECTIONS:
        kept = given.out / f"{name}.json"
        if kept.is_file() and not given.sections:
            continue
        folder = given.out.resolve() / name
        remove(folder)
        bench = Bench(folder, given.share)
        began = time.perf_counter()
        SECTIONS[name](bench, material)
        seconds = round(time.perf_counter() - began)
        facts = {"date": time.strftime("%d %B %Y"), "seconds": seconds, "rows": bench.plain()}
        kept.write_text(json.dumps(facts, indent=1))
        shutil.rmtree(folder)
    found = {
        one: json.loads((given.out / f"{one}.json").read_text())
        for one in SECTIONS
        if (given.out / f"{one}.json").is_file()
    }
    table, fell = _table(found)
    sys.stdout.write(table)
    if given.page:
        _PAGE.write_text(_page(table, found))
    sys.exit(1 if fell else 0)


def _import_all() -> None:
    """Import what commands import, so that their forks have it."""
    import matplotlib.pyplot  # noqa: F401
    import sklearn.manifold  # noqa: F401
    import torch

    import medstrata.cli.main
    from medstrata.cli.commands import COMMANDS

    for command in COMMANDS.values():
        _ = command.module
    import medstrata

    _ = (medstrata.prepare, medstrata.pretrain, medstrata.finetune, medstrata.write_report)
    torch.set_num_threads(1)


def _table(found: dict[str, dict]) -> tuple[str, int]:  # type: ignore[type-arg]
    lines, fell = ["| test | tries | failures |", "|---|---|---|"], 0
    for facts in found.values():
        for test, row in facts["rows"].items():
            measured = [note for note in row["notes"] if note.endswith("processor time")]
            shown = f"{test}: {measured[0]}" if measured else test
            lines.append(f"| {shown} | {row['tries']:,} | {row['failures']:,} |")
            fell += row["failures"]
    return "\n".join(lines) + "\n", fell


def _page(table: str, found: dict[str, dict]) -> str:  # type: ignore[type-arg]
    dates = list(dict.fromkeys(facts["date"] for facts in found.values()))
    minutes = sum(facts["seconds"] for facts in found.values()) / 60
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    missing = ", ".join(name for name in SECTIONS if name not in found)
    unrun = f"Not run for this page: {missing}.\n" if missing else ""
    return _PAGE_TEXT.format(
        dates=" and ".join(dates),
        python=platform.python_version(),
        versions=versions,
        minutes=f"{minutes:.0f}",
        cores=os.cpu_count(),
        unrun=unrun,
        table=table,
    )


if __name__ == "__main__":
    main()
