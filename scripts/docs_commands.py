"""Writes the page of commands from the commands themselves, when the site is built."""

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from medstrata.cli.commands import COMMANDS
from medstrata.cli.main import HELP


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add commands.md (a hook of MkDocs)."""
    files.append(File.generated(config, "commands.md", content=commands_page()))
    return files


def commands_page() -> str:
    """Every command's own help, under its name."""
    parts = ["# Commands", "", "```text", HELP.strip(), "```"]
    for name, command in COMMANDS.items():
        said = command.parser().format_help().strip()
        parts += ["", f"## medstrata {name}", "", "```text", said, "```"]
    return "\n".join(parts) + "\n"
