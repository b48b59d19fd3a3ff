"""Libraries that only some installations have."""

import importlib
from collections.abc import Sequence
from importlib.util import find_spec
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
        raise _absent([module], what, extra) from error


def require_optional(modules: Sequence[str], what: str, extra: str) -> None:
    """Refuse what needs libraries that are not installed, before it begins; imports none of them.

    Args:
        modules: Their names.
        what: As in `import_optional`.
        extra: As in `import_optional`.

    Raises:
        MedstrataError: some are not installed.
    """
    absent = [name for name in modules if find_spec(name) is None]
    if absent:
        raise _absent(absent, what, extra)


def _absent(modules: Sequence[str], what: str, extra: str) -> MedstrataError:
    return MedstrataError(f"{what} needs {' and '.join(modules)}: pip install 'medstrata[{extra}]'")
