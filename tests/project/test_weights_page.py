"""The lines of docs/guide/weights.md run as they stand, but for the network."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from medstrata.cli.main import main
from medstrata.exporting.settings import TARGETS
from medstrata.exporting.source import expected_outputs, fixed_pixels, open_source
from support.exported_runs import pretrained_run, tuned_run

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "weights.md"


def blocks(language: str) -> list[str]:
    text = PAGE.read_text().partition("## Taking a backbone out")[2]
    text = text.partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pretrained_run(tmp_path / "runs" / "mse", "resnet18")
    tuned_run(tmp_path / "runs" / "mse-1pct", "resnet18", encoder="../mse")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_command(block: str) -> None:
    program, *words = shlex.split(block)
    assert program == "medstrata"
    main(words)


def test_page_has_every_target() -> None:
    commands = blocks("bash")[:-1]
    assert len(commands) == len(blocks("python")) == len(TARGETS)
    assert {shlex.split(command)[4] for command in commands} == set(TARGETS)


@pytest.mark.parametrize(
    "number",
    [0, pytest.param(1, marks=pytest.mark.slow), 2]
    + [pytest.param(number, marks=pytest.mark.slow) for number in (3, 4, 5)],
)
def test_lines_of_a_target(folder: Path, number: int) -> None:
    run_command(blocks("bash")[number])
    source = open_source(folder / "runs" / "mse", head=False)
    pixels = fixed_pixels(source)
    names = {"images": source.preprocessing(pixels), "pixels": pixels.numpy()}
    with torch.inference_mode():
        exec(blocks("python")[number].replace("resnet50", "resnet18"), names)  # noqa: S102
    expected = expected_outputs(source, pixels)
    torch.testing.assert_close(
        torch.as_tensor(names["features"]), expected["pooled"], atol=1e-4, rtol=1e-4
    )


def test_card_command(folder: Path) -> None:
    (folder / "backbone-timm").mkdir()
    run_command(blocks("bash")[-1])
    card = (folder / "backbone-timm" / "README.md").read_text()
    assert "0.812 (0.700 to 0.900)" in card
    assert "frontal chest X" in card
