"""What holds for every known data set."""

import random
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medstrata.cli.main import main
from medstrata.data.datasets.check import Discrepancy, check
from medstrata.data.datasets.dataset import Dataset, choose_split
from medstrata.data.datasets.registry import DATASETS, find_dataset
from medstrata.runtime.errors import MedstrataError
from support.dataset_trees import TREES


@pytest.fixture(scope="module", params=DATASETS)
def dataset(request: pytest.FixtureRequest) -> Dataset:
    return DATASETS[request.param]


@pytest.fixture(scope="module")
def root(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TREES[dataset.name](tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def table(dataset: Dataset, root: Path) -> pd.DataFrame:
    return dataset.index(root)


def kinds(findings: list[Discrepancy]) -> set[str]:
    return {finding.kind for finding in findings}


def test_columns_are_text(dataset: Dataset, table: pd.DataFrame) -> None:
    assert {"file", *dataset.labels} <= {*table.columns}
    assert ("patient_id" in table) == (dataset.patients is not None or dataset.name == "pcam")
    assert ("frame" in table) == ("array" in table)
    for name in table:
        assert str(table[name].dtype) == ("int64" if name == "frame" else "string")
    assert table["file"].notna().all()
    assert table.get("patient_id", table["file"]).notna().all()


def test_values_are_those_of_the_facts(dataset: Dataset, table: pd.DataFrame) -> None:
    for name, values in dataset.labels.items():
        found = {*table[name].dropna()}
        assert {*values} <= found <= {*values, dataset.uncertain}
    assert {*dataset.ordinal} <= {*dataset.labels}


def test_splits_are_patient_disjoint(dataset: Dataset, table: pd.DataFrame) -> None:
    found = [name for name in table if name.startswith("split.")]
    for name in found:
        # Of the few patients of a tree none may be drawn to validate.
        assert {"train", "test"} <= {*table[name].dropna()} <= {"train", "val", "test"}
        if "patient_id" in table:
            assert (table.groupby("patient_id")[name].nunique() <= 1).all()
    if dataset.splits:
        assert f"split.{dataset.splits[0]}" in found
        assert choose_split(dataset, table) == f"split.{dataset.splits[0]}"


def test_every_listed_image_is_there(table: pd.DataFrame, root: Path) -> None:
    assert all((root / name).is_file() for name in table["file"].unique())


def test_index_repeats_itself_and_draws_nothing_globally(
    dataset: Dataset, root: Path, table: pd.DataFrame
) -> None:
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    pd.testing.assert_frame_equal(dataset.index(root), table)
    assert before == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002


def test_check_finds_that_a_tiny_copy_is_tiny(dataset: Dataset, root: Path) -> None:
    findings = check(dataset, root)
    # Made-up npz files cannot have the published checksum.
    made_up = {"checksum"} if dataset.name.startswith("medmnist/") else set()
    split_notes = [finding for finding in findings if finding.kind == "note"]
    assert all("is not ready" in finding.text for finding in split_notes)
    assert kinds(findings) - {"note"} == made_up | ({"count"} if dataset.images else set())


# Only of images that a table lists can it be known that they are missing.
@pytest.mark.parametrize(
    "name", ["nih-chestxray14", "chexpert", "mimic-cxr-jpg", "eyepacs", "aptos-2019"]
)
def test_check_names_what_is_missing_and_empty(name: str, tmp_path: Path) -> None:
    dataset, copy = DATASETS[name], TREES[name](tmp_path)
    table = dataset.index(copy)
    gone, empty = table["file"].iloc[0], table["file"].iloc[1]
    (copy / gone).unlink()
    (copy / empty).write_bytes(b"")
    shutil.copyfile(copy / table["file"].iloc[2], (copy / empty).parent / "stranger.png")
    texts = [finding.text for finding in check(dataset, copy)]
    assert f"1 listed files are missing: {gone}" in texts
    assert f"1 files are empty: {empty}" in texts
    assert any(re.fullmatch(r"1 images are not listed: .*stranger\.png", text) for text in texts)


def test_facts_add_up(dataset: Dataset) -> None:
    for split, sizes in dataset.split_sizes.items():
        assert split in dataset.splits
        if len(sizes) == 3:
            assert sum(sizes.values()) in (
                dataset.images,
                (dataset.images or 0) + dataset.optional_images,
            )
    assert {*dataset.split_files} <= {*dataset.splits}
    assert all(re.fullmatch(r"md5:[0-9a-f]{32}", value) for value in dataset.checksums.values())
    names = [name.strip() for name in dataset.task.split(",")]
    assert not dataset.labels or {*names} <= {*dataset.labels}


def test_check_finds_patients_in_two_parts(tmp_path: Path) -> None:
    root = TREES["nih-chestxray14"](tmp_path)
    for part, name in (("train", "00000003_000.png"), ("val", "00000003_001.png")):
        path = root / "labels" / f"{part}_list.txt"
        kept = [line for line in path.read_text().splitlines() if "00000003" not in line]
        path.write_text("\n".join([*kept, name]))
    texts = [finding.text for finding in check(DATASETS["nih-chestxray14"], root)]
    assert "split paper has 1 patients in two parts: 3" in texts


def test_check_compares_checksums(tmp_path: Path) -> None:
    root = TREES["pcam"](tmp_path)
    (root / "camelyonpatch_level_2_split_test_y.h5.gz").write_bytes(b"abc")
    findings = check(DATASETS["pcam"], root)
    (wrong,) = [finding.text for finding in findings if finding.kind == "checksum"]
    assert "has md5 900150983cd24fb0d6963f7d28e17f72" in wrong  # of "abc", RFC 1321


def test_names_are_found_or_guessed() -> None:
    assert find_dataset("idc").name == "idc"
    with pytest.raises(MedstrataError, match=r"did you mean chexpert\?.* there are nih-"):
        find_dataset("chexprt")
    with pytest.raises(MedstrataError, match="did you mean nih-chestxray14"):
        find_dataset("NIH")


def leave(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(words))
    return int(left.value.code or 0)


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["datasets"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == [*DATASETS]
    for name, dataset in DATASETS.items():
        main(["datasets", name])
        out = capsys.readouterr().out
        assert f"medstrata prepare ROOT --dataset {name}" in out
        assert dataset.licence.split()[0] in out
    root = TREES["imagefolder"](tmp_path)
    main(["datasets", "check", "imagefolder", str(root)])
    assert capsys.readouterr().out == "imagefolder is complete\n"
    (root / "train" / "normal" / "0000.png").write_bytes(b"")
    assert leave("datasets", "check", "imagefolder", str(root)) == 1
    out = capsys.readouterr().out
    assert out.startswith("file: 1 files are empty: train/normal/0000.png\n")
    assert out.endswith("imagefolder: one finding of something missing or wrong\n")
    assert leave("datasets", "check", "imagefolder") == 2
    assert leave("datasets", "check") == 2
    assert leave("datasets", "nothing-of-the-kind") == 1
