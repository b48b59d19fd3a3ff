"""Files that set an environment up name what the project has."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_conda_environment_asks_for_this_project() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, by_pip = environment["dependencies"]
    assert conda[0] == f"python{PROJECT['requires-python']},<3.14"
    (wanted,) = by_pip["pip"]
    extras = re.fullmatch(r"\.\[([\w,]+)\]", wanted)
    assert extras is not None
    assert set(extras[1].split(",")) <= PROJECT["optional-dependencies"].keys()


def test_image_copies_and_installs_what_is_there() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    for line in lines:
        if line.startswith("COPY "):
            assert all((ROOT / name).exists() for name in line.split()[1:-1])
    (extras,) = (line.partition("=")[2] for line in lines if line.startswith("ARG EXTRAS="))
    assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()
    torch = next(one for one in PROJECT["dependencies"] if one.startswith("torch"))
    assert any(f'"{torch}"' in line for line in lines)
    assert "USER 1000" in lines


def test_checks_make_what_the_makefile_has() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    jobs = yaml.safe_load(WORKFLOW)["jobs"]
    job = jobs["make"]
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make ${{ matrix.target }}"]
    runs = job["strategy"]["matrix"]["include"]
    (slow,) = [step["run"].removeprefix("make ") for step in jobs["slow"]["steps"] if "run" in step]
    assert {slow, *(run["target"] for run in runs)} <= set(phony.split())
    versions = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    tested = [run["python"] for run in runs if run["target"] == "test"]
    assert tested == versions
    assert PROJECT["requires-python"] == f">={versions[0]}"


def test_checks_are_given_nothing_secret_and_use_official_actions_alone() -> None:
    assert re.findall(r"uses: (.*)", WORKFLOW) == re.findall(
        r"actions/[\w-]+@v\d+$", WORKFLOW, re.MULTILINE
    )
    assert yaml.safe_load(WORKFLOW)["permissions"] == {"contents": "read"}
    assert "secrets" not in WORKFLOW
