"""A study read from strict YAML, refused at once where anything in it is wrong."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medstrata.runtime.documents import read_yaml
from medstrata.runtime.errors import MedstrataError, one_line
from medstrata.runtime.settings import parse_settings
from medstrata.studies.cell_settings import check_cells
from medstrata.studies.settings import ANALYSES, StudySettings


def load_study(path: Path) -> StudySettings:
    """Read a study file.

    Raises:
        MedstrataError: the file is not there, is no YAML, or holds an unknown or wrong setting.
    """
    try:
        written = read_yaml(path)
    except OSError as error:
        raise MedstrataError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise MedstrataError(f"{path} cannot be read as YAML: {one_line(error)}") from error
    if not isinstance(written, dict):
        raise MedstrataError(f"{path} is not a mapping of settings")
    try:
        return as_study(written)
    except ValueError as error:
        raise MedstrataError(f"{path}: {error}") from error


def as_study(written: Mapping[str, Any]) -> StudySettings:
    """Plain nested values as a study.

    Raises:
        ValueError: a name or a value is wrong.
    """
    values = dict(written)
    # The parser takes an empty group for a missing one, where it stands for the defaults.
    if isinstance(values.get("protocols"), dict):
        values["protocols"] = {
            name: chosen or {"settings": {}} for name, chosen in values["protocols"].items()
        }
    for name in ANALYSES:
        if values.get(name) == {}:
            values[name] = {"settings": {}}
    study = parse_settings(StudySettings, values)
    check_cells(study)
    return study
