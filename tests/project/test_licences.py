"""No package that an installation rests on has a licence that binds the code of its users."""

import re
from importlib import metadata

import pytest
from packaging.requirements import Requirement

BINDING = re.compile(r"(?<!L)(?<!Lesser )(A?GPL|Affero|GNU General Public)", re.IGNORECASE)


def rests_on(name: str, extra: str) -> set[str]:
    """Names of the installed packages that a package with an extra rests on, itself included."""
    waiting, seen, found = [(name, extra)], {(name, extra)}, set()
    while waiting:
        name, extra = waiting.pop()
        try:
            needs = map(Requirement, metadata.requires(name) or [])
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        wanted = [one for one in needs if not one.marker or one.marker.evaluate({"extra": extra})]
        new = {(one.name, extra) for one in wanted for extra in ("", *one.extras)} - seen
        seen |= new
        waiting += new
    return found


def licence(name: str) -> str:
    """As a package's own metadata states it."""
    about = metadata.metadata(name)
    classes = [text for text in about.get_all("Classifier") or [] if text.startswith("License ::")]
    return str(about.get("License-Expression") or "; ".join(classes) or about.get("License"))


def test_no_dependency_binds_users() -> None:
    names = rests_on("medstrata", "all")
    assert {"torch", "MarkupSafe", "pydicom", "submitit"} <= names
    assert not {"ruff", "lightly"} & names
    assert [name for name in names if BINDING.search(licence(name))] == []


@pytest.mark.parametrize(
    ("stated", "binds"),
    [
        ("GPL-3.0-or-later", True),
        ("AGPL-3.0-only", True),
        ("GNU Affero General Public License v3", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("LGPL-2.1-or-later", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("Apache-2.0 AND MIT", False),
    ],
)
def test_what_binds_users(stated: str, binds: bool) -> None:
    assert bool(BINDING.search(stated)) == binds
