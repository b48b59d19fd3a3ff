"""Completion in a real bash; the scripts of the other shells parse where those are installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from medstrata.cli.commands import COMMANDS
from medstrata.cli.main import main

SHELLS = ("bash", "zsh", "fish", "tcsh")
BASH = r"""
source ./script
function=$(complete -p medstrata | sed 's/.*-F \([^ ]*\).*/\1/')
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
"$function" medstrata "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf "%s\n" "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    """What the command prints, by shell."""
    printed = {}
    for shell in SHELLS:
        with pytest.MonkeyPatch.context() as patch:
            said: list[str] = []
            patch.setattr("sys.stdout.write", said.append)
            main(["completion", shell])
        printed[shell] = "".join(said)
    return printed


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["pre"], {"predict", "prepare", "pretrain"}),
        (["import"], {"import-weights"}),
        (["pretrain", "x", "--prec"], {"--precision"}),
        (["pretrain", "x", "--precision", ""], {"auto", "fp32", "bf16"}),
        (["pretrain", "x", "--intermediate.loss", "b"], {"barlow_twins"}),
        (["pretrain", "x", "--batch_s"], {"--batch_size"}),
        (["pretrain", "x", "--zero_init_residual", "t"], {"true"}),
        (["pretrain", "x", "--recipe", "fair/moco_m"], {"fair/moco_mse"}),
        (["reproduce", "ch"], {"chest"}),
        (["prepare", "ima"], {"images"}),
        (["prepare", "--out", "ima"], {"images"}),
        (["import-weights", "file", "--back"], {"--backbone"}),
    ],
)
def test_bash_offers(
    typed: list[str], offered: set[str], scripts: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "script").write_text(scripts["bash"])
    done = subprocess.run(
        ["/bin/bash", "-c", BASH, "bash", "medstrata", *typed],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_name_every_command_and_parse(
    shell: str, scripts: dict[str, str], tmp_path: Path
) -> None:
    assert all(name in scripts[shell] for name in COMMANDS)
    assert "checkpoint_every" in scripts[shell]
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(scripts[shell])
    done = subprocess.run(
        [found, "-n", "script"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
