class MedstrataError(Exception):
    """Something the user can mend: one line that says what, where and what to do."""


class Stopped(MedstrataError):  # noqa: N818  (asked for, not a failure)
    """A run that was asked to stop and has saved what it did."""
