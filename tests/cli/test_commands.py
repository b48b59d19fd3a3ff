"""The table of commands is whole and costs nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

import medstrata.cli
from medstrata.cli.arguments import named_trackers
from medstrata.cli.commands import COMMANDS, Command, UsageError
from medstrata.cli.main import HELP

HEAVY = {"torch", "timm", "cv2", "pandas", "accelerate", "matplotlib", "numpy", "sklearn"}


def test_each_command_has_a_file_and_each_file_a_command() -> None:
    folder = Path(medstrata.cli.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if "\ndef run(" in path.read_text()}
    assert {name.replace("-", "_") for name in COMMANDS} == files


def test_help_lists_every_command_on_a_line_that_fits() -> None:
    for command in COMMANDS.values():
        assert f"\n  {command.name} " in HELP
    assert max(map(len, HELP.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_every_command_explains_itself(command: Command) -> None:
    said = "".join(command.parser().format_help().split())
    assert said.startswith(f"usage:medstrata{command.name}")
    assert "".join(str(command.module.__doc__).split()) in said  # wherever lines are broken


def test_hyphens_and_underscores_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(COMMANDS["report"].module, "run", seen.append)
    COMMANDS["report"].run(["--no-files", "a-b"])
    assert (seen[0].no_files, seen[0].runs) == (True, [Path("a-b")])
    with pytest.raises(UsageError, match="nofiles"):
        COMMANDS["report"].run(["--nofiles", "a"])


def test_help_and_errors_import_nothing_heavy() -> None:
    code = (
        "import sys\nfrom medstrata.cli.main import main\n"
        "for words in sys.argv[1:]:\n    try:\n        main(words.split())\n"
        f"    except SystemExit:\n        pass\n    found = {HEAVY!r} & set(sys.modules)\n"
        "    if found:\n        sys.exit(f'{words} imports {found}')\n"
    )
    words = ["--help", "nothing", *(f"{name} --help" for name in COMMANDS)]
    words += [f"{name} --no-such-option" for name in COMMANDS]
    subprocess.run([sys.executable, "-c", code, *words], check=True)


def test_the_list_of_commands_imports_no_command() -> None:
    code = (
        "import sys\nfrom medstrata.cli.main import HELP\nsys.exit('jsonargparse' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("words", [["tensorboard", "mlflow"], ["[tensorboard, mlflow]"]])
@pytest.mark.parametrize(
    "command", [["pretrain", "STORE"], ["finetune", "scratch", "STORE", "--task", "finding"]]
)
def test_trackers_are_words_or_a_list(command: list[str], words: list[str]) -> None:
    name, *first = command
    arguments = COMMANDS[name].parser().parse_args([*first, "--out", "RUN", "--track", *words])
    assert named_trackers(arguments) == ["tensorboard", "mlflow"]


@pytest.mark.parametrize("words", [["tensorboard", "STORE"], ["[tensorbord]"]])
def test_what_is_no_tracker_is_refused_with_those_there_are(words: list[str]) -> None:
    with pytest.raises(UsageError, match="track must be one of tensorboard, wandb, mlflow"):
        COMMANDS["pretrain"].run(["--out", "RUN", "--track", *words])
