"""Objects of the user's own packages, named by their import path."""

import importlib
from typing import Any

from medstrata.runtime.errors import MedstrataError, one_line


def load_object(path: str, what: str) -> Any:
    """Import what an import path names; importing runs the package's code.

    Args:
        path: `package.module:Name`.
        what: What the object is for, as a message says it, such as `intermediate loss`.

    Raises:
        MedstrataError: it is no such path, or the module or the name in it cannot be had.
    """
    module_name, _, name = path.partition(":")
    if not name.isidentifier() or not all(map(str.isidentifier, module_name.split("."))):
        raise MedstrataError(f"{what} {path!r} is no import path; write package.module:Name")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _failed(what, path, module_name, error) from error
        raise MedstrataError(
            f"{what} {path}: there is no module {error.name} on Python's path; install its "
            "package, or add its folder to PYTHONPATH"
        ) from error
    except (Exception, SystemExit) as error:  # whatever the user's code raises, sys.exit too
        raise _failed(what, path, module_name, error) from error
    try:
        return getattr(module, name)
    except AttributeError as error:
        raise MedstrataError(
            f"{what} {path}: {module_name} has no {name}; correct the name after the colon"
        ) from error


def _failed(
    what: str, path: str, module_name: str, error: Exception | SystemExit
) -> MedstrataError:
    cause = one_line(error, named=True)
    return MedstrataError(f"{what} {path}: importing {module_name} failed ({cause}); mend it there")
