"""Settings of prepare: ranges, options of the command, in a study."""

import json
from pathlib import Path

import pytest

from medstrata.cli.main import main
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.studies.settings import DataSettings


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"size": 7}, "PrepareSettings.size must be 8 to 4096 pixels, or none, got 7"),
        ({"size": 5000}, "size must be 8 to 4096"),
        ({"channels": 2}, "PrepareSettings.channels must be one of 1, 3, none, got 2"),
        ({"fit": "squash"}, "fit must be one of pad, crop, stretch, keep, fundus"),
        ({"uncertain": "maybe"}, "uncertain must be one of unknown, negative, positive"),
        ({"max_quarantine": 1.5}, "max_quarantine must be 0 to 1"),
        ({"window": "40/0"}, "window must be first"),
        ({"bits": 16, "channels": 3}, "16 bits are kept of grey images alone"),
        ({"dataset": "npz", "labels": "a.csv"}, "npz has labels of its own: leave labels out"),
    ],
)
def test_what_is_out_of_range_is_refused(option, message):
    with pytest.raises(ValueError, match=message):
        PrepareSettings(**option)


def test_files_are_read_as_the_settings_say():
    settings = PrepareSettings(window="lung", frames="all", axis="coronal", bits=16)
    assert settings.reading == ReadSettings(window="lung", frames="all", axis="coronal", bits=16)


def test_the_plan_of_a_store_names_every_setting(image_folder, tmp_path):
    settings = PrepareSettings(
        labels=image_folder / "labels.csv", label_columns=["finding"], seed=3, size=16
    )
    plan = prepare(image_folder, tmp_path / "s", settings).plan
    assert plan.keys() == {
        *("format", "preview", "dataset", "files", "size", "channels", "fit", "window", "frames"),
        *("axis", "bits", "labels", "file_column", "patient_column", "patient_from"),
        *("site_column", "label_columns", "label_separator", "ordinal_columns", "uncertain"),
        *("follow_links", "split", "seed", "draws"),
    }
    assert (plan["label_columns"], plan["seed"], plan["size"]) == (["finding"], 3, 16)
    assert len(plan["labels"]) == 32  # a digest, no path


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match=r"PrepareSettings.seed must be 0 or more, got -1"):
        PrepareSettings(seed=-1)


def test_options_of_the_command(image_folder, tmp_path, capsys):
    out = tmp_path / "s.store"
    main(
        ["prepare", str(image_folder), "--out", str(out), "--labels", f"{image_folder}/labels.csv",
         "--size", "16", "--bits", "16", "--label-columns", "[kind]", "--seed", "2",
         "--max-quarantine", "0.5", "--workers", "1"]
    )  # fmt: skip
    plan = json.loads((out / "store.json").read_text())["plan"]
    assert (plan["size"], plan["bits"], plan["seed"]) == (16, 16, 2)
    assert plan["label_columns"] == ["kind"]
    with pytest.raises(SystemExit) as left:
        main(["prepare", str(image_folder), "--out", str(out), "--size", "7"])
    assert left.value.code == 2
    assert "PrepareSettings.size must be 8 to 4096" in capsys.readouterr().err


def test_settings_in_a_study():
    data = DataSettings(
        task="finding",
        prepare={"source": "a", "labels": "a.csv", "size": 64, "allow_leakage": True},
    )
    assert data.prepare_settings == PrepareSettings(labels=Path("a.csv"), size=64)
    with pytest.raises(ValueError, match="no setting 'sizes'"):
        DataSettings(task="finding", prepare={"source": "a", "sizes": 64})
    with pytest.raises(ValueError, match="must be 8 to 4096"):
        DataSettings(task="finding", prepare={"source": "a", "size": 4})
