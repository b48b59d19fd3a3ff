"""Data flows one way, and importing costs nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import medstrata

SOURCE = Path(medstrata.__file__).parent
# Each module may import from the ones before it.
ORDER = [
    "errors",
    "console",
    "files",
    "kept",
    "interrupts",
    "randomness",
    "view_settings",
    "settings",
    "evaluation_settings",
    "recipes",
    "schedule",
    "operating_point",
    "pooling",
    "losses",
    "draws",
    "kinds",
    "weighted",
    "metrics",
    "paired",
    "efficiency",
    "distribution",
    "kernels",
    "similarity",
    "legacy",
    "spectrum",
    "augment",
    "preprocessing",
    "devices",
    "ceiling",
    "machine",
    "tracing",
    "operations",
    "limits",
    "tracking",
    "run",
    "trackers",
    "data",
    "loader",
    "importing",
    "backbones",
    "weights",
    "weights_import",
    "moco",
    "sharding",
    "features",
    "heads",
    "neighbours",
    "monitors",
    "recorder",
    "assembly",
    "profiling",
    "intermediate",
    "pretraining",
    "benchmarking",
    "evaluation",
    "feature_cache",
    "card_text",
    "classifiers",
    "supervised",
    "frozen",
    "finetuning",
    "passing",
    "feature_files",
    "embedding",
    "predicting",
    "encoder_transformer",
    "probing",
    "feature_plane",
    "neighbour_sheet",
    "feature_atlas",
    "feature_reuse",
    "exporting",
    "report",
    "notebook",
    "studies",
    "demonstration",
    "doctor",
    "arguments",
    "completion",
    "analysis_commands",
    "data_commands",
    "import_commands",
    "run_commands",
    "speed_commands",
    "setup_commands",
    "study_commands",
    "weight_commands",
    "use_commands",
    "cli",
]
# The statistics are one leaf in several files: what each may import of the others.
STATISTICS = {
    "draws": set(),
    "kinds": set(),
    "weighted": {"draws", "kinds"},
    "metrics": {"draws", "kinds", "weighted"},
    "paired": {"draws", "kinds", "metrics", "weighted"},
    "efficiency": {"draws", "kinds", "metrics", "paired", "weighted"},
    "distribution": {"draws", "metrics"},
    "legacy": {"kinds", "metrics", "weighted"},
}
# Leaves import nothing of the package but their own other half.
LEAVES: dict[str, set[str]] = {
    "losses": {"pooling"},
    "pooling": set(),
    "similarity": {"kernels"},
    "kernels": set(),
    "spectrum": set(),
    "schedule": set(),
    "operating_point": set(),
    "randomness": set(),
    "files": set(),
    "errors": set(),
    "interrupts": set(),
}


def modules() -> list[Path]:
    return [
        path for path in SOURCE.rglob("*.py") if path.name not in ("__init__.py", "__main__.py")
    ]


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("medstrata"):
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_modules_import_only_what_stands_before_them(path: Path) -> None:
    own = part_of(path)
    allowed = {*ORDER[: ORDER.index(own)], own}
    assert imports(path) <= allowed


@pytest.mark.parametrize(("part", "other"), [("evidence", "layers"), ("layers", "evidence")])
def test_parts_of_the_report_know_nothing_of_one_another(part: str, other: str) -> None:
    texts = [path.read_text() for path in (SOURCE / "report" / part).glob("*.py")]
    assert texts
    assert not any(f"medstrata.report.{other}" in text for text in texts)


@pytest.mark.parametrize("name", LEAVES)
def test_leaves_import_nothing_of_the_package(name: str) -> None:
    assert imports(SOURCE / f"{name}.py") == LEAVES[name]


@pytest.mark.parametrize("name", STATISTICS)
def test_statistics_import_only_one_another(name: str) -> None:
    assert imports(SOURCE / f"{name}.py") == STATISTICS[name]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom medstrata.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'timm', 'cv2', 'pandas', 'accelerate', 'matplotlib', 'numpy'}\n"
        "heavy |= {'sklearn'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_files_stay_short() -> None:
    long = {path.name: n for path in modules() if (n := len(path.read_text().splitlines())) > 400}
    assert not long


def test_public_names_exist_and_no_module_takes_their_place() -> None:
    for name in dir(medstrata):
        assert getattr(medstrata, name) is not None
        assert not (SOURCE / f"{name}.py").exists()
        assert not (SOURCE / name).exists()
