"""Commands as a user gives them: what they leave with, and what they say last."""

from pathlib import Path

import pytest

from medstrata.cli.main import main

# Pre-training of seconds.
SMALL = [
    "--backbone",
    "test_resnet",
    "--epochs",
    "1",
    "--batch-size",
    "8",
    "--contrastive.queue-size",
    "20",
]


def leave(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The last line on stderr; nothing that looks like a traceback stands before it."""
    lines = capsys.readouterr().err.splitlines()
    assert not any("Traceback" in line for line in lines)
    return lines[-1]
