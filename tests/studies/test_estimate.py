"""What a study is said to take before it runs."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.store.store import Store
from medstrata.models.cost import NetworkCost
from medstrata.studies import estimate
from support.small_study import tiny
from support.tiny import SIZE, make_folder

COST = NetworkCost(
    parameters=1_000_000, activation_bytes=2e6, training_seconds=3.0, inference_seconds=1.0
)


@pytest.fixture(autouse=True)
def _a_known_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "_measure", lambda *_: COST)
    monkeypatch.setattr(estimate, "default_threads", lambda: 1)


def test_without_data_only_the_cells_are_known(tmp_path: Path) -> None:
    expected = estimate.estimate(tiny(), tmp_path / "out", tmp_path, jobs=1)
    assert expected.seconds == 0
    assert "unknown" in expected.lines()
    assert "cannot be estimated before their data are prepared" in expected.summary()


def test_each_kind_of_work_takes_its_passes(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    prepare(
        folder / "images",
        tmp_path / "out" / "stores" / "tiny.store",
        PrepareSettings(labels=folder / "labels.csv", size=SIZE),
    )
    study = tiny()
    name = next(iter(study.data))
    (tmp_path / "out" / "stores" / "tiny.store").rename(tmp_path / f"out/stores/{name}.store")
    one, two = (estimate.estimate(study, tmp_path / "out", tmp_path, jobs=jobs) for jobs in (1, 2))
    assert two.seconds == pytest.approx(one.seconds / 2)
    assert two.memory == pytest.approx(2 * one.memory)
    pretraining = next(one for one in one.cells if one.cell.kind == "pretrain")
    steps = study.pretrain["epochs"] * (42 // study.pretrain["batch_size"])
    images = steps * study.pretrain["batch_size"]
    # The query's two passes and the key's one.
    assert pretraining.seconds == pytest.approx(4 * images)
    console = Console(width=100, record=True)
    console.print(one.table())
    shown = console.export_text()
    assert shown.count("pre-training") == 1
    assert "fine-tuning of all weights" in shown


def test_settings_are_made_for_an_arm_and_not_for_each_of_its_cells(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"tiny": {"store": str(tiny_store.path), "task": "finding"}}
    draws = {"full": {"settings": {"epochs": 1}, "draws": 3}}
    study = tiny(backbone="test_resnet", data=data, seeds=4, protocols=draws)
    made: Counter[str] = Counter()

    def counted(name: str) -> Callable[..., object]:
        function = getattr(estimate, name)

        def call(*given: object, **named: object) -> object:
            made[name] += 1
            return function(*given, **named)

        return call

    for name in ("pretrain_settings", "finetune_settings", "open_store"):
        monkeypatch.setattr(estimate, name, counted(name))
    expected = estimate.estimate(study, tmp_path / "study", Path(), jobs=2)
    assert len(expected.cells) > 30
    # Each takes a tenth of a second, and a study may have thousands of cells.
    assert made == {"pretrain_settings": 1, "finetune_settings": 1, "open_store": 1}
