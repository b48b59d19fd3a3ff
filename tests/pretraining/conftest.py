"""What tests of profiles and benchmarks share."""

import pytest


@pytest.fixture
def small_roofline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the machine by small sums and copies."""
    monkeypatch.setattr("medstrata.pretraining.profile.roofline._SIDE", {"cpu": 64})
    monkeypatch.setattr("medstrata.pretraining.profile.roofline._IMAGES", {"cpu": 1})
    monkeypatch.setattr("medstrata.pretraining.profile.roofline._COPIED_MIB", {"cpu": 1})
    monkeypatch.setattr("medstrata.pretraining.profile.measure._LOADED_S", 0.1)
