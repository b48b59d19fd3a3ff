"""Every file, module and name of the code that docs and docstrings speak of is there."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import medstrata

ROOT = Path(__file__).parents[2]
SOURCE = Path(medstrata.__file__).parent
MODULES = sorted(path for path in SOURCE.rglob("*.py") if not path.name.startswith("__"))
# The log and the changelog keep the names of their day.
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "docs/**/*.py")
    for path in ROOT.glob(pattern)
    if path.name not in ("CHANGELOG.md", "log.md")
)

FILE = re.compile(r"(?<![\w/.-])(?!dist/)(?:[\w-]+/)+[\w-]+\.(?:md|py|sh|toml)\b|`[\w-]+\.py`")
FOLDER = re.compile(r"`(\w+(?:/\w+)+)/?`")
DOTTED = re.compile(r"\bmedstrata(?:\.\w+)+")
SHORT = re.compile(r"`([A-Za-z_]\w*(?:\.[A-Za-z_]\w*){1,2})(?:\([^`]*\))?`")
ENDING = re.compile(
    "bin|csv|db|fish|html|jsonl?|md|np[yz]|onnx|parquet|pdf|png|pt|py|safetensors|store|tex|toml|"
    "txt|ya?ml"
)
# Before the dot: other packages, groups of settings, variables of the code beside it, columns.
OTHERS = re.compile(
    "argparse|cv2|medstrata|ms|nn|np|pd|time|timm|torch|contrastive|intermediate|optimizer|views|"
    "Axes|Figure|group|self|training|dicom"
)


@cache
def names_in(module: Path) -> set[str]:
    """What a module defines, in its classes too."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return found


@cache
def homes(word: str) -> list[Path]:
    """The modules that are called by a word, or define a class that is."""
    return [
        path
        for path in MODULES
        if path.stem == word or (word[0].isupper() and word in names_in(path))
    ]


def is_place(parts: list[str]) -> bool:
    """Whether parts lead from the package through its rooms to a module, or to a name in it."""
    place = SOURCE.joinpath(*parts)
    module = place.parent.with_suffix(".py")
    return (
        place.is_dir()
        or place.with_suffix(".py").is_file()
        or (module.is_file() and parts[-1] in names_in(module))
    )


def is_method(parts: list[str]) -> bool:
    """Whether parts lead to a name in a class."""
    return parts[-2:][0][0].isupper() and is_place(parts[:-1])


def missing(text: str, page: Path) -> Iterator[str]:
    """What a text names and is not there."""
    starts = (ROOT, SOURCE, page.parent, ROOT / "docs")
    known = {*dir(medstrata), "fish"}  # the last is a file of a shell
    for file in (word.strip("`") for word in FILE.findall(text)):
        if not any((start / file).is_file() for start in starts):
            yield file
    for folder in FOLDER.findall(text):
        if (SOURCE / folder.split("/")[0]).is_dir() and not is_place(folder.split("/")):
            yield folder
    for dotted in DOTTED.findall(text):
        parts = dotted.split(".")[1:]
        if not (is_place(parts) or is_method(parts) or parts[0] in known):
            yield dotted
    for short in SHORT.findall(text):
        first, *rest = short.split(".")
        if OTHERS.fullmatch(first) or ENDING.fullmatch(rest[-1]) or is_place([first, *rest]):
            continue
        if not any(set(rest) <= names_in(path) for path in homes(first)):
            yield short


@pytest.mark.parametrize(
    "page", [*PAGES, *MODULES], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_what_is_named_is_there(page: Path) -> None:
    # What recipes make is not there yet; test_contributing.py follows them.
    text = re.sub(r"\n## Recipes\n.*?(?=\n## )", "", page.read_text(), flags=re.DOTALL)
    assert not set(missing(text, page))


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("`pretraining/losses.py`, data/datasets/registry.py, `info_nce.info_nce`", []),
        ("`medstrata.pretraining.info_nce.info_nce`, `medstrata.prepare`, `MoCo.forward`", []),
        ("`data/catalog`, scripts/structure.py, `Makefile`, `metrics.jsonl`", ["data/catalog"]),
        ("data/catalog/known.py and `weighted.py`", ["data/catalog/known.py", "weighted.py"]),
        (
            "`losses.info_nse`, `similarity.linear_cka`",
            ["losses.info_nse", "similarity.linear_cka"],
        ),
        ("`medstrata.weighted`, `MoCo.backward`", ["medstrata.weighted", "MoCo.backward"]),
    ],
)
def test_a_name_that_leads_nowhere_is_seen(text: str, gone: list[str]) -> None:
    assert list(missing(text, ROOT / "README.md")) == gone


def test_files_that_the_makefile_names_are_there() -> None:
    # pytest reads the list of the oldest versions' tests.
    lists = (ROOT / "Makefile", ROOT / "constraints" / "minimal_tests.txt")
    named = re.findall(
        r"\b(?:tests|benchmarks|scripts)/[\w/]+\.py\b",
        "\n".join(one.read_text() for one in lists),
    )
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).is_file()] == []
