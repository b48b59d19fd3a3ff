"""README: its example runs as it stands, but for sizes; its tree and the landing page agree."""

import re
from pathlib import Path

import pytest

import medstrata
from support.tiny import make_folder

README = Path(__file__).parents[2] / "README.md"
LANDING_PAGE = README.parent / "docs" / "index.md"
SMALLER = {
    '"resnet50"': '"test_resnet"',
    "epochs=200": "epochs=1, batch_size=8",
    "size=256": "size=32, split='0.5/0.25/0.25'",
    '"pneumonia"': '"finding"',
    "(0.01, 0.1, 1.0)": "(0.5,)",
    "arm=arm": "arm=arm, settings=ms.FinetuneSettings(epochs=1, min_steps=1, resamples=20)",
}


def test_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder(tmp_path / "data")
    (folder / "images").rename(tmp_path / "cxr")
    (folder / "labels.csv").rename(tmp_path / "labels.csv")
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    for words, small in SMALLER.items():
        assert words in example
        example = example.replace(words, small)
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102
    assert "moco+mse" in (tmp_path / "report.html").read_text()


def test_tree_names_every_room() -> None:
    source = Path(medstrata.__file__).parent
    tree = README.read_text().partition("src/medstrata/\n")[2].partition("```")[0]
    there = {path.parent.name for path in source.glob("*/__init__.py")}
    assert set(re.findall(r"^  (\w+)/ ", tree, re.MULTILINE)) == there
    beside = re.findall(r"^(\w+)/ ", tree, re.MULTILINE)
    assert beside
    assert all((README.parent / name).is_dir() for name in beside)


def test_landing_page_says_what_the_readme_says() -> None:
    readme, page = README.read_text(), LANDING_PAGE.read_text()
    introduction = readme.partition("\n\n")[2].partition("\n![")[0]
    assert introduction in page
    commands = readme.partition("## From a folder to a report\n\n```\n")[2].partition("```")[0]
    assert len(commands.splitlines()) == 6
    indented = "".join(f"    {line}\n" for line in commands.splitlines())
    assert indented in page
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", readme)
    assert {f"docs/{one}" for one in re.findall(r"!\[.*?\]\((.*?)\)", page)} == set(pictures)


def test_readme_is_short() -> None:
    lines = README.read_text().splitlines()
    assert len(lines) <= 90
    assert max(map(len, lines)) <= 200
