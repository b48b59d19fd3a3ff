"""What doctor says of one thing, and how that is written."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "wrong"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: `ok`; `warn`, it works but not as well as it could; `wrong`, something will fail.
        subject: What was looked at.
        words: What was seen.
        remedy: What to do about it; empty where nothing needs doing.
    """

    level: Level
    subject: str
    words: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """The finding on one line."""
        words = " ".join(f"{self.words}{': ' if self.remedy else ''}{self.remedy}".split())
        return f"{self.level:<6} {self.subject}: {words}"


def total(findings: list[Finding]) -> str:
    """How many are wrong and how many warn, in words."""
    wrong = sum(finding.level == "wrong" for finding in findings)
    warned = sum(finding.level == "warn" for finding in findings)
    said = "nothing is wrong" if not wrong else f"{wrong} wrong"
    return said + (f", {warned} to know of" if warned else "")
