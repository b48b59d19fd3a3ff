"""Completion in a real bash; the scripts of the other shells parse where those are installed."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from medstrata.cli.completion import WRITERS, describe_commands
from medstrata.cli.main import COMMANDS

DESCRIBED = cache(lambda: describe_commands(COMMANDS))


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["pre"], {"predict", "prepare", "pretrain"}),
        (["pretrain", "x", "--prec"], {"--precision"}),
        (["pretrain", "x", "--precision", ""], {"auto", "fp32", "bf16"}),
        (["pretrain", "x", "--precision", "=", "b"], {"bf16"}),
        (["pretrain", "x", "--intermediate.loss", "b"], {"barlow_twins"}),
        (["pretrain", "x", "--batch_s"], {"--batch_size"}),
        (["pretrain", "x", "--batch-s"], {"--batch-size"}),
        (["pretrain", "x", "--zero-init-residual", "t"], {"true"}),
        (["pretrain", "x", "--recipe", "fair/moco_m"], {"fair/moco_mse"}),
        (["reproduce", "ch"], {"chest"}),
        (["prepare", "--out", "ima"], {"images"}),
        (["report", "--no_files", "ima"], {"images"}),
        (["no-such-command", ""], set()),
    ],
)
def test_bash_offers(typed: list[str], offered: set[str], tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "script").write_text(WRITERS["bash"](DESCRIBED()))
    code = 'source ./script; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _medstrata; '
    done = subprocess.run(
        ["/bin/bash", "-c", code + 'printf "%s\\n" "${COMPREPLY[@]}"', "bash", "medstrata", *typed],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize("shell", WRITERS)
def test_scripts_parse_and_name_every_option(shell: str, tmp_path: Path) -> None:
    script = WRITERS[shell](DESCRIBED())
    for name, one in DESCRIBED().items():
        assert name in script
        assert all(option.removeprefix("--") in script for option in one.options)
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(script)
    done = subprocess.run(
        [found, "-n", "script"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
