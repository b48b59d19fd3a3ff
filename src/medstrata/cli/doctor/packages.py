"""Whether Python and the libraries are there, in versions that work, and load."""

import re
import sys
from dataclasses import dataclass
from importlib import metadata

from medstrata.cli.doctor.child import Answer
from medstrata.cli.doctor.findings import Finding

PYTHON = ((3, 11), (3, 13))  # oldest and newest that are tested
# The newest minor versions that the test suite has passed with; a newer one is not known to fail.
NEWEST_TESTED = {
    "torch": (2, 15),
    "torchvision": (0, 29),
    "timm": (1, 0),
    "accelerate": (1, 15),
    "numpy": (2, 5),
    "opencv-python-headless": (5, 0),
    "pandas": (3, 1),
    "pyarrow": (25, 0),
}
# Distributions whose module has another name, or that are not worth an import of their own.
TRAINING = {"torch": "torch", "torchvision": "torchvision", "timm": "timm"} | {
    "accelerate": "accelerate",
    "safetensors": "safetensors",
}
READING = {
    "numpy": "numpy",
    "opencv-python-headless": "cv2",
    "pillow": "PIL.Image",
    "deflate": "deflate",
    "pyarrow": "pyarrow",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "matplotlib": "matplotlib",
}
# Extra -> what asks for it.
EXTRAS = {
    "dicom": "prepare, of DICOM files",
    "nifti": "prepare, of NIfTI volumes",
    "hdf5": "prepare, of HDF5 files",
    "onnx": "export, to ONNX",
    "streaming": "push, and stores at s3://, gs:// and az:// addresses",
    "slurm": "study --cluster slurm",
    "tensorboard": "--track tensorboard",
    "wandb": "--track wandb",
    "mlflow": "--track mlflow",
    "docs": "make docs",
}


@dataclass(frozen=True)
class Requirement:
    """What medstrata asks of a distribution: at least this version, for one extra or for all."""

    name: str
    minimum: str
    extra: str | None


def requirements() -> list[Requirement]:
    """As medstrata's own metadata states them."""
    found = []
    for text in metadata.requires("medstrata") or []:
        match = re.match(r"([\w.-]+)(?:\[[^]]*\])?\s*\(?>=([\d.]+)", text)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", text)
        if match:
            found.append(Requirement(match[1], match[2], extra[1] if extra else None))
    return found


def installed_version(name: str) -> str | None:
    """Of a distribution; None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def python_finding(version: tuple[int, int, int]) -> Finding:
    """Whether this Python is one of those that are tested."""
    said = ".".join(map(str, version))
    oldest, newest = (".".join(map(str, end)) for end in PYTHON)
    if version[:2] < PYTHON[0]:
        return Finding("wrong", "Python", said, f"install Python {oldest} to {newest}")
    if version[:2] > PYTHON[1]:
        mend = f"if something fails, install Python {oldest} to {newest}"
        return Finding("warn", "Python", f"{said}, newer than {newest}, the newest tested", mend)
    return Finding("ok", "Python", f"{said} ({sys.executable})")


def library_findings(training: Answer, reading: Answer) -> list[Finding]:
    """A finding for each library that every command rests on.

    Args:
        training: What the child said that imported `TRAINING`.
        reading: Likewise `READING`.
    """
    minimum = {one.name: one.minimum for one in requirements() if one.extra is None}
    findings = []
    for libraries, answer in ((TRAINING, training), (READING, reading)):
        reached = True
        for name, module in libraries.items():
            if module in answer.errors:
                findings.append(_broken(name, answer.errors[module]))
            elif module in answer.facts:
                findings.append(version_finding(name, installed_version(name), minimum.get(name)))
            elif reached:
                reached = False
                why = "; ".join(answer.errors.values()) or "its import was not reached"
                findings.append(Finding("wrong", name, why, "mend what stands above, then look"))
    return [*findings, *_pairs()]


def _broken(name: str, error: str) -> Finding:
    if installed_version(name) is None:
        return Finding("wrong", name, "not installed", "pip install medstrata")
    mend = f"pip install --force-reinstall {name}"
    if name in ("torch", "torchvision"):
        mend = f"they must belong together: {mend.replace(name, 'torch torchvision')}"
    return Finding("wrong", name, f"{installed_version(name)} does not load ({error})", mend)


def version_finding(name: str, installed: str | None, minimum: str | None) -> Finding:
    """Whether a version is in the tested range."""
    if installed is None:
        return Finding("wrong", name, "not installed", "pip install medstrata")
    if minimum and parts(installed) < parts(minimum):
        words = f"{installed} is older than {minimum}, the oldest that works"
        return Finding("wrong", name, words, f"pip install '{name}>={minimum}'")
    newest = NEWEST_TESTED.get(name)
    if newest and parts(installed)[:2] > newest:
        said = ".".join(map(str, newest))
        mend = f"if something fails, pip install '{name}=={said}.*'"
        return Finding("warn", name, f"{installed} is newer than {said}, the newest tested", mend)
    return Finding("ok", name, installed)


def parts(version: str) -> tuple[int, ...]:
    """The numbers a version begins with: 2.7.0+cu126 -> (2, 7, 0)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(number) for number in match[0].split(".")) if match else ()


def _pairs() -> list[Finding]:
    """Distributions that do not go with each other."""
    findings = []
    torch, vision = installed_version("torch"), installed_version("torchvision")
    if torch and vision:
        needs = next(
            (text for text in metadata.requires("torchvision") or [] if parts_of_torch(text)), ""
        )
        wanted = parts_of_torch(needs)
        own = parts(torch)[: len(wanted)]
        if own != wanted if "==" in needs else own < wanted:
            words = f"torchvision {vision} is built for {needs}, and torch is {torch}"
            mend = "pip install --upgrade torch torchvision"
            findings.append(Finding("wrong", "torchvision", words, mend))
    full = installed_version("opencv-python")
    if full and installed_version("opencv-python-headless"):
        words = f"opencv-python {full} lies over opencv-python-headless: both install cv2"
        mend = "pip uninstall opencv-python; pip install --force-reinstall opencv-python-headless"
        findings.append(Finding("warn", "opencv-python", words, mend))
    return findings


def parts_of_torch(text: str) -> tuple[int, ...]:
    """The version in `torch==2.7.0` or `torch (>=2.14.0)`; empty for other requirements."""
    match = re.match(r"torch\s*\(?(?:==|>=)\s*([\d.]+)", text)
    return parts(match[1]) if match else ()


def extra_findings() -> list[Finding]:
    """A finding for each optional extra; one that is not installed is no fault."""
    findings = []
    for extra, used_by in EXTRAS.items():
        needed = [one for one in requirements() if one.extra == extra]
        versions = {one.name: installed_version(one.name) for one in needed}
        mend = f"pip install 'medstrata[{extra}]'"
        missing = [name for name, version in versions.items() if version is None]
        old = [
            f"{one.name} {version} is older than {one.minimum}"
            for one in needed
            if (version := versions[one.name]) and parts(version) < parts(one.minimum)
        ]
        if not needed or len(missing) == len(needed):
            words = f"not installed; for {used_by}"
            findings.append(Finding("ok", f"extra {extra}", words, mend))
        elif missing or old:
            words = "; ".join([*(f"{name} is missing" for name in missing), *old])
            findings.append(Finding("warn", f"extra {extra}", f"{words}; for {used_by}", mend))
        else:
            there = ", ".join(f"{name} {version}" for name, version in versions.items())
            findings.append(Finding("ok", f"extra {extra}", there))
    return findings
