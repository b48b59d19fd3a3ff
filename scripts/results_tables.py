"""The tables of docs/results/results.md from a study's folder.

    python scripts/results_tables.py OUT docs/results

Writes scores.csv and differences.csv, copies the report's tables on probing, reuse, KS distance and
gain, and prints the main tables in Markdown.
"""

import argparse
import shutil
import sys
from pathlib import Path

import pandas as pd

from medstrata.studies.study import Study

_KEPT = (
    "probing",
    "reuse",
    "ks-distance",
    "gain",
    "efficiency",
    "effective-rank",
    "pretraining-runs",
)
_HERE = ["store", "protocol"]


def scores_table(scores: pd.DataFrame) -> str:
    """Arms by fractions: mean over seeds [interval over patients], sd over seeds."""
    cells = scores.assign(
        cell=[
            f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}] ±{row.sd:.3f}"
            for row in scores.itertuples()
        ],
        share=[f"{fraction:.0%}" for fraction in scores["fraction"]],
    )
    return _markdown(cells, "arm")


def differences_table(differences: pd.DataFrame) -> str:
    """Arms by fractions: difference [interval], adjusted p."""
    same = differences["baseline"].map(_network) == differences["arm"].map(_network)
    cells = differences[same | (differences["baseline"] == "imagenet_lite0")].assign(
        cell=lambda rows: [
            f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}] p {row.p_adjusted:.3g}"
            for row in rows.itertuples()
        ],
        share=lambda rows: [f"{fraction:.0%}" for fraction in rows["fraction"]],
        against=lambda rows: rows["arm"] + " − " + rows["baseline"],
    )
    return _markdown(cells, "against")


def _network(arm: str) -> bool:
    """Which of the two networks an arm of the study has."""
    return arm.endswith("lite0")


def _markdown(cells: pd.DataFrame, rows: str) -> str:
    shares = list(dict.fromkeys(cells.sort_values("fraction")["share"]))
    lines = [f"| {rows} | " + " | ".join(shares) + " |", "|---" * (len(shares) + 1) + "|"]
    for name in dict.fromkeys(cells[rows]):
        part = cells[cells[rows] == name].set_index("share")["cell"]
        lines.append(f"| {name} | " + " | ".join(part.get(share, "-") for share in shares) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("keep", type=Path)
    arguments = parser.parse_args()
    study = Study(arguments.out)
    arguments.keep.mkdir(parents=True, exist_ok=True)
    scores, differences = study.table(), study.differences()
    scores.to_csv(arguments.keep / "scores.csv", index=False, float_format="%.4f")
    differences.to_csv(arguments.keep / "differences.csv", index=False, float_format="%.5f")
    for path in sorted((arguments.out / "report-files" / "tables").glob("*.csv")):
        if any(word in path.name for word in _KEPT):
            shutil.copy(path, arguments.keep / path.name)
    main_metric = scores[scores["metric"] == "macro_auroc"]
    for (store, protocol), part in main_metric.groupby(_HERE):
        sys.stdout.write(f"### {store}, {protocol}\n\n{scores_table(part)}\n\n")
        paired = differences[(differences[_HERE] == [store, protocol]).all(axis=1)]
        sys.stdout.write(f"{differences_table(paired)}\n\n")


if __name__ == "__main__":
    main()
