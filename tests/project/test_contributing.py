"""CONTRIBUTING's recipes, followed line by line in a copy of the tree, end in runs that work."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.tiny import make_folder, make_store

ROOT = Path(__file__).parents[2]
# A block, with the file before it that it makes or changes; commands have none.
BLOCK = re.compile(r"(?:`([\w./]+)`[^`\n]*:\n\n)?```(python|diff|sh)\n(.*?)```", re.DOTALL)
# Makes a command one of seconds; all else of it is as the page has it.
SMALL = {
    "pretrain": "--backbone test_resnet --epochs 1 --batch-size 8",
    "finetune": "--backbone test_resnet --epochs 1 --min-steps 1 --resamples 20",
    "prepare": "--size 32",
}
RUN = """
import json, runpy, sys
import medstrata

assert medstrata.__file__.startswith(sys.argv[1]), medstrata.__file__
for first, *words in json.loads(sys.argv[2]):
    print(first, *words, flush=True)
    try:
        if first == "-c":
            sys.argv = words
            exec(words[0], {})
        else:
            sys.argv = words
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        if stop.code:
            raise
"""


def recipes() -> dict[str, list[tuple[str, str, str]]]:
    """Heading -> its blocks in order: file, kind, content."""
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("\n## Recipes\n")[2]
    parts = re.split(r"^### (.*)\n", text.partition("\n## ")[0], flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], map(BLOCK.findall, parts[1::2]), strict=True))


def change(path: Path, diff: str, shown: str) -> None:
    """Make a change as the page shows it; the lines it does not add are there, once."""
    lines = diff.splitlines(keepends=True)
    if lines[0].endswith(": ...  # as above\n"):
        head = lines[0][1:].partition("(")[0]
        code = next(
            ast.get_source_segment(shown, node) or ""
            for node in ast.parse(shown).body
            if (ast.get_source_segment(shown, node) or "").startswith(head)
        )
        lines[:1] = [f"+{line}" for line in (code + "\n").splitlines(keepends=True)]
    before = "".join(line[1:] for line in lines if line[0] in " -")
    text = path.read_text()
    assert text.count(before) == 1, f"{path} does not have, once:\n{before}"
    path.write_text(text.replace(before, "".join(line[1:] for line in lines if line[0] in " +")))


def command(line: str) -> list[str]:
    """A line of the page as `RUN` takes it: what Python starts, and its words, made small."""
    first, *words = shlex.split(line)
    assert first in ("medstrata", "python")
    words = ["-m", first, *words] if first == "medstrata" else words
    small = shlex.split(" ".join(SMALL.get(word, "") for word in words))
    for option, value in zip(small[::2], small[1::2], strict=True):
        words += [] if option in words else [option, value]
    return words


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what a contributor works on, with images and a store beside it."""
    unwanted = shutil.ignore_patterns("__pycache__")
    for folder in ("src", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=unwanted)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    store = make_store(tmp_path / "made")
    store.path.rename(tmp_path / "cxr.store")
    make_folder(tmp_path / "clinic")
    return tmp_path


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_works_as_it_stands(name: str, tree: Path) -> None:
    commands, files, shown = [], [], ""
    for file, kind, content in recipes()[name]:
        path = tree / file
        if kind == "sh":
            lines = content.splitlines()
            copied = [line.split()[1:] for line in lines if line.startswith("cp ")]
            files += [shutil.copy(tree / old, tree / new) for old, new in copied]
            commands += [command(line) for line in lines if not line.startswith("cp ")]
        elif kind == "diff":
            change(path, content, shown)
        else:
            path.parent.mkdir(exist_ok=True)
            assert not path.exists()
            path.write_text(content)
            shown = content
        files += [file] if file else []
    for words in (["check"], ["format", "--check"]):
        subprocess.run([sys.executable, "-m", "ruff", *words, *files], cwd=tree, check=True)
    assert commands
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tree), json.dumps(commands)],
        cwd=tree,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(tree / "src"), str(tree))),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # some would complain of what is imported
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
