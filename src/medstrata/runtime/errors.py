"""Errors that a user can mend, and the check of a setting."""


class MedstrataError(Exception):
    """Something the user can mend: one line that says what, where and what to do."""


class Stopped(MedstrataError):  # noqa: N818  (asked for, not a failure)
    """A run that was asked to stop and has saved what it did."""


def one_line(error: BaseException) -> str:
    """The beginning of what an error says, in one line, to be quoted in a sentence."""
    return " ".join(str(error).split())[:120]


def require(condition: bool, owner: object, name: str, allowed: str) -> None:
    """Raise ValueError with the name, the value and what is allowed, unless the condition holds."""
    if not condition:
        value = getattr(owner, name)
        raise ValueError(f"{type(owner).__name__}.{name} must be {allowed}, got {value!r}")
