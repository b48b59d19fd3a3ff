"""Run folders: taken up, refused, overwritten, and held by one process at a time."""

from pathlib import Path

import pytest

from medstrata.pretraining.recipes import recipe
from medstrata.runs.folder import (
    is_finished,
    open_run,
    read_config,
    read_result,
    settings_dict,
    write_result,
)
from medstrata.runtime.errors import MedstrataError


def test_a_run_of_a_version_without_options_is_taken_up(tmp_path: Path) -> None:
    now = settings_dict(recipe("fair/moco_mse"))
    before = {
        **now,
        "intermediate": {k: v for k, v in now["intermediate"].items() if k != "options"},
    }
    with open_run(tmp_path / "run", before) as taken_up:
        assert not taken_up
    with open_run(tmp_path / "run", now, resume=True) as taken_up:
        assert taken_up


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}])
def test_a_run_that_goes_on_is_left_alone(tmp_path: Path, how: dict[str, bool]) -> None:
    run = tmp_path / "run"
    with open_run(run, {"lr": 0.1}):
        (run / "work").touch()
        with pytest.raises(MedstrataError, match="is in use by process"), open_run(run, {}, **how):
            pass
        assert (run / "work").is_file()


def test_overwriting_leaves_nothing_of_the_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with open_run(run, {"lr": 0.1}):
        (run / "checkpoints").mkdir()
        (run / "checkpoints" / "old").touch()
    with open_run(run, {"lr": 0.2}, overwrite=True):
        assert {path.name for path in run.iterdir()} == {
            "config.yaml", "environment.json", "run.lock", "run.pid",
        }  # fmt: skip


def test_a_folder_whose_start_was_cut_is_taken(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("environment.json", ".config.yaml.host.1.tmp", "run.lock"):
        (run / name).touch()
    with open_run(run, {"lr": 0.1}) as taken_up:
        assert not taken_up
    assert not (run / ".config.yaml.host.1.tmp").exists()


def test_folders_of_others_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "photo.png").touch()
    with (
        pytest.raises(MedstrataError, match="is not a run folder"),
        open_run(tmp_path, {}, overwrite=True),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_scratch_of_killed_processes_goes_with_resuming(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with open_run(run, {}):
        (run / "checkpoints").mkdir()
        (run / "checkpoints" / ".step-000000003.pt.otherhost.7.tmp").touch()
    with open_run(run, {}, resume=True):
        assert not list((run / "checkpoints").iterdir())


def test_a_store_may_have_another_name_but_not_other_content(tmp_path: Path) -> None:
    run, first = tmp_path / "run", {"store": "old.store", "store_digest": "a"}
    with open_run(run, first):
        pass
    with open_run(run, {"store": "new.store", "store_digest": "a"}, resume=True) as taken_up:
        assert taken_up
    with (
        pytest.raises(MedstrataError, match=r"store 'old.store' -> 'new.store'"),
        open_run(run, {"store": "new.store", "store_digest": "b"}, resume=True),
    ):
        pass


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000])
def test_a_damaged_result_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(MedstrataError, match=r"result.json is damaged .*: delete it"):
        read_result(tmp_path)


@pytest.mark.parametrize("text", ["[" * 5_000, "a: [", "- 1"])
def test_a_config_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(MedstrataError, match=r"config.yaml (cannot be read as YAML|is not a map)"):
        read_config(tmp_path / "config.yaml")


def finished(folder: Path) -> Path:
    settings = {"store": "s", "epochs": 2, "optimizer": {"lr": 1e-5, "rates": [0.1, 1e-7]}}
    with open_run(folder, settings):
        write_result(folder, "pretrain", settings, {"arm": "moco"})
    return folder


def test_a_finished_run_whose_settings_were_edited_is_noticed_by_their_names(
    tmp_path: Path,
) -> None:
    run = finished(tmp_path / "run")
    assert read_result(run) is not None
    config = run / "config.yaml"
    as_it_was = config.read_text()
    config.write_text("# looked at\n" + as_it_was)
    assert read_result(run) is not None
    config.write_text(as_it_was.replace("epochs: 2", "epochs: 3"))
    with pytest.raises(
        MedstrataError, match=r"config\.yaml was edited .*\(epochs 2 -> 3\): put it"
    ):
        read_result(run)
    config.write_text(as_it_was.replace("lr: 1.0e-05", "lr: 2.0e-05"))
    with pytest.raises(MedstrataError, match=r"\(optimizer\.lr 1e-05 -> 2e-05\)"):
        is_finished(run)
    config.unlink()
    assert read_result(run) is not None


def test_results_of_earlier_versions_say_no_settings(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    (run / "result.json").write_text('{"kind": "pretrain"}')
    (run / "config.yaml").write_text("epochs: 7\n")
    assert read_result(run) == {"kind": "pretrain"}
