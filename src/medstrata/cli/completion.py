"""Print a script that completes commands, options and their values in a shell.

Bash: medstrata completion bash > ~/.local/share/bash-completion/completions/medstrata. Zsh: into a
file _medstrata in a folder of $fpath. Fish: into ~/.config/fish/completions/medstrata.fish.
"""

from typing import Literal

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.commands import COMMANDS
from medstrata.pretraining.recipes import RECIPES
from medstrata.runtime.console import put
from medstrata.runtime.settings import settings_parser


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("shell", type=Literal["bash", "zsh", "fish", "tcsh"], help="Which shell.")


def run(arguments: Namespace) -> None:
    """What the command does."""
    import shtab

    root = settings_parser(prog="medstrata")
    root.add_argument("--version", action="store_true", help="Print the version.")
    root.add_argument("--debug", action="store_true", help="Show a traceback when it fails.")
    commands = root.add_subcommands()
    for command in COMMANDS.values():
        parser = command.parser()
        for action in parser._actions:  # noqa: SLF001  (argparse offers no public list)
            if "--recipe" in action.option_strings:
                action.choices = list(RECIPES)
            elif not action.option_strings and not str(action.metavar).startswith("{"):
                vars(action)["complete"] = shtab.FILE  # where shtab looks for it
        commands.add_subcommand(command.name, parser, help=command.summary)
    put(root.get_completion_script(f"shtab-{arguments.shell}") + "\n")
