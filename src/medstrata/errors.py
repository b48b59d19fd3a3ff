class MedstrataError(Exception):
    """Something the user can mend: one line that says what, where and what to do."""
