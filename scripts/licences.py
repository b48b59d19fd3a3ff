"""Writes docs/licences.md and a CycloneDX list of all that medstrata's installation rests on.

    python scripts/licences.py [--sbom sbom.json]

Reads what is installed here; exit status 1 if a licence would bind users.
"""

import argparse
import json
import re
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

PAGE = Path(__file__).parent.parent / "docs" / "licences.md"
EXTRAS = (
    *("dicom", "hdf5", "mlflow", "nifti", "onnx", "slurm", "streaming"),
    *("tensorboard", "wandb"),
)
BINDING = re.compile(r"(?<!L)(?<!Lesser )(A?GPL|Affero|GNU General Public)", re.IGNORECASE)


def closure(extra: str) -> set[str]:
    """Names of the installed distributions that medstrata with an extra ("" for none) rests on."""
    found, waiting = set[str](), [("medstrata", extra)]
    seen = set(waiting)
    while waiting:
        name, own = waiting.pop()
        for text in metadata.requires(name) or []:
            need = Requirement(text)
            if need.marker and not need.marker.evaluate({"extra": own}):
                continue
            try:
                there = metadata.distribution(need.name).metadata["Name"]
            except metadata.PackageNotFoundError:
                continue
            if there != "medstrata":
                found.add(there)
            new = {(there, one) for one in ("", *need.extras)} - seen
            seen |= new
            waiting += new
    return found


def licence(name: str) -> str:
    """As a distribution's own metadata states it."""
    about = metadata.metadata(name)
    if stated := about.get("License-Expression"):
        return str(stated)
    classes = [
        text.rpartition(" :: ")[2]
        for text in about.get_all("Classifier") or []
        if text.startswith("License ::") and text != "License :: OSI Approved"
    ]
    return "; ".join(classes) or str(about.get("License") or "not stated").splitlines()[0]


def needed_by() -> dict[str, str]:
    """Each distribution, and what of medstrata needs it."""
    needs = dict.fromkeys(closure(""), "core")
    for extra in EXTRAS:
        for name in closure(extra) - {one for one, by in needs.items() if by == "core"}:
            needs[name] = f"{needs[name]}, {extra}" if name in needs else extra
    return dict(sorted(needs.items(), key=lambda item: item[0].lower()))


def sbom(needs: dict[str, str]) -> dict[str, object]:
    """The same as CycloneDX 1.5."""
    components = [
        {
            "type": "library",
            "name": name,
            "version": metadata.version(name),
            "purl": f"pkg:pypi/{name.lower()}@{metadata.version(name)}",
            "licenses": [{"license": {"name": licence(name)}}],
        }
        for name in needs
    ]
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sbom", type=Path)
    chosen = parser.parse_args()
    needs = needed_by()
    rows = [
        f"| {name} | {metadata.version(name)} | {licence(name)} | {by} |"
        for name, by in needs.items()
    ]
    head = [
        "# Licences",
        "",
        "What an installation rests on, as its own metadata states it; written by `python",
        "scripts/licences.py`, which fails where a licence of the GPL or AGPL would bind users.",
        "",
        "| package | version | licence | needed by |",
        "|---|---|---|---|",
    ]
    PAGE.write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")
    if chosen.sbom:
        chosen.sbom.write_text(json.dumps(sbom(needs), indent=2) + "\n", encoding="utf-8")
    binding = [name for name in needs if BINDING.search(licence(name))]
    if binding:
        sys.exit(f"licences that bind users: {', '.join(binding)}")


if __name__ == "__main__":
    main()
