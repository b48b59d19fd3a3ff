"""Exports for transformers load there through the lines of their own model card."""

from pathlib import Path

import pytest
import torch

from medstrata.exporting.source import open_source
from medstrata.exporting.to_huggingface import TARGET
from support.export_check import OTHER_NETWORKS, check_export, check_other_network


@pytest.mark.parametrize(("run", "outputs"), [("grey", 512), ("grey-tuned", 1)])
def test_run_loads_by_its_card(
    run: str, outputs: int, exported_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = check_export(exported_runs / run, "huggingface", tmp_path / "out", monkeypatch)
    assert given.shape == (5, outputs)


def test_progress_bars_of_transformers_are_as_they_were_after_an_error(
    exported_runs: Path, tmp_path: Path
) -> None:
    logging = pytest.importorskip("transformers.utils").logging
    source = open_source(exported_runs / "grey", head=False)
    logging.enable_progress_bar()
    with pytest.raises(ValueError, match=r"config\.json"):
        TARGET.load(source, tmp_path, torch.zeros(1))
    assert logging.is_progress_bar_enabled()


@pytest.mark.slow
@pytest.mark.parametrize("architecture", OTHER_NETWORKS)
def test_other_networks_load_by_their_cards(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_other_network(architecture, "huggingface", tmp_path, monkeypatch)
