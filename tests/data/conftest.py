"""What tests of preparing and reading stores share."""

import pytest

from medstrata.data.prepare import decode


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten images a shard, so that small sets have several."""
    monkeypatch.setattr(decode, "SHARD_ROWS", 10)
