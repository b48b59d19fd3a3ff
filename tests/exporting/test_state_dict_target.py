"""Networks of other libraries: what they have no network for is refused."""

from pathlib import Path

import pytest

from support.export_check import refused_export


@pytest.mark.parametrize("to", ["torchvision", "monai"])
def test_networks_that_the_target_lacks(run: Path, to: str, tmp_path: Path) -> None:
    refused_export(
        run, to, tmp_path, "no network with the weights of timm's test_resnet; .* --to timm"
    )
