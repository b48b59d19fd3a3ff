"""The commands as a user gives them: the whole job, help, refusals, exit status."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from medstrata.cli.commands import Command
from medstrata.cli.main import main
from medstrata.data.store.store import Store
from support.commands import SMALL, leave, one_line
from support.tiny import make_folder
from support.waiting import PATIENCE_S, started, wait_until


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("cli") / "data")


def test_only_commands_that_share_the_work_are_started_several_times(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("finetune", "prepare", "export", "study"):
        with pytest.raises(SystemExit) as left:
            main([name])
        assert left.value.code == 2
        assert "every process of torchrun would do all of it" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["pretrain"])
    assert "torchrun" not in capsys.readouterr().err


def test_the_whole_job(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, run = tmp_path / "s.store", tmp_path / "moco"
    main(
        [
            "prepare",
            str(folder / "images"),
            "--out",
            str(store),
            "--labels",
            str(folder / "labels.csv"),
            "--split",
            "0.5/0.25/0.25",
        ]
    )
    main(["pretrain", str(store), "--out", str(run), "--recipe=fair/moco_mse", *SMALL])
    main(
        [
            "finetune",
            str(run),
            str(store),
            "--task",
            "finding",
            "--fraction",
            "0.5",
            "--out",
            str(tmp_path / "tuned"),
            "--protocol",
            "frozen",
            "--resamples",
            "20",
        ]
    )
    features = tmp_path / "features"
    for command in ("probe", "atlas"):
        words = [command, str(run), str(store), "--task", "finding", "--features", str(features)]
        extra = ["--fraction", "0.5", "--resamples", "20"] if command == "probe" else []
        main([*words, "--out", str(tmp_path / "analyses" / command), *extra])
        kind = json.loads((tmp_path / "analyses" / command / "result.json").read_text())["kind"]
        assert kind == command
    assert len(list(features.glob("*.safetensors"))) == 1
    main(["report", str(tmp_path / "tuned"), str(run), "--to", str(tmp_path / "report.html")])
    assert "moco_mse" in (tmp_path / "report.html").read_text()
    capsys.readouterr()
    # A run's settings are a recipe, and on resume the run's own settings are the defaults.
    main(["pretrain", str(store), "--out", str(run), "--resume"])
    assert "nothing to do" in one_line(capsys)
    assert leave("pretrain", store, "--out", run, "--resume", "--seed", "1") == 1
    assert "other settings (seed 0 -> 1)" in one_line(capsys)
    main(
        [
            "pretrain",
            str(store),
            "--out",
            str(tmp_path / "again"),
            "--recipe",
            str(run / "config.yaml"),
            "--seed",
            "3",
        ]
    )
    assert "seed: 3" in (tmp_path / "again" / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrian"], "no command 'pretrian'; did you mean pretrain?"),
        (["wash"], "no command 'wash'; there are prepare, datasets"),
        (["pretrain", "s", "--out", "r", "--epoch", "3"], "--epoch 3; did you mean --epochs?"),
        (["study", "s", "--out", "r", "--budget", "3x"], "--budget '3x' is no time such as 10m"),
        (["study", "s", "--out", "r", "--jobs", "0"], "--jobs must be 1 or more, got 0"),
        (["pretrain", "s", "--out", "r", "--epochs", "many"], "epochs"),
        (["pretrain", "s", "--out", "r", "--epochs", "0"], "epochs must be 1 or more, got 0"),
        (["pretrain", "s"], "out"),
        (["pretrain", "s", "--out", "r", "--recipe", "fair/mocco"], "no recipe 'fair/mocco'"),
        (
            ["probe", "r", "s", "--task", "t", "--out", "r", "--neighbours", "0"],
            "neighbours must be 1",
        ),
        (["atlas", "r", "s", "--task", "t", "--out", "r", "--queries", "0"], "queries must be 1"),
        (["prepare", "s", "--out", "r", "--size", "big"], "size must be int, got big"),
        (["embed", "r", "s", "--out", "f.npz", "--fit", "odd"], "fit must be one of pad, crop"),
        (["embed", "r", "s", "--out", "f.npz", "--stage", "stage9"], "stages must be one or more"),
        (["completion", "csh"], "shell must be one of bash, zsh, fish, tcsh, got csh"),
        (["finetune", "r", "s", "--task", "t", "--out", "r", "--kind", "x"], "one of binary, mul"),
        (["demo", "--data", "images"], "--data and --labels go together"),
        (["demo", "--steps", "0"], "--steps must be 1 or more, got 0"),
    ],
)
def test_usage_errors_leave_with_2_and_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave(*words) == 2
    line = one_line(capsys)
    assert message in line
    assert "--help)" in line


_IN_ONE_PROCESS = """
import sys
from medstrata.cli.main import main
from medstrata.data.store.store import Store
for words in {cases!r}:
    try:
        main(words)
    except SystemExit as left:
        print(left.code, "torch" in sys.modules)
"""


def test_wrong_names_end_before_torch_is_imported(tiny_store: Store, encoder: Path) -> None:
    store, out = str(tiny_store.path), str(encoder.parent / "new")
    task = ["--task", "finding", "--out"]
    cases = [
        ["pretrain", "nothere", "--out", out],
        ["pretrain", store, "--out", str(encoder)],  # which holds a run
        ["finetune", "nothere", store, *task, out],
        ["finetune", "scratch", "nothere.store", *task, out],
        ["finetune", "scratch", store, "--task", "wrong", "--out", out],
        ["finetune", "scratch", store, *task, str(encoder)],
        ["study", "nothere", "--out", out],
    ]
    ran = subprocess.run(
        [sys.executable, "-c", _IN_ONE_PROCESS.format(cases=cases)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines() == ["1 False"] * len(cases), ran.stderr


def test_a_file_that_is_no_config_is_not_shown_whole(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave("pretrain", "s", "--out", "r", "--config", folder / "labels.csv") == 2
    assert len(one_line(capsys)) < 350


def test_failures_leave_with_1_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave("pretrain", tmp_path / "nothing", "--out", tmp_path / "run") == 1
    assert "does not exist; give a store or a folder" in one_line(capsys)
    assert leave("report", tmp_path) == 1
    assert one_line(capsys).startswith("medstrata report:")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"
        ),
    ],
)
def test_too_little_memory_is_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Command, "run", fail)
    assert leave("finetune") == 1
    line = one_line(capsys)
    assert line.startswith("medstrata finetune: not enough memory (")
    assert line.endswith("a smaller --batch-size need less")


def test_other_errors_of_the_program_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(Command, "run", fail)
    with pytest.raises(RuntimeError, match="a fault"):
        main(["finetune"])


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "medstrata", "--debug", "report", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    ("command", "how"),
    [
        ("finetune", "with --resume the same"),
        ("probe", "with --resume the same"),
        ("report", "stopped; the same"),
    ],
)
def test_what_is_stopped_says_how_to_go_on(
    command: str,
    how: str,
    number: signal.Signals,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Where the tests run in the background, SIGINT is ignored.
    monkeypatch.setattr(Command, "run", lambda *_: signal.raise_signal(number))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    assert leave(command) == status
    signal.signal(signal.SIGINT, before)
    assert how in one_line(capsys)


def test_sigterm_leaves_no_temporary_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "medstrata", "bench", "--backbone", "test_resnet"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with started(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: any(tmp_path.rglob("*.png")), process)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 143
    assert told.splitlines()[-1].startswith("medstrata bench: stopped; the same command")
    assert "Traceback" not in told
    assert not list(tmp_path.iterdir())


def test_what_the_system_refuses_is_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert leave("pretrain", folder, "--out", tmp_path / "file", "--batch-size", "8") == 1
    assert "is a file; choose another --out" in capsys.readouterr().err.splitlines()[-1]
    words = ("prepare", folder / "images", "--out", tmp_path / "file" / "s.store")
    assert leave(*words) == 1
    assert "Traceback" not in capsys.readouterr().err
