"""Writes the page of commands from the commands themselves, when the site is built."""

import io
from contextlib import redirect_stdout, suppress

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from medstrata.cli.main import COMMANDS, HELP


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add commands.md (a hook of MkDocs)."""
    files.append(File.generated(config, "commands.md", content=commands_page()))
    return files


def commands_page() -> str:
    """Every command's own help, under its name."""
    parts = ["# Commands", "", "```text", HELP.strip(), "```"]
    for name, run in COMMANDS.items():
        said = io.StringIO()
        with redirect_stdout(said), suppress(SystemExit):
            run(["--help"])
        parts += ["", f"## medstrata {name}", "", "```text", said.getvalue().strip(), "```"]
    return "\n".join(parts) + "\n"
