"""Libraries that only some installations have."""

import importlib
from typing import Any

from medstrata.runtime.errors import MedstrataError


def import_optional(module: str, what: str, extra: str) -> Any:
    """Import a library that some of medstrata's features need.

    Args:
        module: Its name.
        what: What needs it, as a message begins, such as `reading DICOM`.
        extra: The extra of medstrata that installs it.

    Raises:
        MedstrataError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MedstrataError(f"{what} needs {module}: pip install 'medstrata[{extra}]'") from error
